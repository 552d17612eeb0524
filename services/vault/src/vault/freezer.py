"""Own the freezes in Vault: one document of the service's own, made and lifted by check-and-set, read when needed.

What is read is used for FRESH_S. What cannot be read is never taken for "nothing is frozen".
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NoReturn

from common.clock import Clock, timestamp
from common.errors import IdempotencyMismatch, InvalidArgument, NotFound
from google.protobuf.json_format import ParseError
from strongroom.types.v1.binding_pb2 import Exchange
from strongroom.vault.v1.freezes_pb2 import CreateFreezeRequest, Freeze, FreezeKind, FreezeTarget

from vault.actor import Actor
from vault.asked import derived_id
from vault.audit import AuditLog
from vault.freezes import FROZEN, Place, checked, parsed, reason_of, refusal, refusing, stored
from vault.records import Records
from vault.store import OwnDocuments, put_own, unavailable

FRESH_S: Final = 0.1
# One document holds all: with texts as long as they may be it stays under the megabyte that Raft takes.
LIMIT: Final = 128
KEPT: Final = 32
ATTEMPTS: Final = 12
PAUSE_S: Final = 0.02
NAME: Final = "all"


@dataclass(frozen=True, slots=True)
class Known:
    """The freezes as they were when the reading of them began (monotonic seconds), those lifted last, the version."""

    read_at: float
    active: tuple[Freeze, ...]
    lifted: tuple[Freeze, ...]
    version: int

    def document(self) -> dict[str, Any]:
        """Return them as Vault keeps them."""
        return {"active": [stored(one) for one in self.active], "lifted": [stored(one) for one in self.lifted]}

    def find(self, freeze_id: str) -> Freeze | None:
        """Return the freeze with this id, if it is among them."""
        return next((one for one in (*self.active, *self.lifted) if one.id == freeze_id), None)


class Freezer:
    """Make, lift and tell freezes. Every process sees every freeze within FRESH_S of its being made."""

    def __init__(self, own: OwnDocuments, records: Records, audit: AuditLog, clock: Clock) -> None:
        self._own = own
        self._records = records
        self._audit = audit
        self._clock = clock
        self._known: Known | None = None
        self._changed_at = float("-inf")  # what was read before this process changed them is of no use
        self._reading: asyncio.Task[Known] | None = None

    async def active(self) -> Sequence[Freeze]:
        """Return the active freezes, the oldest first, as they were at most FRESH_S before this call.

        Whoever asks while they are read waits for that answer, and for another if it was begun too early. Raises
        Unavailable when Vault cannot tell.
        """
        oldest = max(self._clock.monotonic() - FRESH_S, self._changed_at)
        known = self._known
        while known is None or known.read_at < oldest:
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
                self._reading.add_done_callback(_taken)
            known = await asyncio.shield(self._reading)
        return known.active

    async def stopping(self, place: Place) -> Freeze | None:
        """Return the freeze that covers `place`, if one does."""
        return refusing(await self.active(), place)

    async def refuse(self, actor: Actor, action: str, place: Place, freeze: Freeze) -> NoReturn:
        """Record that `freeze` stopped an action other than a signature, and raise the refusal."""
        async with self._audit.action(actor, action, place.binding) as told:
            told.update(rule=FROZEN, freeze=freeze.id)
            raise refusal(freeze)

    async def make(self, actor: Actor, request: CreateFreezeRequest) -> Freeze:
        """Freeze a target; once this returns it is durable, and in force here.

        Raises InvalidArgument, NotFound for a tenant or binding that does not exist, IdempotencyMismatch.
        """
        target, name = checked(request.target), derived_id(actor.tenant, request.idempotency_key)
        reason_of(request.reason)
        await self._check_exists(target)
        if (found := (await self._read()).find(name)) is not None:
            return _same(found, request)
        async with self._audit.action(_affected(actor, target), "freeze", target.binding_id, **_facts(actor, request)):
            for attempt in range(ATTEMPTS):
                known = await self._read()
                if (found := known.find(name)) is not None:
                    return _same(found, request)
                if len(known.active) >= LIMIT:
                    text = f"There are {LIMIT} freezes: lift one, or freeze the tenant, the exchange or everything."
                    raise InvalidArgument("too_many_freezes", text, field="target")
                made = Freeze(
                    id=name,
                    target=target,
                    reason=request.reason,
                    allow_cancels=request.allow_cancels,
                    made_at=timestamp(self._clock.unix()),
                    made_by=actor.subject,
                )
                if await self._replace(replace(known, active=(*known.active, made)), attempt):
                    return made
            raise unavailable("busy")

    async def lift(self, actor: Actor, name: str, reason: str) -> Freeze:
        """Lift a freeze; a repeat changes nothing. Raises NotFound for one that never was, or was lifted long ago."""
        reason_of(reason)
        found = (await self._read()).find(name)
        if found is None:
            raise NotFound()
        if found.HasField("lifted_at"):
            return found
        facts = {"freeze": name, "reason": reason, "operator": actor.tenant}
        async with self._audit.action(_affected(actor, found.target), "unfreeze", found.target.binding_id, **facts):
            for attempt in range(ATTEMPTS):
                known = await self._read()
                found = known.find(name)
                if found is None:
                    raise NotFound()
                if found.HasField("lifted_at"):
                    return found
                left = tuple(one for one in known.active if one.id != name)
                ended = Freeze(lifted_at=timestamp(self._clock.unix()), lifted_by=actor.subject, lift_reason=reason)
                ended.MergeFrom(found)
                if await self._replace(replace(known, active=left, lifted=(*known.lifted, ended)[-KEPT:]), attempt):
                    return ended
            raise unavailable("busy")

    async def _check_exists(self, target: FreezeTarget) -> None:
        """Raise NotFound for a target that does not exist: a slip of the pen must not look like a freeze."""
        if target.tenant_id and await self._own.read("tenants", target.tenant_id) is None:
            raise NotFound()
        if target.binding_id:
            await self._records.head(target.tenant_id, target.binding_id)

    async def _replace(self, wanted: Known, attempt: int) -> bool:
        """Write the next version, and return whether nobody was faster."""
        written = await put_own(self._own, "freezes", NAME, wanted.document(), cas=wanted.version) is not None
        self._changed_at = self._clock.monotonic()
        if not written:
            await asyncio.sleep(random.uniform(0, PAUSE_S * (attempt + 1)))  # noqa: S311  not a secret
        return written

    async def _read(self) -> Known:
        """Read the freezes anew; what nobody can read refuses, as what cannot be reached does."""
        began = self._clock.monotonic()
        found = await self._own.read("freezes", NAME)
        data: Mapping[str, Any] = (found.data if found else None) or {}
        try:
            active, lifted = (tuple(map(parsed, data.get(part, ()))) for part in ("active", "lifted"))
        except (ParseError, TypeError, ValueError):
            raise unavailable("freezes_unreadable") from None
        known = Known(began, active, lifted, found.version if found else 0)
        if self._known is None or self._known.read_at < began:
            self._known = known
        return known


def _same(found: Freeze, request: CreateFreezeRequest) -> Freeze:
    """Return the freeze that an earlier call with the key made; raise IdempotencyMismatch unless it is the one asked.

    One that was lifted is not told as if it were in force.
    """
    if found.HasField("lifted_at"):
        raise IdempotencyMismatch(detail="The freeze of this Idempotency-Key has been lifted: use a new key.")
    told = (found.target, found.reason, found.allow_cancels)
    if told != (request.target, request.reason, request.allow_cancels):
        raise IdempotencyMismatch()
    return found


def _affected(actor: Actor, target: FreezeTarget) -> Actor:
    """Return the operator as acting on the tenant that is affected, if it is one."""
    return replace(actor, tenant=target.tenant_id) if target.tenant_id else actor


def _facts(actor: Actor, request: CreateFreezeRequest) -> dict[str, str | int]:
    target = request.target
    facts: dict[str, str | int] = {
        "freeze": derived_id(actor.tenant, request.idempotency_key),
        "kind": FreezeKind.Name(target.kind).removeprefix("FREEZE_KIND_").lower(),
        "reason": request.reason,
        "allow_cancels": int(request.allow_cancels),
        "operator": actor.tenant,
    }
    if target.subject:
        facts["frozen_subject"] = target.subject
    if target.exchange:
        facts["exchange"] = Exchange.Name(target.exchange).removeprefix("EXCHANGE_").lower()
    return facts


def _taken(reading: "asyncio.Task[Known]") -> None:
    """Take note of a failure that nobody waits for any more."""
    if not reading.cancelled():
        reading.exception()
