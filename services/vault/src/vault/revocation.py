"""Own the form of one bulk revocation: what was asked, how far it is, and who is at it. Pure.

What has ended is counted, never guessed: the place in the fixed set of those that fitted, less those that failed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from common import ids
from common.clock import representable
from common.errors import InvalidArgument
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1.binding_pb2 import Binding
from strongroom.vault.v1.revocations_pb2 import (
    REVOCATION_STATE_DONE,
    REVOCATION_STATE_REVOKING,
    Revocation,
    RevocationFailure,
    RevocationSelector,
)

from vault.store import unavailable

BATCH: Final = 32
FAILED_LIMIT: Final = 500  # so many failures are kept beside one another; more are tried again before anything new
PART: Final = 10_000  # ids in one document
SUBJECT_LIMIT: Final = 128
LABEL_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class Work:
    """One bulk revocation as Vault keeps it, `version` apart.

    `place` is how many of the matched ids were tried, `failed` those of them that have not ended and why; `owner` may
    work on it until `lease` (Unix seconds).
    """

    asked: Revocation
    place: int = 0
    failed: Mapping[str, str] = field(default_factory=dict)
    owner: str = ""
    lease: float = 0.0
    version: int = 0

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.asked.state == REVOCATION_STATE_DONE

    def shown(self) -> Revocation:
        """Return it as it is told: a binding counts once it has ended."""
        told = Revocation()
        told.CopyFrom(self.asked)
        told.revoked = self.place - len(self.failed)
        told.failed.extend(RevocationFailure(binding_id=name, reason=why) for name, why in self.failed.items())
        return told

    def document(self) -> dict[str, Any]:
        """Return it as Vault keeps it: as few texts, of which OpenBao takes a thousand in a document at most."""
        return {
            "asked": json_format.MessageToJson(self.asked, preserving_proto_field_name=True, indent=None),
            "place": self.place,
            "failed": " ".join(f"{name}={why}" for name, why in self.failed.items()),
            "owner": self.owner,
            "lease": self.lease,
        }

    def matched(self, count: int) -> "Work":
        """Return it with its set of bindings fixed."""
        asked = _copy(self.asked)
        asked.matched, asked.state = count, REVOCATION_STATE_REVOKING
        return replace(self, asked=asked)

    def todo(self, names: Sequence[str]) -> list[str]:
        """Return what to try next of the matched `names`; failures come again at the end, and before they get many."""
        if self.place < self.asked.matched and len(self.failed) < FAILED_LIMIT:
            return list(names[self.place : self.place + BATCH])
        return list(self.failed)[:BATCH]

    def tried(self, results: Mapping[str, str]) -> "Work":
        """Return it after a try: {id: why it failed, or an empty text}. What failed again goes to the end."""
        new = sum(name not in self.failed for name in results)
        failed = {name: why for name, why in self.failed.items() if name not in results}
        failed |= {name: why for name, why in results.items() if why}
        return replace(self, place=self.place + new, failed=failed)

    def finished(self, now: Timestamp) -> "Work":
        """Return it as done."""
        asked = _copy(self.asked)
        asked.state = REVOCATION_STATE_DONE
        asked.finished_at.CopyFrom(now)
        return replace(self, asked=asked, owner="", lease=0.0)


def work_of(data: Mapping[str, Any], version: int) -> Work:
    """Return what Vault kept; raise Unavailable for what a newer version wrote: it may select less than it seems to."""
    pairs = [pair.partition("=") for pair in data["failed"].split()]
    failed = {name: why for name, _, why in pairs}
    try:
        asked = json_format.Parse(data["asked"], Revocation())
    except json_format.ParseError:
        raise unavailable("revocation_unreadable") from None
    return Work(asked, int(data["place"]), failed, data["owner"], float(data["lease"]), version)


def checked(selector: RevocationSelector) -> RevocationSelector:
    """Return `selector` if it names a tenant and makes sense; raise InvalidArgument otherwise."""
    if not selector.tenant_id:
        raise InvalidArgument("selector", "Name the tenant whose bindings are to end.", field="selector.tenant_id")
    ids.tenant_id(selector.tenant_id)
    for name, limit in (("subject", SUBJECT_LIMIT), ("label", LABEL_LIMIT)):
        value: str = getattr(selector, name)
        if len(value) > limit or not value.isprintable():
            raise InvalidArgument(name, f"Must be at most {limit} printable characters.", field=f"selector.{name}")
    for name in ("bound_after", "bound_before"):
        if not representable(getattr(selector, name)):
            raise InvalidArgument(name, "This is no time.", field=f"selector.{name}")
    begin, end = selector.bound_after.ToNanoseconds(), selector.bound_before.ToNanoseconds()
    if selector.HasField("bound_before") and begin >= end:
        raise InvalidArgument("window", "The window is empty.", field="selector.bound_before")
    return selector


def fits(selector: RevocationSelector, binding: Binding) -> bool:
    """Tell whether a binding of the selector's tenant is selected."""
    bound = binding.created_at.ToNanoseconds()
    return (
        (not selector.HasField("subject") or selector.subject == binding.subject)
        and (not selector.HasField("label") or selector.label == binding.label)
        and (not selector.HasField("bound_after") or selector.bound_after.ToNanoseconds() <= bound)
        and (not selector.HasField("bound_before") or bound < selector.bound_before.ToNanoseconds())
    )


def _copy(asked: Revocation) -> Revocation:
    copied = Revocation()
    copied.CopyFrom(asked)
    return copied
