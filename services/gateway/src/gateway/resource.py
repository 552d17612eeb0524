"""Own how a record and an observation become the REST resource. Pure: no clock, no network, no secrets."""

from functools import cache
from typing import Any, Final

from common.clock import rfc3339
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1.verification_service_pb2 import Event

from gateway import schemas

DAY_S: Final = 86_400
PERMISSIONS: Final = tuple(schemas.Permissions.model_fields)


@cache
def _words(kind: Any) -> dict[int, str]:
    """Return an enum's values as the contract's lower-case words, without the unspecified one."""
    prefix = kind.Name(0).removesuffix("UNSPECIFIED")
    return {value: name.removeprefix(prefix).lower() for name, value in kind.items() if value}


def word(kind: Any, value: int) -> str | None:
    """Return an enum value as the contract's lower-case word, None when unspecified or unknown."""
    return _words(kind).get(value)


def number(kind: Any, text: str) -> Any:
    """Return the enum value of a lower-case word of the contract; raise ValueError for another word."""
    return kind.Value(kind.Name(0).removesuffix("UNSPECIFIED") + text.upper())


def binding(record: pb.Binding, seen: pb.Observation | None, now: float) -> schemas.Binding:
    """Return the resource of `record` with what was last observed (None: nothing, or it cannot be asked)."""
    seen, verdict = seen or pb.Observation(), record.verdict
    return schemas.Binding.model_validate(
        {
            "id": record.id,
            "exchange": word(pb.Exchange, record.exchange),
            "label": record.label,
            "subject": record.subject,
            "scopes": [word(pb.Scope, scope) for scope in record.scopes],
            "created_at": rfc3339(record.created_at),
            "updated_at": rfc3339(record.updated_at),
            "status": word(pb.Status, verdict.status) or "pending",
            "reason": word(pb.Reason, verdict.reason),
            "stale": seen.stale,
            "environment": word(pb.Environment, verdict.environment),
            "account": _account(verdict.account),
            "permissions": {name: _answer(getattr(verdict.permissions, name)) for name in PERMISSIONS},
            "unknown_tokens": list(verdict.permissions.unknown_tokens),
            "ip_whitelist": _ip_whitelist(verdict),
            "findings": _findings(record, seen),
            "strategies": [
                {"id": one.id, "available": one.available, "reasons": list(one.reasons)} for one in verdict.strategies
            ],
            "balances": balances(seen),
            "credential": _credential(record.credential, now),
            "last_verified_at": _time(seen, "last_verified_at"),
            "next_verification_at": _time(seen, "next_verification_at"),
        }
    )


def balances(seen: pb.Observation) -> schemas.Balances | None:
    """Return what the account held when it was last asked, None when that is not known."""
    if not seen.HasField("balances"):
        return None
    held = seen.balances
    return schemas.Balances(
        total_usdt=held.total_usdt or None,
        spot=[
            schemas.CoinBalance(coin=one.coin, available=one.available, locked=one.locked, total=one.total)
            for one in held.spot
        ],
        futures=[
            schemas.FuturesBalance(
                product=one.product,
                coin=one.coin,
                available=one.available,
                equity=one.equity,
                unrealized_pnl=one.unrealized_pnl,
            )
            for one in held.futures
        ],
        as_of=rfc3339(held.as_of),
    )


def event(sent: Event) -> schemas.StatusEvent:
    """Return the data of one status event."""
    return schemas.StatusEvent.model_validate(
        {
            "id": sent.id,
            "type": "binding.status",
            "binding_id": sent.binding_id,
            "status": word(pb.Status, sent.status) or "pending",
            "reason": word(pb.Reason, sent.reason),
            "stale": sent.stale,
            "findings": list(sent.finding_codes),
            "revision": sent.revision,
            "occurred_at": rfc3339(sent.occurred_at),
        }
    )


def _answer(value: int) -> str:
    return word(pb.Answer, value) or "unknown"


def _account(account: pb.Account) -> dict[str, Any]:
    return {
        "uid": account.uid or None,
        "parent_uid": account.parent_uid or None,
        "mode": word(pb.AccountMode, account.mode),
        "keys_bound": account.keys_bound or None,
        "keys_limit": account.keys_limit or None,
    }


def _ip_whitelist(verdict: pb.Verdict) -> dict[str, Any]:
    listed = verdict.ip_whitelist
    bound = listed.bound if verdict.HasField("ip_whitelist") else None
    return {"bound": bound, "addresses": list(listed.addresses), "missing": list(listed.missing)}


def _findings(record: pb.Binding, seen: pb.Observation) -> list[dict[str, Any]]:
    findings = [_finding(one) for one in record.verdict.findings]
    if record.whitespace_removed and all(one["code"] != "whitespace_removed" for one in findings):
        findings.append(_whitespace_removed(record.whitespace_removed))
    if seen.stale and seen.HasField("stale_finding"):
        findings.append(_finding(seen.stale_finding))
    return findings


def _finding(one: pb.Finding) -> dict[str, Any]:
    evidence = {
        "endpoint": one.evidence.endpoint or None,
        "exchange_code": one.evidence.exchange_code or None,
        "exchange_message": one.evidence.exchange_message or None,
    }
    return {
        "code": one.code,
        "severity": word(pb.Severity, one.severity) or "info",
        "title": one.title,
        "detail": one.detail,
        "remedy": one.remedy,
        "actor": word(pb.Actor, one.actor) or "operator",
        "evidence": evidence if one.HasField("evidence") else None,
    }


def _whitespace_removed(names: Any) -> dict[str, Any]:
    return {
        "code": "whitespace_removed",
        "severity": "info",
        "title": "Spaces or invisible characters were removed",
        "detail": f"They came with these pasted values: {', '.join(names)}.",
        "remedy": "Nothing needs to be done if the binding connects; otherwise copy the values again.",
        "actor": "customer",
        "evidence": None,
    }


def _credential(info: pb.CredentialInfo, now: float) -> dict[str, Any]:
    known = info.HasField("stored_at")
    return {
        "version": info.version,
        "key_type": word(pb.KeyType, info.key_type) or "hmac",
        "api_key_hint": info.api_key_hint,
        "stored_at": rfc3339(info.stored_at) if known else None,
        "age_days": max(0, int((now - info.stored_at.ToMilliseconds() / 1000) // DAY_S)) if known else None,
        "rotate_by": _time(info, "rotate_by"),
        "sealed": info.sealed,
    }


def _time(message: pb.Observation | pb.CredentialInfo, name: str) -> str | None:
    value: Timestamp = getattr(message, name)
    return rfc3339(value) if message.HasField(name) else None  # type: ignore[arg-type]
