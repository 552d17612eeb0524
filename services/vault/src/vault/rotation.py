"""Own the beginning of a rotation: a new credential becomes the next version of the binding's key, and is verified.

Until it is promoted nothing but a verification is signed with it, and the credential in use is untouched. Each step can
be cut anywhere and repeated; what nobody repeats is given up by the reconciler.
"""

import asyncio
import contextlib
import hashlib
import hmac
import os
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
from strongroom.types.v1.binding_pb2 import ROTATION_STATE_VERIFYING, Binding, Rotation
from strongroom.vault.v1.binding_store_pb2 import StageRequest

from vault import asked, credential
from vault.actor import Actor
from vault.asked import Asked
from vault.audit import AuditLog
from vault.bindings import BIND_LIMIT_S, Bindings
from vault.records import Attempt, Record
from vault.sealing import refusal
from vault.settlement import INTERRUPTED, Settlements
from vault.steps import NoSteps, Steps
from vault.store import Documents, Keys, KeyState, NotApplied, put, refused, unavailable
from vault.wrapped import SealedSecret

# After so long nobody is still storing it: longer than one may take, shorter than a claim without a record lives.
INTERRUPTED_AFTER_S: Final = 45.0
TRIES: Final = 64  # of a check-and-set that fifty repeats sent at once and a verification contend for


