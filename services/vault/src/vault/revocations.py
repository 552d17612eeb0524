"""Own bulk revocation: asked for once, kept in Vault, done by whichever process has the lease, resumable anywhere.

Each binding ends by the same order of writes as a single revocation, and counts as revoked when that has returned. No
freeze holds it up. A lease only spares double work: two at once do no harm, and check-and-set lets one of them go on.
"""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from common import logs
from common.clock import Clock, timestamp
from common.errors import IdempotencyMismatch, NotFound, StrongroomError
from common.ids import BINDING_ID
from common.lifecycle import pause
from strongroom.vault.v1.revocations_pb2 import (
    REVOCATION_STATE_MATCHING,
    Revocation,
    RevokeManyRequest,
)

from vault.actor import Actor
from vault.asked import derived_id
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.enrolment import Enrolments
from vault.freezes import reason_of
from vault.revocation import BATCH, PART, Work, checked, fits, work_of
from vault.steps import NoSteps, Steps
from vault.store import Documents, OwnDocuments, put_own, unavailable

LEASE_S: Final = 30.0
POLL_S: Final = 10.0
RETRY_S: Final = 2.0
AT_ONCE: Final = 8
SHOWN: Final = 1000


class Overtaken(Exception):
    """Another process has taken the work over."""


class Revocations:
    """Take orders to end many bindings, and carry them out."""

    def __init__(
        self,
        bindings: Bindings,
        enrolments: Enrolments,
        documents: Documents,
        own: OwnDocuments,
        audit: AuditLog,
        *,
        clock: Clock,
        steps: Steps | None = None,
    ) -> None:
        self._bindings = bindings
        self._enrolments = enrolments
        self._documents = documents
        self._own = own
        self._audit = audit
        self._clock = clock
        self._steps = steps or NoSteps()
        self._me = secrets.token_hex(8)
        self._finished: set[str] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wanted = asyncio.Event()

    async def ask(self, actor: Actor, request: RevokeManyRequest) -> Revocation:
        """Take an order; once this returns it will be carried out.

        Raises InvalidArgument, NotFound for an unknown tenant, IdempotencyMismatch, Unavailable when a repeat is safe.
        """
        name, selector = derived_id(actor.tenant, request.idempotency_key), checked(request.selector)
        reason_of(request.reason)
        if await self._own.read("tenants", selector.tenant_id) is None:
            raise NotFound()
        if (found := await self._load(name)) is not None:
            return _same(found, request)
        asked = Revocation(
            id=name,
            selector=selector,
            reason=request.reason,
            dry_run=request.dry_run,
            state=REVOCATION_STATE_MATCHING,
            requested_at=timestamp(self._clock.unix()),
            requested_by=actor.subject,
        )
        affected = replace(actor, tenant=selector.tenant_id)
        facts: dict[str, str | int] = {
            "revocation": name,
            "reason": request.reason,
            "dry_run": int(request.dry_run),
            "operator": actor.tenant,
        }
        async with self._audit.action(affected, "revoke_many", "", **facts):
            written = await put_own(self._own, "revocations", name, Work(asked).document(), cas=0)
        self._steps.reached("many.asked")
        if written is None:
            return await self._other(name, request)
        self._wanted.set()
        return asked

    async def describe(self, name: str) -> Revocation:
        """Return how far a revocation is; raise NotFound for one that was never asked for."""
        if (work := await self._load(name)) is None:
            raise NotFound()
        told = work.shown()
        if told.matched:
            told.binding_ids.extend((await self._part(name, 0))[:SHOWN])
        return told

    async def run(self, stopping: asyncio.Event) -> None:
        """Carry out what is asked for until `stopping`, also what other processes were asked and have left."""
        while not stopping.is_set():
            self._wanted.clear()
            try:
                await self._begin()
            except StrongroomError as error:
                logs.get().warning("bulk_revocation_put_off", reason=error.reason)
            await pause(self._wanted, POLL_S)

    async def stop(self) -> None:
        """Leave what is under way to whoever comes next."""
        running = [*self._running.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def carry_out(self, name: str) -> None:
        """Do what is left of one revocation, unless another process is at it; return when it is done or taken over."""
        work = await self._load(name)
        if work is not None and not work.done:
            if work.owner not in ("", self._me) and self._clock.unix() < work.lease:
                return
            try:
                work = await self._to_the_end(await self._save(work))
            except Overtaken:
                return
        self._finished.add(name)

    async def _begin(self) -> None:
        """Begin what nobody here is at; what is done is looked at once."""
        for name in filter(BINDING_ID.fullmatch, await self._own.names("revocations")):
            if name not in self._finished and name not in self._running:
                self._running[name] = asyncio.create_task(self._guarded(name))

    async def _guarded(self, name: str) -> None:
        try:
            await self.carry_out(name)
        except StrongroomError as error:
            logs.get().warning("bulk_revocation_put_off", reason=error.reason)
        except Exception as error:  # noqa: BLE001  one that nobody can read must not hold up the others
            logs.get().error("bulk_revocation_failed", error=type(error).__name__, where=logs.places(error))
        finally:
            self._running.pop(name, None)

    async def _to_the_end(self, work: Work) -> Work:
        """Find what fits, end it batch by batch, and say so when all of it has ended."""
        name = work.asked.id
        if work.asked.state == REVOCATION_STATE_MATCHING:
            work = await self._match(work)
            self._steps.reached("many.matched")
        parts = range(-(-work.asked.matched // PART))
        names = [one for part in parts for one in await self._part(name, part)]
        delay = RETRY_S
        while not work.asked.dry_run and (todo := work.todo(names)):
            results = await self._end(work.asked, todo)
            self._steps.reached("many.ended")
            work = await self._save(work.tried(results))
            self._steps.reached("many.counted")
            if all(results.values()):  # Vault is gone, or what is left does not want to end
                await asyncio.sleep(delay)
            delay = min(2 * delay, LEASE_S / 2) if all(results.values()) else RETRY_S
        facts: dict[str, str | int] = {"revocation": name, "matched": work.asked.matched, "revoked": work.place}
        actor = Actor(work.asked.selector.tenant_id, "vault", work.asked.requested_by)
        async with self._audit.action(actor, "revoke_many_done", "", **facts):
            work = await self._save(work.finished(timestamp(self._clock.unix())), release=True)
        self._steps.reached("many.done")
        logs.get().info("bulk_revocation_done", tenant=actor.tenant, total=work.asked.matched, count=work.place)
        return work

    async def _match(self, work: Work) -> Work:
        """Fix the set of bindings that fit, as documents of its own; what a killed process left is written anew."""
        selector, name = work.asked.selector, work.asked.id
        names = list(filter(BINDING_ID.fullmatch, await self._documents.names(selector.tenant_id, "bindings")))
        found: list[str] = []
        for start in range(0, len(names), BATCH):
            some = names[start : start + BATCH]
            kept = await asyncio.gather(*(self._selected(work.asked, one) for one in some))
            found += [one for one, keep in zip(some, kept, strict=True) if keep]
            if work.lease - self._clock.unix() < LEASE_S / 2:
                work = await self._save(work)
        for part in range(-(-len(found) // PART)):
            before = await self._own.read("revocations", f"{name}.{part}")
            data, cas = {"ids": " ".join(found[part * PART : (part + 1) * PART])}, before.version if before else 0
            if await put_own(self._own, "revocations", f"{name}.{part}", data, cas=cas) is None:
                raise Overtaken
        self._steps.reached("many.listed")
        return await self._save(work.matched(len(found)))

    async def _selected(self, asked: Revocation, name: str) -> bool:
        """Tell whether a binding fits and has not ended; one that is only recorded as revoked has not.

        A credential is destroyed after the fence: where every version is gone, nothing can be signed.
        """
        tenant = asked.selector.tenant_id
        record = (await self._bindings.records.slot(tenant, name)).record
        if record is None or not fits(asked.selector, record.binding):
            return False
        if not record.revoked:
            return True
        credential = await self._documents.read(tenant, "credentials", name)
        return credential is not None and credential.data is not None

    async def _end(self, asked: Revocation, names: Sequence[str]) -> dict[str, str]:
        """End bindings, some at once, and return of each why that failed, or an empty text."""
        gate, actor = asyncio.Semaphore(AT_ONCE), Actor(asked.selector.tenant_id, "vault", asked.requested_by)

        async def one(name: str) -> str:
            async with gate:
                try:
                    await self._bindings.revoke(actor, name)
                except StrongroomError as error:
                    return error.reason
                await self._enrolments.leave(actor, name)
                return ""

        results = await asyncio.gather(*(one(name) for name in names))
        return dict(zip(names, results, strict=True))

    async def _load(self, name: str) -> Work | None:
        found = await self._own.read("revocations", name)
        return work_of(found.data, found.version) if found and found.data else None

    async def _part(self, name: str, part: int) -> list[str]:
        found = await self._own.read("revocations", f"{name}.{part}")
        if found is None or found.data is None:
            raise unavailable("revocation_incomplete")
        ids: str = found.data["ids"]
        return ids.split()

    async def _save(self, work: Work, *, release: bool = False) -> Work:
        """Write the next version, with the lease renewed or given up; raise Overtaken when another one is there."""
        if not release:
            work = replace(work, owner=self._me, lease=self._clock.unix() + LEASE_S)
        version = await put_own(self._own, "revocations", work.asked.id, work.document(), cas=work.version)
        if version is None:
            raise Overtaken
        return replace(work, version=version)

    async def _other(self, name: str, request: RevokeManyRequest) -> Revocation:
        """Return the answer when the same order was there first."""
        if (found := await self._load(name)) is None:
            raise unavailable("busy")
        return _same(found, request)


def _same(found: Work, request: RevokeManyRequest) -> Revocation:
    """Return what an earlier order with the key has become; raise IdempotencyMismatch unless it is this one."""
    asked = found.asked
    if (asked.selector, asked.reason, asked.dry_run) != (request.selector, request.reason, request.dry_run):
        raise IdempotencyMismatch()
    return found.shown()
