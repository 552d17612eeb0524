"""Own the write orders of a binding's life: bind, transition, revoke. Each can be cut anywhere and repeated.

A binding exists if and only if its record does. No secret is held longer than the call that brought it.
"""

import asyncio
import contextlib
import hmac
import os
from collections.abc import Awaitable
from dataclasses import replace
from typing import Final

from common.clock import Clock, timestamp
from common.errors import (
    Aborted,
    BindingRevoked,
    DeadlineExceeded,
    IdempotencyMismatch,
    Internal,
    InvalidArgument,
    StrongroomError,
)
from strongroom.types.v1.binding_pb2 import (
    STATUS_CONNECTED,
    STATUS_DISCONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    STATUS_REJECTED,
    STATUS_REVOKED,
    Binding,
    Status,
    Verdict,
)

from vault.actor import Actor
from vault.asked import Asked
from vault.audit import AuditLog
from vault.claims import Claims
from vault.credential import entries, entry, info_of
from vault.material import Material
from vault.records import Record, Records, Slot
from vault.room import Room
from vault.sealing import Sealing, check_slot, refusal
from vault.steps import NoSteps, Steps
from vault.store import (
    Applied,
    Documents,
    Keys,
    NotApplied,
    OtherKeyType,
    Outcome,
    OwnDocuments,
    Unknown,
    Why,
    WrappingKey,
    put,
    refused,
    unavailable,
)
from vault.wrapped import SealedSecret

BIND_LIMIT_S: Final = 30.0  # shorter than claims.STALE_AFTER_S: a claim is never taken from a bind under way
REVOKE_ATTEMPTS: Final = 5
FIRST_VERSION: Final = 1  # of a credential, which is that of its key in Transit


