"""What a tenant may decide, and how strictly it is read."""

import json
from pathlib import Path

import pytest
from common.decidable import DECIDABLE
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, STATUS_REVOKED, Binding, CredentialInfo, Verdict
from vault.hashicorp.provision import Tenant, tenants_of
from vault.rules import USUAL, Rules, rules_of

ID = "a" * 26
STRICT = Rules(("transfer_enabled", "withdraw_enabled"), 90)


def entry(**more: object) -> list[dict[str, object]]:
    return [{"id": ID, "name": "Test", **more}]


@pytest.mark.parametrize(
    ("rules", "read"),
    [
        ({}, USUAL),
        ({"rotation_days": 90}, Rules(USUAL.errors, 90)),
        ({"errors": []}, Rules((), 0)),
        ({"errors": ["withdraw_enabled", "transfer_enabled"], "rotation_days": 90}, STRICT),
        ({"errors": sorted(DECIDABLE)}, Rules(tuple(sorted(DECIDABLE)), 0)),
    ],
)
def test_what_a_tenant_does_not_decide_is_as_usual(tmp_path: Path, rules: object, read: Rules) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(json.dumps(entry(rules=rules)))
    assert tenants_of(file) == [Tenant(ID, "Test", read)]
    file.write_text(json.dumps(entry()))
    assert tenants_of(file) == [Tenant(ID, "Test", None)]
    assert Rules(("withdraw_enabled", "withdraw_without_ip_list"), 0) == USUAL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (json.dumps(entry(rules={"errors": ["withdraw_enabled", "no_such"]})), "rules cannot decide no_such"),
        (json.dumps(entry(rules={"errors": ["invalid_secret"]})), "rules cannot decide invalid_secret"),
        (json.dumps(entry(rules={"errors": "withdraw_enabled"})), "errors is a list"),
        (json.dumps(entry(rules={"errors": [1]})), "errors is a list"),
        (json.dumps(entry(rules={"rotation_days": -1})), "rotation_days is a whole number"),
        (json.dumps(entry(rules={"rotation_days": 3651})), "rotation_days is a whole number"),
        (json.dumps(entry(rules={"rotation_days": True})), "rotation_days is a whole number"),
        (json.dumps(entry(rules={"rotation_days": 1.5})), "rotation_days is a whole number"),
        (json.dumps(entry(rules={"rotation_days": None})), "rotation_days is a whole number"),
        (json.dumps(entry(rules=None)), "rules have errors and rotation_days"),
        (json.dumps(entry(rules={"error": []})), "rules have errors and rotation_days"),
        (
            json.dumps(entry(rules={"denied_capabilities": ["withdrawals"]})),
            "denied_capabilities are of futures_settings",
        ),
        (json.dumps(entry(rules={"denied_capabilities": "read"})), "denied_capabilities is a list"),
        (json.dumps(entry(rules={"denied_calls": ["/api/v2/spot/trade/place-order"]})), "written METHOD PATH"),
        (json.dumps(entry(rules={"denied_calls": ["POST /api/v2/spot/trade/"]})), "written METHOD PATH"),
        (
            json.dumps(
                entry(rules={"denied_calls": ["GET /api/v3/account/info", "POST /api/v2/spot/trade/place-oder"]})
            ),
            "nobody knows POST /api/v2/spot/trade/place-oder, like it is POST /api/v2/spot/trade/place-order",
        ),
        (
            json.dumps(entry(rules={"denied_calls": ["POST /api/v3/account/info"]})),
            "nobody knows POST /api/v3/account/info, like it is GET /api/v3/account/info",
        ),
        (json.dumps(entry(rules={"max_order_notional": 1000})), "max_order_notional is an amount of USDT"),
        (json.dumps(entry(rules={"symbols": ["btcusdt"]})), "symbols are written as the exchange does"),
        (json.dumps(entry(rules={"symbols": ["*"]})), "symbols are written as the exchange does"),
        (json.dumps(entry(rules={"symbols": ["BTCUSDT", None]})), "symbols is a list"),
        (json.dumps(entry(rules={"symbols": ["A"] * 257})), "symbols is a list"),
        (json.dumps(entry(rule={})), "an id, a name, and perhaps rules"),
        (json.dumps(entry(quotas={"requests": 1})), "quotas have requests_per_minute, concurrency, bindings"),
        (json.dumps(entry(quotas={"concurrency": -1})), "concurrency is a whole number"),
        (json.dumps(entry(quotas={"concurrency": True})), "concurrency is a whole number"),
        (json.dumps(entry(quotas={"bindings": "2"})), "bindings is a whole number"),
        (json.dumps([*entry(), *entry()]), "named twice"),
        ('[{"id": "' + ID + '", "name": "x", "rules": {"errors": [], "errors": []}}]', "duplicate name"),
    ],
)
def test_rules_of_another_form_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        tenants_of(file)


def test_a_credential_is_due_so_many_days_after_it_was_stored_and_never_when_it_has_ended() -> None:
    stored, due = Timestamp(seconds=1_800_000_000), Timestamp(seconds=1_800_000_000 + 90 * 86400)
    for status, rules, expected in (
        (STATUS_CONNECTED, STRICT, due),
        (STATUS_CONNECTED, rules_of({}), None),
        (STATUS_REVOKED, STRICT, None),
    ):
        binding = Binding(credential=CredentialInfo(stored_at=stored), verdict=Verdict(status=status))
        dated = rules.dated(binding)
        assert dated.credential.HasField("rotate_by") is (expected is not None)
        assert expected is None or dated.credential.rotate_by == expected
