"""Own the tidying of what a crash left: unfinished revocations, keys without a record, claims without a binding.

It lists with an identity that reads nothing and acts with the tenant's own. Everything it does can be repeated and can
run in several processes at once.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from common import logs
from common.clock import Clock
from common.errors import StrongroomError
from common.ids import BINDING_ID, TENANT_ID

from vault.actor import Actor
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.store import Directory, Documents

ORPHAN_AGE_S: Final = 3600.0
AT_ONCE: Final = 8


class Reconciler:
    """Finish or sweep, tenant by tenant."""

    def __init__(
        self, bindings: Bindings, documents: Documents, directory: Directory, audit: AuditLog, clock: Clock
    ) -> None:
        self._bindings = bindings
        self._documents = documents
        self._directory = directory
        self._audit = audit
        self._clock = clock
        self._ended: set[tuple[str, str]] = set()  # revocations known to be complete
        # When each orphan was first seen: Transit does not tell the age of an HMAC key.
        self._orphans: dict[tuple[str, str], float] = {}

    async def round(self) -> None:
        """Look at everything once; what fails is logged and left for the next round."""
        keys: defaultdict[str, set[str]] = defaultdict(set)
        for tenant, binding in await self._directory.keys():
            keys[tenant].add(binding)
        for tenant in await self._directory.tenants():
            if TENANT_ID.fullmatch(tenant):
                await self._each([tenant], lambda name: self._tenant(name, keys[name]))

    async def _tenant(self, tenant: str, keys: set[str]) -> None:
        names = set(await self._directory.names(tenant, "bindings")) | keys
        left = (name for name in names if BINDING_ID.fullmatch(name) and (tenant, name) not in self._ended)
        await self._each(left, lambda name: self._binding(tenant, name, has_key=name in keys))
        await self._each(await self._directory.names(tenant, "fp"), lambda name: self._claim(tenant, name))

    async def _each(self, names: Iterable[str], action: Callable[[str], Awaitable[None]]) -> None:
        gate = asyncio.Semaphore(AT_ONCE)

        async def guarded(name: str) -> None:
            async with gate:
                try:
                    await action(name)
                except StrongroomError as error:
                    logs.get().warning("reconcile_failed", reason=error.reason)

        await asyncio.gather(*(guarded(name) for name in names))

    async def _binding(self, tenant: str, name: str, *, has_key: bool) -> None:
        slot = await self._bindings.records.slot(tenant, name)
        if slot.sweeping or (slot.record is None and has_key and self._old(tenant, name)):
            await self._sweep(tenant, name, slot.version, begun=slot.sweeping)
        elif slot.record and slot.record.revoked:
            await self._finish(tenant, name, has_key=has_key)

    def _old(self, tenant: str, name: str) -> bool:
        now = self._clock.monotonic()
        return now >= self._orphans.setdefault((tenant, name), now) + ORPHAN_AGE_S

    async def _finish(self, tenant: str, name: str, *, has_key: bool) -> None:
        """Complete a revocation, if anything of it is left to do."""
        credential = await self._documents.read(tenant, "credentials", name)
        if has_key or (credential and credential.data is not None):
            await self._bindings.revoke(Actor(tenant, "vault"), name)
            logs.get().info("revocation_finished", tenant=tenant, binding=name)
        self._ended.add((tenant, name))

    async def _sweep(self, tenant: str, name: str, version: int, *, begun: bool) -> None:
        """Remove what a bind that never came to its end left behind. The mark keeps a late repeat of it away."""
        async with self._audit.action(Actor(tenant, "vault"), "sweep", name):
            if not begun:
                version = await self._bindings.records.mark(tenant, name, sweeping=True, cas=version)
            await self._bindings.destroy_credential(tenant, name)
            await self._bindings.fence(tenant, name)
            await self._bindings.records.mark(tenant, name, sweeping=False, cas=version)
        self._orphans.pop((tenant, name), None)
        logs.get().info("orphan_swept", tenant=tenant, binding=name)

    async def _claim(self, tenant: str, fingerprint: str) -> None:
        if await self._bindings.claims.release_dead(tenant, fingerprint, ORPHAN_AGE_S):
            logs.get().info("dead_claim_released", tenant=tenant)
