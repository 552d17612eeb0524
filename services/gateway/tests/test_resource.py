"""The binding resource: every field and word of the contract, and nothing claimed that is not known."""

import time
import typing

import pytest
from common.clock import rfc3339, timestamp
from gateway import resource, schemas
from strongroom.types.v1 import binding_pb2 as pb


def test_the_resource_has_every_field_of_the_contract(client, world, tenant):
    evidence = pb.Evidence(endpoint="GET /api/v3/account/info", exchange_code="00000")
    verdict = pb.Verdict(
        status=pb.STATUS_LIMITED,
        reason=pb.REASON_PERMISSION_DENIED,
        environment=pb.ENVIRONMENT_DEMO,
        account=pb.Account(uid="77", parent_uid="7", mode=pb.ACCOUNT_MODE_CLASSIC, keys_bound=2, keys_limit=10),
        permissions=pb.Permissions(
            read=pb.ANSWER_YES, futures_trade=pb.ANSWER_NO, unknown_tokens=["zz"], tokens=["coor", "stor", "zz"]
        ),
        ip_whitelist=pb.IpWhitelist(bound=True, addresses=["203.0.113.7"], missing=["203.0.113.8"]),
        findings=[
            pb.Finding(
                code="missing_permission",
                severity=pb.SEVERITY_ERROR,
                title="T",
                detail="D",
                remedy="R",
                actor=pb.ACTOR_CUSTOMER,
                evidence=evidence,
            )
        ],
        strategies=[pb.Strategy(id="usdt_futures", available=False, reasons=["permission_denied"])],
    )
    record = world.put(tenant, label="L", subject="S", verdict=verdict, scopes=[pb.SCOPE_SPOT, pb.SCOPE_FUTURES])
    seen = timestamp(1_795_000_100)
    world.observations[record.id] = pb.Observation(
        balances=pb.Balances(
            total_usdt="12.30",
            as_of=seen,
            spot=[pb.CoinBalance(coin="BTC", available="1", locked="0.5", total="1.5")],
            futures=[
                pb.FuturesBalance(product="USDT-FUTURES", coin="USDT", available="1", equity="2", unrealized_pnl="-1")
            ],
        ),
        last_verified_at=seen,
        next_verification_at=timestamp(1_795_000_400),
    )
    answer = client.get(f"/v1/bindings/{record.id}")
    assert answer.headers["etag"] == '"2"'
    shown = answer.json()
    credential = shown.pop("credential")
    assert credential.pop("age_days") == max(0, int((time.time() - 1_795_000_000) // 86_400))
    assert credential == {
        "version": 1,
        "key_type": "hmac",
        "api_key_hint": "bg_1…9f0a",
        "stored_at": rfc3339(timestamp(1_795_000_000)),
        "rotate_by": None,
        "sealed": False,
    }
    assert shown.pop("rotation") is None
    assert shown == {
        "id": record.id,
        "exchange": "bitget",
        "label": "L",
        "subject": "S",
        "scopes": ["spot", "futures"],
        "created_at": "2026-11-18T11:06:40.000Z",
        "updated_at": "2026-11-18T11:06:40.000Z",
        "status": "limited",
        "reason": "permission_denied",
        "stale": False,
        "environment": "demo",
        "account": {"uid": "77", "parent_uid": "7", "mode": "classic", "keys_bound": 2, "keys_limit": 10},
        "permissions": {
            "read": "yes",
            "spot_trade": "unknown",
            "futures_trade": "no",
            "margin_trade": "unknown",
            "copy_trade": "unknown",
            "transfer": "unknown",
            "withdraw": "unknown",
            "sub_accounts": "unknown",
            "tokens": ["coor", "stor", "zz"],
        },
        "unknown_tokens": ["zz"],
        "ip_whitelist": {"bound": True, "addresses": ["203.0.113.7"], "missing": ["203.0.113.8"]},
        "findings": [
            {
                "code": "missing_permission",
                "severity": "error",
                "title": "T",
                "detail": "D",
                "remedy": "R",
                "actor": "customer",
                "evidence": {
                    "endpoint": "GET /api/v3/account/info",
                    "exchange_code": "00000",
                    "exchange_message": None,
                },
            }
        ],
        "strategies": [{"id": "usdt_futures", "available": False, "reasons": ["permission_denied"]}],
        "balances": {
            "total_usdt": "12.30",
            "as_of": "2026-11-18T11:08:20.000Z",
            "spot": [{"coin": "BTC", "available": "1", "locked": "0.5", "total": "1.5"}],
            "futures": [
                {"product": "USDT-FUTURES", "coin": "USDT", "available": "1", "equity": "2", "unrealized_pnl": "-1"}
            ],
        },
        "last_verified_at": "2026-11-18T11:08:20.000Z",
        "next_verification_at": "2026-11-18T11:13:20.000Z",
    }


def test_what_is_not_known_is_null_or_unknown_and_never_no(client, world, tenant):
    record = world.put(tenant, verdict=pb.Verdict())
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert (shown["status"], shown["reason"], shown["environment"]) == ("pending", None, None)
    assert shown["permissions"].pop("tokens") == []
    assert set(shown["permissions"].values()) == {"unknown"}
    assert set(shown["account"].values()) == {None}
    assert shown["ip_whitelist"] == {"bound": None, "addresses": [], "missing": []}
    assert (shown["balances"], shown["last_verified_at"]) == (None, None)


def test_an_amount_that_the_exchange_did_not_tell_is_null(client, world, tenant):
    record = world.put(tenant)
    now = timestamp(time.time())
    world.observations[record.id] = pb.Observation(
        balances=pb.Balances(
            as_of=now,
            spot=[pb.CoinBalance(coin="BTC", total="1.5")],
            futures=[pb.FuturesBalance(product="UNIFIED", coin="USDT", equity="0")],
        )
    )
    held = client.get(f"/v1/bindings/{record.id}/balances").json()
    assert held == client.get(f"/v1/bindings/{record.id}").json()["balances"]
    assert held["total_usdt"] is None
    assert held["spot"] == [{"coin": "BTC", "available": None, "locked": None, "total": "1.5"}]
    assert held["futures"] == [
        {"product": "UNIFIED", "coin": "USDT", "available": None, "equity": "0", "unrealized_pnl": None}
    ]


def test_a_rule_on_age_shows_when_the_key_is_to_be_replaced(client, world, tenant):
    record = world.put(tenant)
    record.credential.rotate_by.CopyFrom(timestamp(1_795_000_000 + 90 * 86_400))
    assert client.get(f"/v1/bindings/{record.id}").json()["credential"]["rotate_by"] == "2027-02-16T11:06:40.000Z"


def _codes(client, record):
    return [one["code"] for one in client.get(f"/v1/bindings/{record.id}").json()["findings"]]


def test_notes_follow_the_verdicts_findings_and_no_code_is_told_twice(client, world, tenant):
    verdict = pb.Verdict(
        status=pb.STATUS_LIMITED,
        findings=[pb.Finding(code=code) for code in ("missing_permission", "missing_permission", "clock_skew")],
    )
    record = world.put(tenant, verdict=verdict, whitespace_removed=["api_key"])
    world.observations[record.id] = pb.Observation(
        stale=True,
        stale_finding=pb.Finding(code="exchange_unavailable"),
        notes=[pb.Finding(code=code) for code in ("clock_skew", "exchange_unavailable", "a_note", "a_note")],
    )
    verdicts = ["missing_permission", "missing_permission", "clock_skew"]
    assert _codes(client, record) == [*verdicts, "whitespace_removed", "exchange_unavailable", "a_note"]


def test_a_key_that_is_not_known_yet_is_pending_with_the_note_that_says_so(client, world, tenant):
    record = world.put(tenant, verdict=pb.Verdict(status=pb.STATUS_PENDING))
    note = pb.Finding(code="invalid_api_key", severity=pb.SEVERITY_INFO, title="Not known yet", actor=pb.ACTOR_CUSTOMER)
    world.observations[record.id] = pb.Observation(notes=[note])
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert (shown["status"], shown["reason"], shown["stale"]) == ("pending", None, False)
    assert [(one["code"], one["severity"], one["title"]) for one in shown["findings"]] == [
        ("invalid_api_key", "info", "Not known yet")
    ]


def _literals(model, field):
    told = typing.get_args(model.model_fields[field].annotation)
    return {word for one in told for word in (typing.get_args(one) or (one,))} - {type(None)}


@pytest.mark.parametrize(
    ("kind", "model", "field"),
    [
        (pb.Exchange, schemas.Binding, "exchange"),
        (pb.Status, schemas.Binding, "status"),
        (pb.Environment, schemas.Binding, "environment"),
        (pb.AccountMode, schemas.Account, "mode"),
        (pb.Answer, schemas.Permissions, "read"),
        (pb.Severity, schemas.Finding, "severity"),
        (pb.Actor, schemas.Finding, "actor"),
        (pb.KeyType, schemas.CredentialInfo, "key_type"),
        (pb.Scope, schemas.BindRequest, "scopes"),
    ],
)
def test_the_schema_knows_every_word_that_can_be_told_and_no_other(kind, model, field):
    assert {resource.word(kind, value) for value in kind.values() if value} == _literals(model, field)


REASONS = [
    "invalid_api_key",
    "invalid_secret",
    "invalid_passphrase",
    "ip_not_whitelisted",
    "permission_denied",
    "environment_mismatch",
    "account_restricted",
    "kyc_required",
    "region_blocked",
    "key_deleted",
    "account_mismatch",
    "policy_violation",
]


@pytest.mark.parametrize(("number", "reason"), list(enumerate(REASONS, 1)))
def test_each_reason_is_told_in_the_word_of_the_contract(client, world, tenant, number, reason):
    record = world.put(tenant, verdict=pb.Verdict(status=pb.STATUS_REJECTED, reason=number))
    assert client.get(f"/v1/bindings/{record.id}").json()["reason"] == reason


@pytest.mark.parametrize("status", ["pending", "connected", "limited", "rejected", "disconnected", "revoked"])
def test_each_status_is_told_in_the_word_of_the_contract(client, world, tenant, status):
    record = world.put(tenant, verdict=pb.Verdict(status=f"STATUS_{status.upper()}"))
    assert client.get(f"/v1/bindings/{record.id}").json()["status"] == status
