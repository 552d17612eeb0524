"""Own the rebuilding of Redis from the records in Vault: projections, indexes, and what is due.

What it plans twice is harmless; it never touches a record.
"""

import asyncio
import secrets
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from common import logs
from common.clock import Clock
from redis.asyncio import Redis
from strongroom.types.v1.binding_pb2 import STATUS_PENDING, STATUS_REVOKED, Binding

from verifier import measures
from verifier.index import Index
from verifier.jobs import Job, Queue
from verifier.missed import WANTED
from verifier.rotation import under_way, unfinished
from verifier.schedule import Schedule
from verifier.status import Draft, Outline, Status
from verifier.vault_client import MANY, Vault

LOCK: Final = "sr:{reconcile}:lock"
CURSOR: Final = "sr:{reconcile}:cursor"
RECENT: Final = "sr:{reconcile}:recent"
TENANTS: Final = "sr:{reconcile}:tenants"
REST: Final = "sr:{reconcile}:rest"
LOCK_S: Final = 60
# An interrupted round is taken up where it was for so long, and a full one is not made again within as long.
CURSOR_S: Final = 3600
RECENT_S: Final = 600
TENANTS_S: Final = 90 * 86_400
# Where the names took Vault seconds to tell, all workers rest so many times as long before they ask again.
REST_SHARE: Final = 20
SHORT_REST_S: Final = 60
FULL_S: Final = (5.0 * 3600, 7.0 * 3600)
# So many reads of many records are under way at once: while one is written to Redis, the next comes from Vault.
ABREAST: Final = 3
PROGRESS_S: Final = 5.0
# A verification makes about so many calls; those that a rebuild causes may use half of the budget.
CALLS: Final = 4
SHARE: Final = 1 / 2
# A revocation older than this was told long ago; its projection may have expired.
TOLD_S: Final = 7 * 86_400
_EXTEND: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class LockLost(Exception):
    """Another worker has taken over."""


@dataclass(slots=True)
class Round:
    """What one round has done so far; `fresh` and `unseen` count what it planned in turn, new bindings apart.

    `rebuilds` tells of the tenant it is at whether its list had been lost.
    """

    full: bool
    total: int
    done: int = 0
    restored: int = 0
    planned: int = 0
    forgotten: int = 0
    fresh: int = 0
    unseen: int = 0
    rebuilds: bool = True


