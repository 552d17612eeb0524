"""Own the rebuilding of Redis from the records in Vault: projections, and what is due.

What it plans twice is harmless; it never touches a record.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from common import logs
from common.clock import Clock
from redis.asyncio import Redis
from strongroom.types.v1.binding_pb2 import STATUS_PENDING, STATUS_REVOKED, Binding

from verifier.jobs import Job, Queue
from verifier.schedule import Schedule
from verifier.status import Known, Status
from verifier.vault_client import MANY, Vault

LOCK: Final = "sr:reconcile"
LOCK_S: Final = 60
# Verifications that a rebuild causes start at most so fast, all workers together.
RATE_PER_S: Final = 50.0
# A revocation older than this was told long ago; its projection may have expired.
TOLD_S: Final = 7 * 86_400
_EXTEND: Final = (
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end return 0"
)
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Reconciler:
    """Compare every record with what Redis knows of it; one worker at a time."""

    def __init__(
        self,
        *,
        redis: Redis,
        vault: Vault,
        status: Status,
        queue: Queue,
        schedule: Schedule,
        interval_s: float,
        clock: Clock,
    ) -> None:
        self._redis = redis
        self._vault = vault
        self._status = status
        self._queue = queue
        self._schedule = schedule
        self._interval_s = interval_s
        self._clock = clock

    async def run(self) -> None:
        """Go through all records once; do nothing while another worker does."""
        token = secrets.token_hex(8)
        if not await self._redis.set(LOCK, token, nx=True, ex=LOCK_S):
            return
        try:
            await self._scan(token)
        finally:
            await self._redis.eval(_RELEASE, 1, LOCK, token)

    async def _scan(self, token: str) -> None:
        restored = planned = 0
        async for tenant, names in self._vault.names():
            for start in range(0, len(names), MANY):
                batch = await self._vault.describe_many(tenant, names[start : start + MANY])
                restored, planned = await self._compare(batch, restored, planned)
                if not await self._redis.eval(_EXTEND, 1, LOCK, token, LOCK_S):
                    return
        if restored or planned:
            logs.get().info("reconciled", count=restored, job=planned)

    async def _compare(self, batch: Sequence[Binding], restored: int, planned: int) -> tuple[int, int]:
        if not batch:
            return restored, planned
        known = await self._status.read_many([(binding.tenant_id, binding.id) for binding in batch])
        jobs = [Job(binding.tenant_id, binding.id, "reconcile") for binding in batch]
        due = await self._queue.due(job.member for job in jobs)
        for binding, job, projection, is_due in zip(batch, jobs, known, due, strict=True):
            if self._outdated(binding, projection):
                await self._status.recorded(binding)
                restored += 1
            if binding.verdict.status == STATUS_REVOKED:
                if is_due:
                    await self._queue.cancel(job)
            elif not is_due or projection.observation is None:
                await self._queue.plan(job, self._clock.unix() + self._delay(binding, projection, planned))
                planned += 1
        return restored, planned

    def _outdated(self, binding: Binding, known: Known) -> bool:
        if known.revision >= binding.revision:
            return False
        age = self._clock.unix() - binding.updated_at.ToMilliseconds() / 1000
        return binding.verdict.status != STATUS_REVOKED or known.revision >= 0 or age < TOLD_S

    def _delay(self, binding: Binding, known: Known, planned: int) -> float:
        """Return when to verify: soon, in turn, what has no verdict or no fresh observation; else in the interval."""
        if binding.verdict.status == STATUS_PENDING or known.observation is None or known.stale:
            return planned / RATE_PER_S + self._schedule.uniform(0.5, 2.0)
        return self._schedule.uniform(0.0, self._interval_s)
