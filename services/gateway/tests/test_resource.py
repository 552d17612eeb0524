"""The binding resource: every field and word of the contract, and nothing claimed that is not known."""

import time

import pytest
from common.clock import rfc3339, timestamp
from strongroom.types.v1 import binding_pb2 as pb


def test_the_resource_has_every_field_of_the_contract(client, world, tenant):
    evidence = pb.Evidence(endpoint="GET /api/v3/account/info", exchange_code="00000")
    verdict = pb.Verdict(
        status=pb.STATUS_LIMITED,
        reason=pb.REASON_PERMISSION_DENIED,
        environment=pb.ENVIRONMENT_DEMO,
        account=pb.Account(uid="77", parent_uid="7", mode=pb.ACCOUNT_MODE_CLASSIC, keys_bound=2, keys_limit=10),
        permissions=pb.Permissions(read=pb.ANSWER_YES, futures_trade=pb.ANSWER_NO, unknown_tokens=["zz"]),
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
    assert set(shown["permissions"].values()) == {"unknown"}
    assert set(shown["account"].values()) == {None}
    assert shown["ip_whitelist"] == {"bound": None, "addresses": [], "missing": []}
    assert (shown["balances"], shown["last_verified_at"]) == (None, None)


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
