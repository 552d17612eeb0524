"""Own how a record and an observation become the REST resource. Pure: no clock, no network, no secrets.

Answers are plain JSON values in the shapes of `schemas`; tests hold the two together, because validating a page of a
hundred at each answer takes longer than everything else that is done for it.
"""

from functools import cache, lru_cache
from typing import Any, Final

from common.clock import rfc3339
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1 import binding_pb2 as pb

from gateway import notices
from gateway.schemas import Permissions

Json = dict[str, Any]
DAY_S: Final = 86_400
ANSWERS: Final = tuple(name for name in Permissions.model_fields if name != "tokens")


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


def binding(record: pb.Binding, seen: pb.Observation | None, now: float) -> Json:
    """Return the resource of `record` with what was last observed (None: nothing, or it cannot be asked)."""
    seen, verdict = seen or pb.Observation(), record.verdict
    return {
        "id": record.id,
        "exchange": word(pb.Exchange, record.exchange),
        "label": record.label,
        "subject": record.subject,
        "scopes": [word(pb.Scope, scope) for scope in record.scopes],
        "created_at": _moment(record.created_at.seconds, record.created_at.nanos),
        "updated_at": _moment(record.updated_at.seconds, record.updated_at.nanos),
        "status": word(pb.Status, verdict.status) or "pending",
        "reason": word(pb.Reason, verdict.reason),
        "stale": seen.stale,
        "environment": word(pb.Environment, verdict.environment),
        "account": _account(verdict.account),
        "permissions": _permissions(verdict.permissions),
        "unknown_tokens": list(verdict.permissions.unknown_tokens),
        "ip_whitelist": _ip_whitelist(verdict),
        "findings": _findings(record, seen),
        "strategies": [
            {"id": one.id, "available": one.available, "reasons": list(one.reasons)} for one in verdict.strategies
        ],
        "balances": balances(seen),
        "credential": _credential(record.credential, now),
        "rotation": _rotation(record, seen) if record.HasField("rotation") else None,
        "last_verified_at": _time(seen, "last_verified_at"),
        "next_verification_at": _time(seen, "next_verification_at"),
    }


def balances(seen: pb.Observation) -> Json | None:
    """Return what the account held when it was last asked, None when that is not known."""
    if not seen.HasField("balances"):
        return None
    held = seen.balances
    return {
        "total_usdt": held.total_usdt or None,
        "spot": [
            {
                "coin": one.coin,
                "available": one.available or None,
                "locked": one.locked or None,
                "total": one.total or None,
            }
            for one in held.spot
        ],
        "futures": [
            {
                "product": one.product,
                "coin": one.coin,
                "available": one.available or None,
                "equity": one.equity or None,
                "unrealized_pnl": one.unrealized_pnl or None,
            }
            for one in held.futures
        ],
        "as_of": _moment(held.as_of.seconds, held.as_of.nanos),
    }


def _permissions(told: pb.Permissions) -> Json:
    words = _words(pb.Answer)
    answers: Json = {name: words.get(getattr(told, name), "unknown") for name in ANSWERS}
    return answers | {"tokens": list(told.tokens)}


def _account(account: pb.Account) -> Json:
    return {
        "uid": account.uid or None,
        "parent_uid": account.parent_uid or None,
        "mode": word(pb.AccountMode, account.mode),
        "keys_bound": account.keys_bound or None,
        "keys_limit": account.keys_limit or None,
    }


def _ip_whitelist(verdict: pb.Verdict) -> Json:
    listed = verdict.ip_whitelist
    bound = listed.bound if verdict.HasField("ip_whitelist") else None
    return {"bound": bound, "addresses": list(listed.addresses), "missing": list(listed.missing)}


def _findings(record: pb.Binding, seen: pb.Observation) -> list[Json]:
    """Return the verdict's findings, then what else is to be told, unless a finding of that code is there already."""
    findings = [finding(one) for one in record.verdict.findings]
    told = {one["code"] for one in findings}
    further = notices.of(record)
    if seen.stale and seen.HasField("stale_finding"):
        further.append(finding(seen.stale_finding))
    for one in (*further, *map(finding, seen.notes)):
        if one["code"] not in told:
            told.add(one["code"])
            findings.append(one)
    return findings


def finding(one: pb.Finding) -> Json:
    """Return a finding as the contract shows it."""
    return {
        "code": one.code,
        "severity": word(pb.Severity, one.severity) or "info",
        "title": one.title,
        "detail": one.detail,
        "remedy": one.remedy,
        "actor": word(pb.Actor, one.actor) or "operator",
        "evidence": _evidence(one.evidence) if one.HasField("evidence") else None,
    }


def _evidence(said: pb.Evidence) -> Json:
    return {
        "endpoint": said.endpoint or None,
        "exchange_code": said.exchange_code or None,
        "exchange_message": said.exchange_message or None,
    }


def _rotation(record: pb.Binding, seen: pb.Observation) -> Json:
    """Return the replacement: with why it failed or, while it is looked at, what was noticed last."""
    told, noticed = record.rotation, seen.rotation
    found = list(told.findings)
    if told.state == pb.ROTATION_STATE_VERIFYING:
        found = [noticed.stale_finding] if noticed.stale else list(noticed.notes)
    return {
        "state": word(pb.RotationState, told.state) or "verifying",
        "version": told.credential.version,
        "key_type": word(pb.KeyType, told.credential.key_type) or "hmac",
        "api_key_hint": told.credential.api_key_hint,
        "started_at": _time(told, "started_at"),
        "reason": told.reason or None,
        "findings": [finding(one) for one in found],
    }


def _credential(info: pb.CredentialInfo, now: float) -> Json:
    return {
        "version": info.version,
        "key_type": word(pb.KeyType, info.key_type) or "hmac",
        "api_key_hint": info.api_key_hint,
        "stored_at": _time(info, "stored_at"),
        "age_days": max(0, int((now - info.stored_at.seconds) // DAY_S)) if info.HasField("stored_at") else None,
        "rotate_by": _time(info, "rotate_by"),
        "sealed": info.sealed,
    }


def _time(message: pb.Observation | pb.CredentialInfo | pb.Rotation, name: str) -> str | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    value: Timestamp = getattr(message, name)
    return _moment(value.seconds, value.nanos)


@lru_cache(4096)
def _moment(seconds: int, nanos: int) -> str:
    """Return a time as text; most times of a binding are the same few, on every page that shows it."""
    return rfc3339(Timestamp(seconds=seconds, nanos=nanos))
