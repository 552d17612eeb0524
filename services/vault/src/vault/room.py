"""Own how many living bindings a tenant has, where it may have only so many: one document for each such tenant.

A bind takes its place by check-and-set before it stores anything, so that processes together never let in too many.
What a crash leaves makes the count too high, not too low; a recount, by the names of keys and records, puts it right.
"""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final

from common import logs
from common.clock import Clock
from common.errors import AlreadyExists, IdempotencyMismatch, InvalidArgument, PolicyRefused, StrongroomError

from vault.claims import STALE_AFTER_S
from vault.records import Records
from vault.store import Directory, OwnDocuments, put_own, unavailable

RULE: Final = "bindings_limit"
ATTEMPTS: Final = 16
FOLDED: Final = 32  # places of binds that are long over, looked at by one bind
RECOUNT_S: Final = 10.0  # at most so often does a tenant that is at its limit cause a listing, in one process
TRUSTED_S: Final = 900  # the reconciler recounts each five minutes; what nobody recounted for longer is counted anew
LEAVE_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Count:
    """How many bindings live, and the ids of binds that have a place and may not have come to be, each with when (Unix
    seconds). `recounts` grows with each recount, the last of which was at `counted_at`."""

    living: int
    coming: Mapping[str, int]
    recounts: int
    counted_at: int
    version: int

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self.living + len(self.coming)

    def ended(self, names: Set[str], *, living: int) -> "Count":
        """Return the count once the binds of `names` are over, of which so many came to be."""
        left = {name: at for name, at in self.coming.items() if name not in names}
        return replace(self, coming=left, living=max(0, self.living + living))

    def document(self) -> dict[str, Any]:
        """Return what is kept."""
        kept = ("living", "recounts", "counted_at")
        return {**{name: getattr(self, name) for name in kept}, "coming": dict(self.coming)}


NOTHING: Final = Count(0, {}, 0, 0, 0)


class Room:
    """Give binds a place among a tenant's living bindings, and take it back when one has ended."""

    def __init__(self, own: OwnDocuments, records: Records, directory: Directory, clock: Clock) -> None:
        self._own = own
        self._records = records
        self._directory = directory
        self._clock = clock
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # of this process's binds of a tenant
        self._known: dict[str, Count] = {}  # as last written here; check-and-set tells when another was faster
        self._over: defaultdict[str, set[str]] = defaultdict(set)  # binds of this process that have ended somehow
        self._listed_at: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def place(self, tenant: str, name: str, most: int) -> AsyncIterator[None]:
        """Have a place for the bind `name` while the block makes it; without a limit (0) nothing is counted.

        Raises PolicyRefused when `most` bindings live or come to be. The place of a bind that was cut is free, or its
        binding counted, after a minute; that of one that ended here with the next bind.
        """
        if not most:
            yield
            return
        async with self._turns[tenant]:
            await self._take(tenant, name, most)
        try:
            yield
        except (AlreadyExists, IdempotencyMismatch, InvalidArgument):  # nothing that was sent can still make a record
            self._over[tenant].add(name)
            raise
        self._over[tenant].add(name)

    async def recounts(self, tenant: str) -> int | None:
        """Return what `left` is to be told; None where nothing is counted, or when that cannot be known now."""
        try:
            found = await self.count(tenant)
        except StrongroomError:
            return None
        return found.recounts if found else None

    async def left(self, tenant: str, name: str, recounts: int | None) -> None:
        """Free the place of a binding that ended, unless all were recounted since `recounts` was read.

        What fails is logged: the place is free after the next recount.
        """
        if recounts is None:
            return
        try:
            async with asyncio.timeout(LEAVE_LIMIT_S):
                while (found := await self.count(tenant)) and found.recounts == recounts:
                    if await self._save(tenant, found.ended({name}, living=0 if name in found.coming else -1)):
                        return
        except (StrongroomError, TimeoutError) as error:
            logs.get().warning("room_not_freed", tenant=tenant, binding=name, error=type(error).__name__)

    async def count(self, tenant: str) -> Count | None:
        """Return a tenant's count; None where there is none."""
        found = await self._own.read("counts", tenant)
        return Count(**found.data, version=found.version) if found and found.data else None

    async def recount(self, tenant: str, before: Count, living: Set[str]) -> Count | None:
        """Put the count right: `living` are the ids that had a key and a record's place after `before` was read.

        Returns None, having done nothing, when the count changed meanwhile.
        """
        now = int(self._clock.unix())
        coming = {name: at for name, at in before.coming.items() if now < at + STALE_AFTER_S}
        right = Count(len(living - coming.keys()), coming, before.recounts + 1, now, before.version)
        return await self._save(tenant, right)

    async def _take(self, tenant: str, name: str, most: int) -> None:
        found = self._known.get(tenant) or await self.count(tenant)
        for _ in range(ATTEMPTS):
            now = int(self._clock.unix())
            if found is None or now > found.counted_at + TRUSTED_S:
                found = await self._listed(tenant, found) or await self.count(tenant)
                continue
            if now < found.coming.get(name, 0) + STALE_AFTER_S / 2:
                return  # an earlier try's, which nobody takes away while this one is under way
            over = self._over[tenant] - {name}
            asked = await self._folded(tenant, found, over)
            if name not in asked.coming and asked.taken >= most:
                found = await self._newer(tenant, found, most)
                continue
            saved = await self._save(tenant, replace(asked, coming={**asked.coming, name: now}))
            if saved:
                self._over[tenant] -= {*over, name}
                return
            found = await self.count(tenant)
        raise unavailable("busy")

    async def _folded(self, tenant: str, found: Count, over: Set[str]) -> Count:
        """Return the count with what became of binds that are over: their records tell.

        One that has been revoked counts too: whoever revoked it takes it away next, or has not come to it.
        """
        now = self._clock.unix()
        stale = [name for name, at in found.coming.items() if now > at + STALE_AFTER_S][:FOLDED]
        names = {*stale, *(over & found.coming.keys())}
        slots = await asyncio.gather(*(self._records.slot(tenant, name) for name in names))
        return found.ended(names, living=sum(slot.record is not None for slot in slots))

    async def _newer(self, tenant: str, found: Count, most: int) -> Count | None:
        """Return a newer count than one that leaves no room, by a listing now and then; raise PolicyRefused without."""
        newest = await self.count(tenant)
        if newest is None or newest.version != found.version:
            return newest
        if self._clock.monotonic() < self._listed_at.get(tenant, float("-inf")) + RECOUNT_S:
            raise _full(most)
        return await self._listed(tenant, newest)

    async def _listed(self, tenant: str, before: Count | None) -> Count | None:
        """Recount by the names of keys and records; None when the count changed meanwhile."""
        self._listed_at[tenant] = self._clock.monotonic()
        keys = {name for owner, name in await self._directory.keys() if owner == tenant}
        names = await self._directory.names(tenant, "bindings")
        return await self.recount(tenant, before or NOTHING, keys.intersection(names))

    async def _save(self, tenant: str, count: Count) -> Count | None:
        """Write the next version of a count; None when another was faster."""
        version = await put_own(self._own, "counts", tenant, count.document(), cas=count.version)
        if version is None:
            self._known.pop(tenant, None)
            return None
        self._known[tenant] = replace(count, version=version)
        return self._known[tenant]


def _full(most: int) -> PolicyRefused:
    told = (
        f"This tenant may have {most} living bindings and has them. Revoke one that is not needed any more, or have an "
        "administrator raise the tenant's quota `bindings`."
    )
    return PolicyRefused(RULE, told, rule=RULE)
