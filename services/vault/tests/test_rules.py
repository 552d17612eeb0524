"""What a tenant may decide, how strictly it is read, and how old a decision may be."""

import json
from pathlib import Path
from typing import Any

import pytest
from common.errors import Unavailable
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, STATUS_REVOKED, Binding, CredentialInfo, Verdict
from vault.hashicorp.login import Connection
from vault.hashicorp.provision import Tenant, tenants_of
from vault.rules import DECIDABLE, USUAL, Registry, Rules, rules_of

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
        (json.dumps(entry(rule={})), "an id, a name and perhaps rules"),
        (json.dumps([*entry(), *entry()]), "named twice"),
        ('[{"id": "' + ID + '", "name": "x", "rules": {"errors": [], "errors": []}}]', "duplicate name"),
    ],
)
def test_rules_of_another_form_are_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "tenants.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        tenants_of(file)


async def test_a_changed_rule_holds_after_half_a_minute_and_the_usual_ones_where_none_is_left(
    parts: Any, server: Any, tenant: str, clock: Any
) -> None:
    assert await parts.registry.rules(tenant) == USUAL
    said = server.provision(Tenant(tenant, "Test", STRICT))
    assert f"tenant {tenant}: registered" in said
    assert await parts.registry.rules(tenant) == USUAL, "known for half a minute"
    clock.ahead += 31
    assert await parts.registry.rules(tenant) == STRICT
    assert f"tenant {tenant}: registered already" in server.provision(Tenant(tenant, "Test", STRICT))
    stored = server.admin.read(f"strongroom/data/tenants/{tenant}")["data"]
    assert stored["data"] == {
        "name": "Test",
        "rules": {"errors": ["transfer_enabled", "withdraw_enabled"], "rotation_days": 90},
    }
    assert stored["metadata"]["version"] == 2
    server.provision(Tenant(tenant, "Test"))
    clock.ahead += 31
    assert await parts.registry.rules(tenant) == USUAL


async def test_known_rules_outlast_a_vault_that_cannot_be_asked_and_unknown_ones_are_not_guessed(
    make: Any, proxy: Any, server: Any, clock: Any
) -> None:
    known, unknown = server.tenant(STRICT), server.tenant(STRICT)
    registry = (await make(Connection(proxy.url))).registry
    assert await registry.rules(known) == STRICT
    calls = len(proxy.seen)
    assert await registry.rules(known) == STRICT
    assert len(proxy.seen) == calls, "no call within half a minute"
    proxy.arm("sealed", method="", lasting=True)
    clock.ahead += 31
    assert await registry.rules(known) == STRICT
    with pytest.raises(Unavailable):
        await registry.rules(unknown)


async def test_rules_that_nobody_can_read_count_as_none_and_are_told(
    parts: Any, server: Any, tenant: str, logged: list[Any]
) -> None:
    for number, rules in enumerate(({"rotation_days": "90"}, {"errors": ["a_code_of_tomorrow"]})):
        data = {"data": {"name": "Test", "rules": rules}, "options": {"cas": 1 + number}}
        server.admin.write_data(f"strongroom/data/tenants/{tenant}", data=data)
        registry = Registry(parts.own, parts.registry._clock)
        read = await registry.rules(tenant)
        assert read == (USUAL if number == 0 else Rules(("a_code_of_tomorrow",), 0))
        assert [entry["event"] for entry in logged] == ["tenant_rules_unreadable"]


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
