"""Own the end of a rotation: the new version takes the old one's place, or is given up; then what is left is removed.

The record says first what is in use, by check-and-set; the rest can be cut anywhere and is finished by a repeat or by
the reconciler. Of two versions one is always in use, and never two.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from common.clock import Clock, timestamp
from common.errors import Aborted, BindingRevoked, InvalidArgument
from strongroom.types.v1.binding_pb2 import (
    ROTATION_STATE_FAILED,
    ROTATION_STATE_FENCING,
    STATUS_CONNECTED,
    STATUS_LIMITED,
    Binding,
    Finding,
    Status,
    Verdict,
)

from vault import credential
from vault.actor import Actor
from vault.audit import AuditLog
from vault.bindings import Bindings, settled
from vault.records import Record
from vault.steps import NoSteps, Steps
from vault.store import Documents, Keys, put, unavailable

REMEMBERED: Final = 16  # rotations of a binding whose repeats are answered
TRIES: Final = 16
INTERRUPTED: Final = "interrupted"  # it was never stored: a repeat begins anew


class Settlements:
    """Promote, abandon and tidy. `steps` hears of each durable step."""

    def __init__(
        self,
        *,
        bindings: Bindings,
        documents: Documents,
        keys: Keys,
        audit: AuditLog,
        clock: Clock,
        steps: Steps | None = None,
    ) -> None:
        self._bindings = bindings
        self._records = bindings.records
        self._documents = documents
        self._keys = keys
        self._audit = audit
        self._clock = clock
        self._steps = steps or NoSteps()

    async def promote(self, actor: Actor, name: str, expected: int, version: int, verdict: Verdict) -> Binding:
        """Put the staged version into use and return only when Vault refuses the old one and it is destroyed.

        A repeat finishes what a crash left. Raises BindingRevoked, InvalidArgument for a verdict on a key that does not
        work or on another account's, Aborted on another revision or version, Unavailable when a repeat is needed.
        """
        record = await self._living(actor.tenant, name)
        if record.left is not None and record.binding.credential.version == version:
            return (await self.finish(actor.tenant, name)).binding
        if record.staged is None or record.staged.version != version or record.binding.revision != expected:
            raise Aborted()
        _check(record.binding, verdict)
        facts: dict[str, str | int] = {"status": Status.Name(verdict.status), "credential_version": version}
        async with self._audit.action(actor, "promote", name, **facts):
            self._steps.reached("promote.intent")
            if await self._records.save(self._promoted(record, verdict), expected) is None:
                raise Aborted()
            self._steps.reached("promote.recorded")
            return (await self.finish(actor.tenant, name)).binding

    async def abandon(self, actor: Actor, name: str, version: int, reason: str, findings: Iterable[Finding]) -> Binding:
        """Give the staged version up, for good: the one in use stays. Raises BindingRevoked, Aborted, Unavailable."""
        for _ in range(TRIES):
            record = await self._living(actor.tenant, name)
            if record.staged is None or record.staged.version != version:
                raise Aborted()
            async with self._audit.action(actor, "abandon", name, credential_version=version, reason=reason):
                self._steps.reached("abandon.intent")
                given_up = self._abandoned(record, reason, findings)
                if await self._records.save(given_up, record.binding.revision) is None:
                    continue
                self._steps.reached("abandon.recorded")
                return (await self.finish(actor.tenant, name)).binding
        raise unavailable("busy")

    async def finish(self, tenant: str, name: str) -> Record:
        """Remove what an ended rotation left, if anything, and return the record; raise Unavailable to be repeated."""
        try:
            record = await self._records.load(tenant, name)
            if record.left is not None:
                await self._tidy(tenant, name, record)
            return await self._close(tenant, name)
        except BaseException:
            self._bindings.unfinished.add((tenant, name))
            raise

    async def _tidy(self, tenant: str, name: str, record: Record) -> None:
        """Fence and destroy every version of the key but the one in use, as far as Transit lets us, and its traces."""
        in_use = record.binding.credential.version
        if record.binding.rotation.state == ROTATION_STATE_FENCING:
            settled(await self._keys.fence(tenant, name, in_use))
            self._steps.reached("settle.fenced")
            settled(await self._keys.trim(tenant, name, in_use))
            self._steps.reached("settle.trimmed")
        await self._rewrite(tenant, name)
        self._steps.reached("settle.rewritten")
        settled(await self._documents.destroy(tenant, "credentials", name, keep_newest=True))
        self._steps.reached("settle.destroyed")
        for fingerprint in record.left or ():
            await self._bindings.claims.release(tenant, fingerprint, name)
        self._steps.reached("settle.released")

    async def _rewrite(self, tenant: str, name: str) -> None:
        """Leave only the version in use in the document.

        The record is read after the document: while it says that there is something to tidy, no rotation can begin,
        and the write of one that has begun since is never undone by this one.
        """
        for _ in range(TRIES):
            found = await self._documents.read(tenant, "credentials", name)
            record = await self._records.load(tenant, name)
            held = credential.entries(found.data if found else None)
            kept = {number: held[number] for number in held if int(number) == record.binding.credential.version}
            if record.revoked or record.left is None or found is None or kept == held:
                return
            if await put(self._documents, tenant, "credentials", name, {"versions": kept}, cas=found.version):
                return
        raise unavailable("busy")

    async def _close(self, tenant: str, name: str) -> Record:
        """Say in the record that nothing is left."""
        for _ in range(TRIES):
            record = await self._records.load(tenant, name)
            if record.revoked:  # it may have ended after the document was read: nothing may have been written back
                await self._bindings.destroy_credential(tenant, name)
            if record.revoked or record.left is None:
                return record
            binding = Binding()
            binding.CopyFrom(record.binding)
            if binding.rotation.state == ROTATION_STATE_FENCING:
                binding.ClearField("rotation")
            saved = await self._records.save(replace(record, binding=binding, left=None), record.binding.revision)
            if saved:
                self._steps.reached("settle.closed")
                return saved
        raise unavailable("busy")

    async def _living(self, tenant: str, name: str) -> Record:
        record = await self._records.load(tenant, name)
        if record.revoked:
            raise BindingRevoked()
        return record

    def _promoted(self, record: Record, verdict: Verdict) -> Record:
        binding = self._copy(record)
        binding.credential.CopyFrom(binding.rotation.credential)
        del binding.whitespace_removed[:]
        binding.whitespace_removed.extend(binding.rotation.whitespace_removed)
        binding.verdict.CopyFrom(verdict)
        binding.proven = True
        binding.rotation.state = ROTATION_STATE_FENCING
        held = record.staged.fingerprint if record.staged else record.fingerprint
        return replace(_ended(record, record.fingerprint, held, ""), binding=binding, fingerprint=held)

    def _abandoned(self, record: Record, reason: str, findings: Iterable[Finding]) -> Record:
        binding = self._copy(record)
        binding.rotation.state = ROTATION_STATE_FAILED
        binding.rotation.reason = reason
        binding.rotation.findings.extend(findings)
        gone = record.staged.fingerprint if record.staged else record.fingerprint
        return replace(_ended(record, gone, record.fingerprint, reason), binding=binding)

    def _copy(self, record: Record) -> Binding:
        binding = Binding()
        binding.CopyFrom(record.binding)
        binding.updated_at.CopyFrom(timestamp(self._clock.unix()))
        return binding


def _ended(record: Record, gone: str, held: str, reason: str) -> Record:
    """Return the record without its staged rotation, which is remembered, and with the key that is no longer held."""
    past = record.past
    if record.staged and reason != INTERRUPTED:
        past = (*past, replace(record.staged, reason=reason))[-REMEMBERED:]
    return replace(record, staged=None, past=past, left=() if gone == held else (gone,))


def _check(binding: Binding, verdict: Verdict) -> None:
    """Raise InvalidArgument unless the verdict is on a key that works, for the account that was proven if one was."""
    if verdict.status not in (STATUS_CONNECTED, STATUS_LIMITED):
        raise InvalidArgument("status_order", "Only a key that works can be promoted.", field="verdict.status")
    known = binding.verdict.account.uid if binding.proven else ""
    if known and verdict.account.uid != known:
        raise InvalidArgument("account_mismatch", "The key belongs to another account.", field="verdict.account")
