"""Own what a freeze is and what it stops. Pure: no clock, no Vault; the same answer for everybody who asks.

A freeze is an operator's order to sign nothing. It changes no record and never holds up a revocation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from common import ids
from common.errors import InvalidArgument, PolicyRefused
from google.protobuf import json_format
from strongroom.types.v1.binding_pb2 import EXCHANGE_BITGET, STATUS_REVOKED, Binding
from strongroom.vault.v1.freezes_pb2 import (
    FREEZE_KIND_BINDING,
    FREEZE_KIND_EVERYTHING,
    FREEZE_KIND_EXCHANGE,
    FREEZE_KIND_SUBJECT,
    FREEZE_KIND_TENANT,
    Freeze,
    FreezeTarget,
)

FROZEN: Final = "frozen"
TEXT_LIMIT: Final = 200
SUBJECT_LIMIT: Final = 128
# The fields that a target of each kind has, and no others.
FIELDS: Final[Mapping[int, frozenset[str]]] = {
    FREEZE_KIND_BINDING: frozenset(["tenant_id", "binding_id"]),
    FREEZE_KIND_SUBJECT: frozenset(["tenant_id", "subject"]),
    FREEZE_KIND_TENANT: frozenset(["tenant_id"]),
    FREEZE_KIND_EXCHANGE: frozenset(["exchange"]),
    FREEZE_KIND_EVERYTHING: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something would be signed: a binding, or one that is about to be made (its id is in no freeze)."""

    tenant: str
    binding: str
    subject: str
    exchange: int


def place_of(binding: Binding) -> Place:
    """Return where a binding's requests are signed."""
    return Place(binding.tenant_id, binding.id, binding.subject, binding.exchange)


def refusing(freezes: Iterable[Freeze], place: Place, *, cancels: bool = False) -> Freeze | None:
    """Return the first freeze that stops a signature for `place`; `cancels` says that it only cancels orders."""
    return next((one for one in freezes if _covers(one.target, place) and not (cancels and one.allow_cancels)), None)


def marked(freezes: Sequence[Freeze], binding: Binding) -> Binding:
    """Write into a living `binding` whether a freeze covers it, and return it."""
    if binding.verdict.status != STATUS_REVOKED and refusing(freezes, place_of(binding)):
        binding.frozen = True
    return binding


def refusal(freeze: Freeze) -> PolicyRefused:
    """Return the error for what `freeze` stops. It names the freeze, and not why it was made."""
    return PolicyRefused(FROZEN, "Signing is frozen here by an operator.", rule=FROZEN, freeze_id=freeze.id)


def checked(target: FreezeTarget) -> FreezeTarget:
    """Return `target` if it has what its kind needs and nothing else; raise InvalidArgument, or NotFound for an id."""
    if target.kind not in FIELDS:
        raise InvalidArgument("target_kind", "Say what is to be frozen.", field="target.kind")
    wanted, there = FIELDS[target.kind], {field.name for field, _ in target.ListFields()} - {"kind"}
    for name in sorted(wanted ^ there):
        what = "is needed" if name in wanted else "does not belong"
        raise InvalidArgument("target", f"This field {what} in a target of this kind.", field=f"target.{name}")
    if "tenant_id" in wanted:
        ids.tenant_id(target.tenant_id)
    if "binding_id" in wanted:
        ids.binding_id(target.binding_id)
    if "exchange" in wanted and target.exchange != EXCHANGE_BITGET:
        raise InvalidArgument("exchange", "The exchange is not supported.", field="target.exchange")
    if len(target.subject) > SUBJECT_LIMIT or not target.subject.isprintable():
        raise InvalidArgument("subject", "Must be at most 128 printable characters.", field="target.subject")
    return target


def reason_of(text: str) -> str:
    """Return `text` if it can be the reason of a freeze or of its end; raise InvalidArgument otherwise."""
    if not 1 <= len(text.strip()) <= len(text) <= TEXT_LIMIT or not text.isprintable():
        raise InvalidArgument("reason", f"Give a reason of 1 to {TEXT_LIMIT} printable characters.", field="reason")
    return text


def stored(freeze: Freeze) -> str:
    """Return a freeze as Vault keeps it: as one text, for OpenBao takes a thousand texts in a document at most."""
    return json_format.MessageToJson(freeze, preserving_proto_field_name=True, indent=None, ensure_ascii=False)


def parsed(text: object) -> Freeze:
    """Return a freeze that Vault kept; raise json_format.ParseError, or TypeError, for what is none."""
    if not isinstance(text, str):
        raise TypeError("a text is expected")
    return json_format.Parse(text, Freeze(), ignore_unknown_fields=True)


def _covers(target: FreezeTarget, place: Place) -> bool:
    here = {
        FREEZE_KIND_BINDING: (target.tenant_id, target.binding_id) == (place.tenant, place.binding),
        FREEZE_KIND_SUBJECT: (target.tenant_id, target.subject) == (place.tenant, place.subject),
        FREEZE_KIND_TENANT: target.tenant_id == place.tenant,
        FREEZE_KIND_EXCHANGE: target.exchange == place.exchange,
        FREEZE_KIND_EVERYTHING: True,
    }
    return here.get(target.kind, True)  # a kind that only a newer version knows stops everything