class Bindings:
    """Bind, change and end bindings. `steps` hears of each durable step."""

    def __init__(
        self,
        documents: Documents,
        own: OwnDocuments,
        keys: Keys,
        audit: AuditLog,
        clock: Clock,
        *,
        room: Room,
        steps: Steps | None = None,
    ) -> None:
        self._documents = documents
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._steps = steps or NoSteps()
        self.records = Records(documents)
        self.unfinished: set[tuple[str, str]] = set()  # revocations that failed in this process, for the reconciler
        self.claims = Claims(documents, self.records, clock)
        self.sealing = Sealing(own, self.records, keys)
        self._room = room

    async def bind(self, actor: Actor, asked: Asked, most: int = 0) -> tuple[Binding, bool]:
        """Store a credential and return (its binding, whether this call created it).

        `most` is how many living bindings the tenant may have (0: any number). Raises PolicyRefused beyond it,
        IdempotencyMismatch, AlreadyExists with the live binding's id, Unavailable when a repeat is safe.
        """
        tenant, name = actor.tenant, asked.binding_id
        has_key = asked.sealed is not None and await self._keys.exists(tenant, name)
        slot, (digest, fingerprint, *wrapped) = await asyncio.gather(
            self.records.slot(tenant, name), self._keys.keyed(asked.texts())
        )
        if slot.record:
            return _same(slot.record, digest), False
        if slot.sweeping:
            raise unavailable("slot_sweeping")
        check_slot(slot, "".join(wrapped), has_key=has_key)
        try:
            async with asyncio.timeout(BIND_LIMIT_S), self._audit.action(actor, "bind", name) as told:
                self._steps.reached("bind.intent")
                async with self._room.place(tenant, name, most):
                    await self.claims.take(tenant, fingerprint, name)
                    self._steps.reached("bind.claimed")
                    slot, fresh = await self._imported(tenant, asked, slot, fingerprint, "".join(wrapped))
                    self._steps.reached("bind.imported")
                    await self._test_and_store(tenant, asked, fresh=fresh)
                    record = await self.records.save(self._new(tenant, asked, fingerprint, digest), slot.version)
                self._steps.reached("bind.recorded")
                told["revision"] = slot.version + 1
        except TimeoutError:
            raise DeadlineExceeded() from None
        if record:
            return record.binding, True
        return await self._other(tenant, name, digest), False

    async def wrapping_key(self) -> WrappingKey:
        """Return the public key that sealed secrets are encrypted to; raise Unavailable."""
        return await self._keys.wrapping_key()

    async def transition(self, actor: Actor, name: str, expected: int, verdict: Verdict) -> tuple[Binding, bool]:
        """Record a verdict and return (the binding, whether the record changed).

        Raises BindingRevoked, InvalidArgument for a status that cannot follow, Aborted on another revision.
        """
        facts: dict[str, str | int] = {"status": Status.Name(verdict.status), "revision": expected + 1}
        reads = self.records.load(actor.tenant, name)
        async with self._audit.actions(actor, "transition", name, [facts], reads) as (told, record):
            told["from_status"] = Status.Name(record.binding.verdict.status)
            if record.revoked:
                raise BindingRevoked()
            if record.binding.verdict == verdict:
                return record.binding, False
            if record.binding.revision != expected:
                raise Aborted()
            _check_follows(record.binding, verdict.status)
            saved = await self.records.save(self._changed(record, verdict), expected)
            if saved is None:
                raise Aborted()
        return saved.binding, True

    async def revoke(self, actor: Actor, name: str) -> Binding:
        """End a binding; return only when nothing can be signed for it and every version of its credential is gone.

        A repeat finishes what a crash left. Raises NotFound, Unavailable when a repeat is needed.
        """
        _, counted = await asyncio.gather(self.records.load(actor.tenant, name), self._room.recounts(actor.tenant))
        try:
            async with self._audit.action(actor, "revoke", name):
                self._steps.reached("revoke.intent")
                record, ended_here = await self._record_revoked(actor.tenant, name)
                self._steps.reached("revoke.recorded")
                await self.fence(actor.tenant, name)
                self._steps.reached("revoke.fenced")
                await self.destroy_credential(actor.tenant, name)
                self._steps.reached("revoke.destroyed")
        except BaseException:
            self.unfinished.add((actor.tenant, name))
            raise
        if ended_here:
            await self._room.left(actor.tenant, name, counted)
        return record.binding

    async def fence(self, tenant: str, name: str) -> None:
        """Delete the signing key; raise Unavailable when it is not known to be gone."""
        settled(await self._keys.retire(tenant, name))

    async def destroy_credential(self, tenant: str, name: str) -> None:
        """Destroy every version of API key and passphrase; raise Unavailable when they are not known to be gone."""
        settled(await self._documents.destroy(tenant, "credentials", name))

    async def _imported(
        self, tenant: str, asked: Asked, slot: Slot, fingerprint: str, wrapped: str
    ) -> tuple[Slot, bool]:
        """Import the secret key; return (the slot as it is then, whether the key is surely new).

        A ciphertext that is refused leaves nothing claimed: the next one is made anew.
        """
        name = asked.binding_id
        try:
            if asked.sealed:
                await self.sealing.made_for(asked.sealed)
                slot = await self.sealing.take(tenant, name, wrapped, slot)
                self._steps.reached("bind.sealed")
            return slot, await self._import(tenant, name, asked.material)
        except InvalidArgument:
            with contextlib.suppress(StrongroomError):
                await self.sealing.give_back(tenant, name, wrapped, slot)
                await self.claims.give_back(tenant, fingerprint, name)
            raise

    async def _import(self, tenant: str, name: str, material: Material) -> bool:
        """Import the secret key; return whether the key is surely new. The known-answer test decides the rest."""
        match await self._keys.import_key(tenant, name, material):
            case Applied():
                return True
            case NotApplied(Why.UNAVAILABLE | Why.DENIED as why):
                raise refused(why)
            case NotApplied(why) if isinstance(material, SealedSecret) and (error := refusal(why)):
                raise error
            case _:
                return False

    async def _test_and_store(self, tenant: str, asked: Asked, *, fresh: bool) -> None:
        """Test the key and store API key and passphrase: at once for a fresh key, else the test has to come first.

        Then another credential under the same id is refused before anything of it is stored.
        """

        async def test() -> None:
            await self._known_answer(tenant, asked.binding_id, asked.material, fresh=fresh)
            self._steps.reached("bind.tested")

        async def store() -> None:
            await self._store_credential(tenant, asked)
            self._steps.reached("bind.stored")

        if fresh:
            await _both(test(), store())
        else:
            await test()
            await store()

    async def _known_answer(self, tenant: str, name: str, material: Material, *, fresh: bool) -> None:
        """Make sure that the key in Transit signs as this secret key does; of a sealed one, that it signs at all."""
        challenge = os.urandom(16)
        try:
            signatures = await self._keys.sign(tenant, name, material.key_type, [challenge], FIRST_VERSION)
        except OtherKeyType:
            raise IdempotencyMismatch() from None
        if signatures is None:
            raise unavailable("import_unknown")
        if isinstance(material, SealedSecret) or material.made(signatures[0].value, challenge):
            return
        if fresh:
            raise Internal("known_answer")
        raise IdempotencyMismatch()

    async def _store_credential(self, tenant: str, asked: Asked) -> None:
        """Write API key and passphrase; what an earlier try under this id left must say the same."""
        data = {"versions": {str(FIRST_VERSION): entry(asked)}}
        cas = 0
        while await put(self._documents, tenant, "credentials", asked.binding_id, data, cas=cas) is None:
            found = await self._documents.read(tenant, "credentials", asked.binding_id)
            if found and entries(found.data) == data["versions"]:
                return
            if found and found.data is not None:
                raise IdempotencyMismatch()
            cas = found.version if found else 0

    async def _record_revoked(self, tenant: str, name: str) -> tuple[Record, bool]:
        """Have the record say that the binding has ended; return (it, whether this call wrote that)."""
        for _ in range(REVOKE_ATTEMPTS):
            record = await self.records.load(tenant, name)
            if record.revoked:
                return record, False
            told = record.binding.verdict
            verdict = Verdict(status=STATUS_REVOKED, environment=told.environment, account=told.account)
            ended = replace(self._changed(record, verdict), staged=None, left=None)
            ended.binding.ClearField("rotation")
            saved = await self.records.save(ended, record.binding.revision)
            if saved:
                return saved, True
        raise unavailable("busy")

    async def _other(self, tenant: str, name: str, digest: str) -> Binding:
        """Return the answer when a record was there first: that of the same request, made at the same time."""
        record = (await self.records.slot(tenant, name)).record
        if record is None:
            raise unavailable("slot_taken")
        return _same(record, digest)

    def _new(self, tenant: str, asked: Asked, fingerprint: str, digest: str) -> Record:
        now = timestamp(self._clock.unix())
        binding = Binding(
            id=asked.binding_id,
            tenant_id=tenant,
            label=asked.label,
            subject=asked.subject,
            created_at=now,
            updated_at=now,
            verdict=Verdict(status=STATUS_PENDING),
            whitespace_removed=asked.whitespace_removed,
        )
        binding.exchange = asked.exchange  # type: ignore[assignment]  # checked numbers of the enums
        binding.scopes.extend(asked.scopes)  # type: ignore[arg-type]
        binding.credential.CopyFrom(info_of(asked, FIRST_VERSION, now))
        return Record(binding, fingerprint, digest)

    def _changed(self, record: Record, verdict: Verdict) -> Record:
        """Return the record with another verdict; a key that worked once stays proven."""
        binding = Binding()
        binding.CopyFrom(record.binding)
        binding.verdict.CopyFrom(verdict)
        binding.proven |= verdict.status in (STATUS_CONNECTED, STATUS_LIMITED)
        binding.updated_at.CopyFrom(timestamp(self._clock.unix()))
        return replace(record, binding=binding)


async def _both(*calls: Awaitable[None]) -> None:
    """Wait until all have ended, so that no write goes on unseen; then raise the first error."""
    for error in await asyncio.gather(*calls, return_exceptions=True):
        if error:
            raise error


def _same(record: Record, digest: str) -> Binding:
    """Return the stored answer to a repeat of the same request."""
    if not hmac.compare_digest(record.request_digest, digest):
        raise IdempotencyMismatch()
    return record.binding


def _check_follows(binding: Binding, status: int) -> None:
    """Raise InvalidArgument for a status that a verdict cannot give this binding."""
    allowed = {STATUS_CONNECTED, STATUS_LIMITED, STATUS_DISCONNECTED if binding.proven else STATUS_REJECTED}
    if binding.verdict.status == STATUS_PENDING:
        allowed.add(STATUS_PENDING)
    if status not in allowed:
        raise InvalidArgument("status_order", "This status cannot follow.", field="verdict.status")


def settled(outcome: Outcome[None]) -> None:
    """Return when the write is durable; raise Unavailable, or Internal for one that Vault finds wrong, otherwise."""
    match outcome:
        case Applied():
            return
        case NotApplied(why):
            raise refused(why)
        case Unknown():
            raise unavailable()