class Reconciler:
    """Compare what exists with what Redis knows of it; one worker at a time.

    A light round asks for names alone and reads only what Redis lacks. A full one compares every record's revision.
    """

    def __init__(
        self,
        *,
        redis: Redis,
        vault: Vault,
        status: Status,
        queue: Queue,
        schedule: Schedule,
        interval_s: float,
        calls_per_minute: int,
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._vault = vault
        self._status = status
        self._index = Index(redis)
        self._queue = queue
        self._schedule = schedule
        self._interval_s = interval_s
        self._rate = calls_per_minute / 60 * SHARE / CALLS
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._full_at = 0.0
        self._told_at = 0.0

    async def run(self, *, lost: bool = False) -> None:
        """Make one round, a full one at first, from time to time, and when Redis has `lost` something or one is wanted.

        Do nothing while another worker makes one or all rest. What ends early is taken up where it was.
        """
        wanted: Any = await self._redis.get(WANTED)
        if not lost and not wanted and await self._redis.exists(REST):
            return
        if not await self._redis.set(LOCK, self._token, nx=True, ex=LOCK_S):
            return
        try:
            await self._round(lost or bool(wanted))
            if wanted:
                await self._redis.eval(_RELEASE, 1, WANTED, wanted)
        except LockLost:
            logs.get().warning("reconcile_taken_over")
        finally:
            await self._redis.eval(_RELEASE, 1, LOCK, self._token)

    async def _round(self, lost: bool) -> None:
        cursor = await self._cursor()
        full = cursor is not None or lost or await self._due()
        started = self._clock.monotonic()
        found = []
        async for chunk in self._vault.names():
            found.append(chunk)
            await self._extend()
        rest = int((self._clock.monotonic() - started) * REST_SHARE)
        state = Round(full, sum(len(names) for _, names in found))
        await self._walk(found, state, cursor)
        await self._vanished({tenant for tenant, _ in found}, state)
        measures.reconciled(self._clock.unix(), state.restored, state.planned, state.forgotten, full=full)
        if full:
            self._full_at = self._clock.monotonic() + self._schedule.uniform(*FULL_S)
            await self._redis.set(RECENT, "1", ex=RECENT_S)
            await self._redis.delete(CURSOR)
        if rest > SHORT_REST_S:
            await self._redis.set(REST, "1", ex=rest)
        if full or state.restored or state.planned or state.forgotten:
            seconds = round((self._clock.monotonic() - started) * 1000, 1)
            logs.get().info(
                "reconciled", count=state.restored, total=state.total, job=state.planned, duration_ms=seconds
            )

    async def _due(self) -> bool:
        """Tell whether this worker's full round is due and no other has just made one."""
        return self._clock.monotonic() >= self._full_at and not await self._redis.exists(RECENT)

    async def _walk(
        self, found: Sequence[tuple[str, Sequence[str]]], state: Round, cursor: tuple[str, str] | None
    ) -> None:
        """Go through all names in order, from the cursor on; say of each tenant at its end that its list is whole."""
        for place, (tenant, names) in enumerate(found):
            first = place == 0 or found[place - 1][0] != tenant
            if first:
                state.rebuilds = not await self._index.is_whole(tenant)
                if state.rebuilds:
                    await self._status.begin(tenant)
            last = place + 1 == len(found) or found[place + 1][0] != tenant
            after = "" if first else found[place - 1][1][-1]
            left = _beyond(tenant, names, cursor)
            state.done += len(names) - len(left)
            await self._orphans(tenant, after, "" if last else names[-1], set(names), state)
            for start in range(0, len(left), ABREAST * MANY):
                await self._step(tenant, left[start : start + ABREAST * MANY], state)
            if last:
                await self._extend()  # the lock goes with everything else that Redis loses
                await self._index.whole(tenant)

    async def _step(self, tenant: str, names: Sequence[str], state: Round) -> None:
        wanted = names if state.full else await self._suspects(tenant, names)
        parts = [wanted[start : start + MANY] for start in range(0, len(wanted), MANY)]
        ends = await asyncio.gather(*(self._compare(tenant, part, state) for part in parts), return_exceptions=True)
        for failure in (end for end in ends if end is not None):
            raise failure
        state.done += len(names)
        await self._extend()
        if state.full:
            await self._progress(tenant, names[-1], state)

    async def _extend(self) -> None:
        if not await self._redis.eval(_EXTEND, 1, LOCK, self._token, LOCK_S):
            raise LockLost

    async def _suspects(self, tenant: str, names: Sequence[str]) -> list[str]:
        """Return the ids that are not listed, or are not planned as they should be."""
        listed, revoked = await self._index.known(tenant, names)
        due = await self._queue.due([f"{tenant}:{name}" for name in names])
        rows = zip(names, listed, revoked, due, strict=True)
        return [name for name, is_listed, ended, is_due in rows if not is_listed or ended == is_due]

    async def _compare(self, tenant: str, names: Sequence[str], state: Round) -> None:
        """Bring what Redis knows of some bindings to what their records say, and have them planned.

        Redis is read first: what is ahead of a record that is read later belongs to a Vault that was set back.
        """
        outlines = dict(zip(names, await self._status.outlines(tenant, names), strict=True))
        listed = dict(zip(names, (await self._index.known(tenant, names))[0], strict=True))
        due = dict(zip(names, await self._queue.due([f"{tenant}:{name}" for name in names]), strict=True))
        bindings = await self._vault.describe_many(tenant, names)
        drafts = [
            self._draft(binding, outlines[binding.id], state)
            for binding in bindings
            if outlines[binding.id].revision != binding.revision or not listed[binding.id]
        ]
        await self._status.publish(drafts)
        state.restored += len(drafts)
        plans: list[tuple[Job, float]] = []
        for binding in bindings:
            job, known = Job(tenant, binding.id, "reconcile"), outlines[binding.id]
            if binding.verdict.status == STATUS_REVOKED:
                if due[binding.id]:
                    await self._queue.cancel(job)
            elif not due[binding.id] or not known.observed or _untold(binding, known):
                plans.append((job, self._clock.unix() + self._delay(binding, known, state)))
        await self._queue.plan(plans)
        state.planned += len(plans)

    def _draft(self, binding: Binding, known: Outline, state: Round) -> Draft:
        """Tell what nobody was told; of what was lost with the list, watchers know, for their streams were reset."""
        age = self._clock.unix() - binding.updated_at.ToMilliseconds() / 1000
        missed = not state.rebuilds and (binding.verdict.status != STATUS_REVOKED or age < TOLD_S)
        return Draft(binding, tell=known.revision >= 0 or missed, back=known.revision > binding.revision)

    def _delay(self, binding: Binding, known: Outline, state: Round) -> float:
        """Return when to verify: soon, in turn, what has no verdict or no fresh observation; else in the interval."""
        if binding.verdict.status == STATUS_PENDING or _untold(binding, known):
            state.fresh += 1
            return state.fresh / self._rate + self._schedule.uniform(0.5, 2.0)
        if not known.observed or known.stale:
            state.unseen += 1
            return state.unseen / self._rate + self._schedule.uniform(0.5, 2.0)
        return self._schedule.uniform(0.0, self._interval_s)

    async def _orphans(self, tenant: str, after: str, last: str, names: set[str], state: Round) -> None:
        """Forget what is listed between two ids and has no record."""
        strangers = [name for name in await self._index.between(tenant, after, last) if name not in names]
        for start in range(0, len(strangers), MANY):
            part = strangers[start : start + MANY]
            alive = {binding.id for binding in await self._vault.describe_many(tenant, part)}
            for name in part:
                if name not in alive:
                    await self._status.forget(tenant, name)
                    await self._queue.cancel(Job(tenant, name, "reconcile"))
                    state.forgotten += 1

    async def _vanished(self, tenants: set[str], state: Round) -> None:
        """Forget the bindings of tenants that had some and have none any more."""
        known: Any = await self._redis.smembers(TENANTS)
        for tenant in {member.decode("ascii", "replace") for member in known} - tenants:
            await self._orphans(tenant, "", "", set(), state)
        if tenants:
            async with self._redis.pipeline(transaction=True) as batch:
                batch.delete(TENANTS)
                batch.sadd(TENANTS, *tenants)
                batch.expire(TENANTS, TENANTS_S)
                await batch.execute()

    async def _cursor(self) -> tuple[str, str] | None:
        """Return the (tenant, id) up to which an interrupted full round came."""
        known: Any = await self._redis.hmget(CURSOR, ["tenant", "after"])
        tenant, after = known
        return (tenant.decode("ascii", "replace"), after.decode("ascii", "replace")) if tenant and after else None

    async def _progress(self, tenant: str, name: str, state: Round) -> None:
        async with self._redis.pipeline(transaction=True) as batch:
            batch.hset(CURSOR, mapping={"tenant": tenant, "after": name, "done": state.done, "total": state.total})
            batch.expire(CURSOR, CURSOR_S)
            await batch.execute()
        now = self._clock.monotonic()
        if now - self._told_at >= PROGRESS_S:
            self._told_at = now
            logs.get().info("reconciling", count=state.done, total=state.total)


def _untold(binding: Binding, known: Outline) -> bool:
    """Tell whether a replacement waits for a verdict, or for its end, and nobody has submitted it."""
    return known.revision != binding.revision and (under_way(binding) or unfinished(binding))


def _beyond(tenant: str, names: Sequence[str], cursor: tuple[str, str] | None) -> Sequence[str]:
    """Return what a cursor leaves to be done of one tenant's sorted ids."""
    if cursor is None or tenant > cursor[0]:
        return names
    return names[bisect_right(names, cursor[1]) :] if tenant == cursor[0] else []
