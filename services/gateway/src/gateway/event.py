"""Own how a published status event becomes the data of a server-sent event. Pure; in the shapes of `schemas`."""

from typing import Final

from common.clock import rfc3339
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1.verification_service_pb2 import Event

from gateway.resource import Json, word

# What a field's values are; every other field is a text.
LISTS: Final = frozenset(
    [
        "permissions.tokens",
        "unknown_tokens",
        "ip_whitelist.addresses",
        "ip_whitelist.missing",
        "findings",
        "scopes",
        "strategies",
    ]
)
BOOLEANS: Final = frozenset(["stale", "ip_whitelist.bound"])
NUMBERS: Final = frozenset(["account.keys_bound", "account.keys_limit", "credential.version", "rotation.version"])


def data(sent: Event) -> Json:
    """Return the data of one status event."""
    return {
        "id": sent.id,
        "type": "binding.status",
        "binding_id": sent.binding_id,
        "status": word(pb.Status, sent.status) or "pending",
        "reason": word(pb.Reason, sent.reason),
        "stale": sent.stale,
        "findings": list(sent.finding_codes),
        "changes": [one for one in map(_change, sent.changes) if one["before"] != one["after"]],
        "revision": sent.revision,
        "occurred_at": rfc3339(sent.occurred_at),
    }


def _change(one: pb.Change) -> Json:
    return {
        "field": one.field,
        "before": _value(one.field, list(one.before)),
        "after": _value(one.field, list(one.after)),
    }


def _value(field: str, told: list[str]) -> str | int | bool | list[str] | None:
    """Return one side of a change as the resource shows the field; several values are a list whatever the field."""
    if field in LISTS or len(told) > 1:
        return told
    if not told:
        return "unknown" if field.startswith("permissions.") else None
    if field in BOOLEANS:
        return told[0] == "true"
    if field in NUMBERS and told[0].isdecimal():
        return int(told[0])
    return told[0]
