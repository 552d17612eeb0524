"""Own what a customer is told about a change: every fact of the contract, before and after. Pure; it asks nobody."""

from collections.abc import Iterable
from typing import Any, Final

from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import Binding, Change, Observation, Verdict

Values = tuple[str, ...]
Facts = dict[str, Values]

RIGHTS: Final = (
    "read",
    "spot_trade",
    "futures_trade",
    "margin_trade",
    "copy_trade",
    "transfer",
    "withdraw",
    "sub_accounts",
)
# What is left to tell of a binding that has ended.
ENDED: Final = frozenset(("status", "reason", "stale"))


def between(before: Facts, after: Facts) -> list[Change]:
    """Return what is not as it was, sorted by field; of a binding that has ended only that."""
    fields = sorted(before.keys() | after.keys())
    if after.get("status") == ("revoked",):
        fields = [field for field in fields if field in ENDED]
    return [
        Change(field=field, before=before.get(field, ()), after=after.get(field, ()))
        for field in fields
        if before.get(field, ()) != after.get(field, ())
    ]


def facts(binding: Binding, observation: Observation | None) -> Facts:
    """Return everything about a binding whose change is an event, as the REST resource spells it."""
    verdict, stale = binding.verdict, observation is not None and observation.stale
    found: Facts = {
        "status": _word(types.Status, verdict.status),
        "reason": _word(types.Reason, verdict.reason),
        "stale": _flag(stale),
        "environment": _word(types.Environment, verdict.environment),
        "label": _text(binding.label),
        "subject": _text(binding.subject),
        "scopes": _sorted(_word(types.Scope, scope)[0] for scope in binding.scopes),
        "credential.version": _number(binding.credential.version),
        "rotation.state": _word(types.RotationState, binding.rotation.state),
        "rotation.version": _number(binding.rotation.credential.version),
        "rotation.reason": _text(binding.rotation.reason),
        "account.uid": _text(verdict.account.uid),
        "account.parent_uid": _text(verdict.account.parent_uid),
        "account.mode": _word(types.AccountMode, verdict.account.mode),
        "account.keys_bound": _number(verdict.account.keys_bound),
        "account.keys_limit": _number(verdict.account.keys_limit),
        "findings": tuple(sorted(set(codes(verdict, observation)))),
        "strategies": tuple(sorted(strategy.id for strategy in verdict.strategies if strategy.available)),
    }
    return {**found, **_permissions(verdict), **_addresses(verdict)}


def codes(verdict: Verdict, observation: Observation | None) -> list[str]:
    """Return the codes of the findings that events tell, in the order of the resource: its notes are none of them."""
    found = [finding.code for finding in verdict.findings]
    if observation is not None and observation.HasField("stale_finding"):
        found.append(observation.stale_finding.code)
    return found


def _permissions(verdict: Verdict) -> Facts:
    permissions = verdict.permissions
    found: Facts = {f"permissions.{right}": _answer(getattr(permissions, right)) for right in RIGHTS}
    found["permissions.tokens"] = _sorted(permissions.tokens)
    found["unknown_tokens"] = _sorted(permissions.unknown_tokens)
    return found


def _addresses(verdict: Verdict) -> Facts:
    known = verdict.ip_whitelist
    return {
        "ip_whitelist.bound": _flag(known.bound) if verdict.HasField("ip_whitelist") else (),
        "ip_whitelist.addresses": _sorted(known.addresses),
        "ip_whitelist.missing": _sorted(known.missing),
    }


def _word(kind: Any, value: int) -> Values:
    """Return an enumeration's value as REST spells it: STATUS_CONNECTED is connected, and what is unset is nothing."""
    prefix: str = kind.Name(0).removesuffix("UNSPECIFIED")
    return (kind.Name(value).removeprefix(prefix).lower(),) if value in kind.values() and value else ()


def _answer(value: int) -> Values:
    """Return yes or no; what is not known is told like what was never asked."""
    return () if value == types.ANSWER_UNKNOWN else _word(types.Answer, value)


def _flag(value: bool) -> Values:
    return ("true" if value else "false",)


def _text(value: str) -> Values:
    return (value,) if value else ()


def _number(value: int) -> Values:
    return (str(value),) if value else ()


def _sorted(values: Iterable[str]) -> Values:
    return tuple(sorted(values))
