"""Own the tidying of what a crash left: unfinished revocations and rotations, keys without a record, dead claims.

It lists with an identity that reads nothing and acts with the tenant's own. Everything it does can be repeated and can
run in several processes at once.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from common import logs
from common.clock import Clock
from common.errors import StrongroomError
from common.ids import BINDING_ID, TENANT_ID

from vault import measures
from vault.actor import Actor
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.records import Record
from vault.room import Count, Room
from vault.rotation import interrupted
from vault.settlement import INTERRUPTED, Settlements
from vault.store import Directory, Documents

ORPHAN_AGE_S: Final = 3600.0
# With a round each five minutes: every record is looked at within six hours, every claim within a day. A claim whose
# binding has ended holds nobody up, it is only untidy.
SLICES: Final = 72
CLAIM_SLICES: Final = 288
AT_ONCE: Final = 4
FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")


class Reconciler:
    """Finish or sweep, tenant by tenant.

    The first look at a tenant reads every record: what a crash of this process left is found when it is back. After
    that the lists of names tell most of what there is to do, and a slice of the records in each round the rest.
    """

    def __init__(
        self,
        *,
        bindings: Bindings,
        settlements: Settlements,
        documents: Documents,
        directory: Directory,
        room: Room,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._bindings = bindings
        self._settlements = settlements
        self._documents = documents
        self._directory = directory
        self._room = room
        self._audit = audit
        self._clock = clock
        self._turn = 0
        self._seen: set[str] = set()  # tenants whose every record was looked at once
        self._failed: set[tuple[str, str]] = set()  # to be looked at again in the next round
        # When each key without a record was first seen: Transit does not tell the age of an HMAC key.
        self._orphans: defaultdict[str, dict[str, float]] = defaultdict(dict)

    async def round(self) -> None:
        """Look at what may need it; what fails is logged and left for the next round."""
        tenants = list(filter(TENANT_ID.fullmatch, await self._directory.tenants()))
        # Read before the keys are listed, so that a recount misses nothing.
        counts = {tenant: await self._room.count(tenant) for tenant in tenants}
        keys: defaultdict[str, set[str]] = defaultdict(set)
        for tenant, binding in await self._directory.keys():
            if BINDING_ID.fullmatch(binding):
                keys[tenant].add(binding)
        for tenant in tenants:
            await self._each([tenant], lambda name: self._tenant(name, keys.pop(name, set()), counts[name]))
        self._turn += 1

    async def _tenant(self, tenant: str, keys: set[str], count: Count | None) -> None:
        names = set(filter(BINDING_ID.fullmatch, await self._directory.names(tenant, "bindings")))
        if count:
            await self._room.recount(tenant, count, keys & names)
        now, orphans = self._clock.monotonic(), self._orphans[tenant]
        orphans |= {name: now for name in keys - names if name not in orphans}
        for name in orphans.keys() - keys:
            del orphans[name]
        suspects = {name for name in orphans if name in names or self._old(tenant, name)}
        due = {name for name in names | keys if tenant not in self._seen or self._due(name, SLICES)}
        # Another process's list of what it could not finish is not known here: a slice finds it, or its own first look.
        left = {name for owner, name in (*self._bindings.unfinished, *self._failed) if owner == tenant}
        await self._each(due | suspects | left, lambda name: self._looked(tenant, name, has_key=name in keys))
        claims = filter(FINGERPRINT.fullmatch, await self._directory.names(tenant, "fp"))
        late = [name for name in claims if self._due(name, CLAIM_SLICES)]
        await self._each(late, lambda name: self._claim(tenant, name))
        self._seen.add(tenant)

    def _due(self, name: str, slices: int) -> bool:
        """Tell whether a name, which is hex and spread evenly, is of this round's slice."""
        return int(name[:8], 16) % slices == self._turn % slices

    async def _looked(self, tenant: str, name: str, *, has_key: bool) -> None:
        """Look at one id, and remember whether that has to be repeated."""
        self._failed.add((tenant, name))
        await self._binding(tenant, name, has_key=has_key)
        self._failed.discard((tenant, name))
        self._bindings.unfinished.discard((tenant, name))

    async def _each(self, names: Iterable[str], action: Callable[[str], Awaitable[None]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def guarded(name: str) -> None:
            async with gate:
                try:
                    await action(name)
                except StrongroomError as error:
                    measures.TIDIED.of("failed").inc()
                    logs.get().warning("reconcile_failed", reason=error.reason)

        await asyncio.gather(*(guarded(name) for name in names))

    async def _binding(self, tenant: str, name: str, *, has_key: bool) -> None:
        slot = await self._bindings.records.slot(tenant, name)
        if slot.record:
            self._orphans[tenant].pop(name, None)
            if slot.record.revoked:
                await self._finish(tenant, name, has_key=has_key)
            else:
                await self._rotation(tenant, name, slot.record)
        elif slot.sweeping or (has_key and self._old(tenant, name)):
            await self._sweep(tenant, name, slot.version, begun=slot.sweeping)

    def _old(self, tenant: str, name: str) -> bool:
        now = self._clock.monotonic()
        return now >= self._orphans[tenant].setdefault(name, now) + ORPHAN_AGE_S

    async def _finish(self, tenant: str, name: str, *, has_key: bool) -> None:
        """Complete a revocation, if anything of it is left to do."""
        credential = await self._documents.read(tenant, "credentials", name)
        if has_key or (credential and credential.data is not None):
            await self._bindings.revoke(Actor(tenant, "vault"), name)
            measures.TIDIED.of("revocation").inc()
            logs.get().info("revocation_finished", tenant=tenant, binding=name)

    async def _rotation(self, tenant: str, name: str, record: Record) -> None:
        """Complete the end of a rotation, or give up one whose credential was never stored."""
        actor = Actor(tenant, "vault")
        if record.left is not None:
            async with self._audit.action(actor, "finish_rotation", name):
                await self._settlements.finish(tenant, name)
            measures.TIDIED.of("rotation").inc()
            logs.get().info("rotation_finished", tenant=tenant, binding=name)
        elif interrupted(record, self._clock.unix()):
            await self._settlements.abandon(actor, name, 0, INTERRUPTED, ())
            measures.TIDIED.of("interrupted_rotation").inc()
            logs.get().info("rotation_given_up", tenant=tenant, binding=name)

    async def _sweep(self, tenant: str, name: str, version: int, *, begun: bool) -> None:
        """Remove what a bind that never came to its end left behind. The mark keeps a late repeat of it away."""
        async with self._audit.action(Actor(tenant, "vault"), "sweep", name):
            if not begun:
                version = await self._bindings.records.mark(tenant, name, sweeping=True, cas=version)
            await self._bindings.destroy_credential(tenant, name)
            await self._bindings.fence(tenant, name)
            await self._bindings.records.mark(tenant, name, sweeping=False, cas=version)
        self._orphans[tenant].pop(name, None)
        measures.TIDIED.of("orphan").inc()
        logs.get().info("orphan_swept", tenant=tenant, binding=name)

    async def _claim(self, tenant: str, fingerprint: str) -> None:
        claims = self._bindings.claims
        dead = await claims.dead(tenant, fingerprint, ORPHAN_AGE_S)
        if dead is None:
            return
        name, version = dead
        async with self._audit.action(Actor(tenant, "vault"), "release", name):
            freed = await claims.free(tenant, fingerprint, version)
        if freed:
            measures.TIDIED.of("dead_claim").inc()
            logs.get().info("dead_claim_released", tenant=tenant)