class Rotations:
    """Stage replacements. `steps` hears of each durable step."""

    def __init__(
        self,
        *,
        bindings: Bindings,
        settlements: Settlements,
        documents: Documents,
        keys: Keys,
        audit: AuditLog,
        clock: Clock,
        steps: Steps | None = None,
    ) -> None:
        self._records = bindings.records
        self._claims = bindings.claims
        self._bindings = bindings
        self._settlements = settlements
        self._documents = documents
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._steps = steps or NoSteps()

    async def stage(self, actor: Actor, request: StageRequest) -> tuple[Binding, Attempt]:
        """Store the replacement and return (the binding, what became of this rotation so far).

        Raises NotFound, BindingRevoked, InvalidArgument, IdempotencyMismatch, AlreadyExists with the binding that has
        the key, Aborted while another rotation is under way, Unavailable when a repeat is safe.
        """
        tenant, name = actor.tenant, request.binding_id
        record = await self._records.load(tenant, name)
        wanted = asked.replacement(record.binding.exchange, request)
        texts = [_request_text(wanted), *wanted.texts()[1:]]
        digest, fingerprint, *wrapped = await self._keys.keyed(texts)
        attempt = Attempt(asked.binding_id(f"{tenant}.{name}", request.idempotency_key), digest, fingerprint)
        record = await self._ready(actor, record, attempt)
        known = _same(record, attempt)
        if known and known.version:
            return record.binding, known
        state = await self._same_kind(tenant, wanted)
        try:
            async with asyncio.timeout(BIND_LIMIT_S), self._audit.action(actor, "stage", name) as told:
                self._steps.reached("stage.intent")
                await self._claims.take(tenant, attempt.fingerprint, name)
                self._steps.reached("stage.claimed")
                await self._open(tenant, wanted, attempt)
                self._steps.reached("stage.opened")
                version = await self._imported(actor, wanted, "".join(wrapped), state.latest)
                record, known = await self._store(tenant, wanted, replace(attempt, version=version))
                told["credential_version"] = known.version
        except TimeoutError:
            raise DeadlineExceeded() from None
        return record.binding, known

    async def _ready(self, actor: Actor, record: Record, attempt: Attempt) -> Record:
        """Return the record once nothing of an earlier rotation stands in the way; raise Aborted while one does."""
        tenant, name = actor.tenant, record.binding.id
        if record.revoked:
            raise BindingRevoked()
        if record.left is not None:
            record = await self._settlements.finish(tenant, name)
        staged = record.staged
        if staged and staged.key != attempt.key and not record.attempt(attempt.key):
            if not interrupted(record, self._clock.unix()):
                raise Aborted("rotation_in_progress", "Another replacement of this credential is being verified.")
            await self._settlements.abandon(actor, name, 0, INTERRUPTED, ())
            record = await self._records.load(tenant, name)
        return record

    async def _same_kind(self, tenant: str, wanted: Asked) -> KeyState:
        """Return the state of the binding's key; raise InvalidArgument for a secret that cannot be its next version."""
        state = await self._keys.state(tenant, wanted.binding_id)
        if state is None:
            record = await self._records.load(tenant, wanted.binding_id)
            raise BindingRevoked() if record.revoked else Internal("credential_missing")
        if wanted.sealed:
            await self._bindings.sealing.made_for(wanted.sealed)
        if state.transit_type != wanted.material.transit_type:
            detail = f"This binding holds a key of the kind {state.transit_type}; bind one of another as a new binding."
            raise InvalidArgument("key_type_changed", detail, field="credential.key_type")
        return state

    async def _open(self, tenant: str, wanted: Asked, attempt: Attempt) -> None:
        """Say in the record that a replacement comes, so that whatever a crash leaves of it is found."""
        for _ in range(TRIES):
            record = await self._records.load(tenant, wanted.binding_id)
            if record.revoked:
                raise BindingRevoked()
            known = _same(record, attempt)
            if known and not interrupted(record, self._clock.unix()):
                return
            if known is None and (record.staged or record.left is not None):
                raise Aborted("rotation_in_progress", "Another replacement of this credential is being verified.")
            if await self._records.save(self._opened(record, wanted, attempt), record.binding.revision):
                return
        raise unavailable("busy")

    def _opened(self, record: Record, wanted: Asked, attempt: Attempt) -> Record:
        now = timestamp(self._clock.unix())
        binding = Binding()
        binding.CopyFrom(record.binding)
        rotation = Rotation(
            state=ROTATION_STATE_VERIFYING,
            started_at=now,
            credential=credential.info_of(wanted, 0, now),
            whitespace_removed=wanted.whitespace_removed,
        )
        binding.rotation.CopyFrom(rotation)
        binding.updated_at.CopyFrom(now)
        return replace(record, binding=binding, staged=attempt)

    async def _imported(self, actor: Actor, wanted: Asked, wrapped: str, before: int) -> int:
        """Import the secret key and return its version; a ciphertext that is refused ends the rotation at once."""
        try:
            if wanted.sealed:
                await self._bindings.sealing.claim(actor.tenant, wanted.binding_id, wrapped)
                self._steps.reached("stage.sealed")
            return await self._import(actor.tenant, wanted, before)
        except InvalidArgument:
            with contextlib.suppress(StrongroomError):
                await self._settlements.abandon(actor, wanted.binding_id, 0, INTERRUPTED, ())
            raise

    async def _import(self, tenant: str, wanted: Asked, before: int) -> int:
        """Import the secret key as a version after `before` and return which one signs as it does.

        Transit does not tell the number, and an answer may get lost: only the known-answer test shows it. A sealed one
        has none; were another version taken for it, the exchange would refuse what that signs.
        """
        name, material = wanted.binding_id, wanted.material
        imported = await self._keys.import_version(tenant, name, material)
        if isinstance(imported, NotApplied):
            raise (wanted.sealed and refusal(imported.why)) or refused(imported.why)
        self._steps.reached("stage.imported")
        challenge, state = os.urandom(16), await self._keys.state(tenant, name)
        for version in range(state.latest if state else 0, before, -1):
            made = await self._keys.sign(tenant, name, material.key_type, [challenge], version)
            if made and (isinstance(material, SealedSecret) or material.made(made[0].value, challenge)):
                self._steps.reached("stage.tested")
                return version
        raise unavailable("import_unknown")

    async def _store(self, tenant: str, wanted: Asked, attempt: Attempt) -> tuple[Record, Attempt]:
        """Put the version into the document and then into the record, the commit; or return what a repeat has made.

        The record is read after the document: whoever ends this rotation rewrites the document afterwards, so that
        this write is refused.
        """
        name, number = wanted.binding_id, str(attempt.version)
        for _ in range(TRIES):
            found = await self._documents.read(tenant, "credentials", name)
            record = await self._records.load(tenant, name)
            if record.revoked:
                await self._bindings.destroy_credential(tenant, name)
                raise BindingRevoked()
            known = _same(record, attempt)
            if known and known.version:
                return record, known
            if known is None or found is None:
                raise Aborted()
            held = credential.entries(found.data)
            if number not in held:
                data = {"versions": {**held, number: credential.entry(wanted)}}
                if await put(self._documents, tenant, "credentials", name, data, cas=found.version) is None:
                    continue
            self._steps.reached("stage.stored")
            saved = await self._records.save(_staged(record, attempt), record.binding.revision)
            if saved:
                self._steps.reached("stage.recorded")
                return saved, attempt
        raise unavailable("busy")


def interrupted(record: Record, now: float) -> bool:
    """Tell whether whoever was storing a replacement has surely stopped without having stored it."""
    began = record.binding.rotation.started_at.ToMilliseconds() / 1000
    return record.staged is not None and not record.staged.version and now >= began + INTERRUPTED_AFTER_S


def _staged(record: Record, attempt: Attempt) -> Record:
    binding = Binding()
    binding.CopyFrom(record.binding)
    binding.rotation.credential.version = attempt.version
    return replace(record, binding=binding, staged=attempt)


def _same(record: Record, attempt: Attempt) -> Attempt | None:
    """Return what is known of the rotation of this Idempotency-Key; raise IdempotencyMismatch for another request."""
    known = record.attempt(attempt.key)
    if known and not hmac.compare_digest(known.digest, attempt.digest):
        raise IdempotencyMismatch()
    return known


def _request_text(wanted: Asked) -> bytes:
    """Return everything asked in canonical form; only its keyed digest may be stored."""
    return b"rotate:" + wanted.binding_id.encode() + b":" + hashlib.sha256(wanted.request_text()).digest()
