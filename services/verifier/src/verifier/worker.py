"""Own the pool: it reads jobs up to its free slots, keeps their leases, takes over those of dead workers, and drains.

A job that fails by a bug is left unacknowledged and comes again; after too many deliveries it is buried.
"""

import asyncio
import math
from typing import Final

from common import context, logs, tracing
from common.clock import Clock
from common.lifecycle import DRAIN_S, pause, until
from redis.exceptions import RedisError

from verifier import measures
from verifier.jobs import ASKED, BACKGROUND, STREAMS, Delivery, GroupLost, Job, Misfit, Outcome, Queue, decode
from verifier.schedule import Schedule
from verifier.status import Known, Status
from verifier.verify import Verification

BLOCK_MS: Final = 500
DELIVERIES: Final = 5
VERIFICATION_S: Final = 45.0
LOCK_MS: Final = 60_000
LOCK_POLL_S: Final = 0.05
# A job that somebody waits for may hold its slot so long while its binding is locked.
LOCK_WAIT_S: Final = 1.0
# How much later a sibling is verified whose verdict is out of date.
ALSO_S: Final = (5.0, 30.0)
# What nobody waits for may use so much of the slots.
BACKGROUND_SHARE: Final = 3 / 4
# Of those for what is asked for, one tenant may use so much.
TENANT_SHARE: Final = 3 / 4
SWEEP_S: Final = 0.25
# Within the process's grace, with time left to answer and to close connections.
CONSUMER_IDLE_MS: Final = 3_600_000


class Handler:
    """Do one job: no two of a binding at once, and none whose answer came after it was asked for."""

    def __init__(
        self, queue: Queue, status: Status, verification: Verification, schedule: Schedule, clock: Clock
    ) -> None:
        self._queue = queue
        self._status = status
        self._verification = verification
        self._schedule = schedule
        self._clock = clock

    async def handle(self, delivery: Delivery, job: Job) -> None:
        """Verify, store, then acknowledge; put the job back when another one of its binding is under way."""
        started_ms = await self._locked(job, delivery)
        if not started_ms:
            await self._queue.give_back(delivery, job, self._clock.unix())
            return
        known = await self._status.read(job.tenant, job.binding)
        outcome = self._answered(delivery, known, started_ms) or await self._verify(job, started_ms, known)
        await self._plan(job, outcome)
        await self._queue.finish(delivery, job, outcome, started_ms, self._clock.unix())
        measures.JOBS.of(job.cause).inc()

    async def _locked(self, job: Job, delivery: Delivery) -> int:
        """Take the binding's lock and return when; 0 when another job keeps it for longer than this one may wait."""
        until = self._clock.monotonic() + (LOCK_WAIT_S if delivery.stream == ASKED else 0.0)
        while True:
            started_ms = await self._queue.lock(job, delivery, LOCK_MS)
            if started_ms or self._clock.monotonic() >= until:
                return started_ms
            await asyncio.sleep(LOCK_POLL_S)

    async def _plan(self, job: Job, outcome: Outcome) -> None:
        """Plan the bindings whose verdicts this one has put out of date."""
        now = self._clock.unix()
        siblings = (Job(job.tenant, binding, "schedule") for binding in outcome.also)
        await self._queue.plan([(sibling, now + self._schedule.uniform(*ALSO_S)) for sibling in siblings])

    def _answered(self, delivery: Delivery, known: Known, now_ms: int) -> Outcome | None:
        """Return the outcome of a verification that began after this job was submitted, if there was one.

        One from the future is none: it would keep every job away until a clock that was set back has caught up.
        """
        if known.observation is None or not delivery.submitted_ms < known.started_ms <= now_ms:
            return None
        # The worker that verified may have died before it planned the next one.
        next_s = known.observation.next_verification_at.ToMilliseconds() / 1000 - self._clock.unix()
        unsettled = known.pending and not known.stale
        return Outcome(verified=not known.stale, next_s=max(0.0, next_s), replace=False, reply=not unsettled)

    async def _verify(self, job: Job, started_ms: int, known: Known) -> Outcome:
        try:
            async with asyncio.timeout(VERIFICATION_S):
                return await self._verification.run(job, started_ms, known)
        except TimeoutError:
            measures.VERIFICATIONS.of("too_slow").inc()
            logs.get().warning("verification_too_slow", binding=job.binding, attempt=job.attempt)
            return Outcome(verified=False, next_s=self._schedule.after_failure(job.attempt), attempt=job.attempt + 1)


class Pool:
    """Run up to `slots` jobs that were asked for at once, and beside them a share of that of all others.

    What is asked for never waits for a slot that other work holds, nor behind all that one tenant has asked for: what
    is beyond a tenant's share is put back for a moment. A silent worker keeps its jobs `lease_s` seconds.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        handler: Handler,
        lost: asyncio.Event,
        slots: int,
        lease_s: float,
        schedule: Schedule,
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._handler = handler
        self._lost = lost
        self._slots = {ASKED: slots, BACKGROUND: max(1, int(slots * BACKGROUND_SHARE))}
        self._share = math.ceil(slots * TENANT_SHARE)
        self._lease_s = lease_s
        self._schedule = schedule
        self._clock = clock
        self._running: dict[Delivery, asyncio.Task[None]] = {}
        self._freed = {stream: asyncio.Event() for stream in STREAMS}

    async def run(self, stopping: asyncio.Event) -> None:
        """Work until `stopping`, then finish what is running within the drain time and leave the rest to others."""
        ended = asyncio.Event()
        await self._prepare()
        duties = [
            asyncio.create_task(until(ended, self._lease_s / 4, self._renew)),
            asyncio.create_task(until(stopping, SWEEP_S, self._sweep)),
            asyncio.create_task(self._reclaim(stopping)),
        ]
        await asyncio.gather(*(self._fill(stream, stopping) for stream in STREAMS))
        if self._running:
            await asyncio.wait(self._running.values(), timeout=DRAIN_S)
        ended.set()
        leftover = [*self._running.values(), *duties]
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)
        logs.get().info("worker_drained", count=len(self._running))

    async def _fill(self, stream: str, stopping: asyncio.Event) -> None:
        while not stopping.is_set():
            await self._read(stream, stopping)

    async def _read(self, stream: str, stopping: asyncio.Event) -> None:
        """Fill the free slots with new jobs; after trouble with Redis, wait a moment and make sure of the group."""
        try:
            free = self._free(stream)
            if free <= 0:
                self._freed[stream].clear()
                await pause(self._freed[stream], 1.0)
                return
            for delivery in await self._queue.read(stream, free, BLOCK_MS):
                await self._start(delivery)
        except GroupLost:
            logs.get().warning("group_lost")
            await self._recover(stopping)
        except (RedisError, OSError) as error:
            logs.get().warning("redis_unavailable", error=type(error).__name__)
            await self._recover(stopping)

    def _free(self, stream: str) -> int:
        return self._slots[stream] - sum(delivery.stream == stream for delivery in self._running)

    async def _recover(self, stopping: asyncio.Event) -> None:
        """Wait until Redis answers again, then have everything reconciled: jobs may be gone, or never have come."""
        while not stopping.is_set():
            await pause(stopping, self._schedule.uniform(0.1, 1.0))
            if await self._prepare():
                self._lost.set()
                return

    async def _prepare(self) -> bool:
        try:
            await self._queue.prepare()
        except (RedisError, OSError) as error:
            logs.get().warning("redis_unavailable", error=type(error).__name__)
            return False
        return True

    async def _start(self, delivery: Delivery, deliveries: int = 1) -> None:
        """Begin a job in a slot of its own, or bury what is none or has come too often."""
        try:
            job = decode(delivery.fields)
        except Misfit as misfit:
            await self._bury(delivery, str(misfit))
            return
        if any(held.name == delivery.name for held in self._running):
            return
        if deliveries > DELIVERIES:
            await self._bury(delivery, "deliveries")
        elif delivery.stream == ASKED and self._busy_for(delivery.fields) >= self._share:
            await self._queue.give_back(delivery, job, self._clock.unix())
        else:
            self._running[delivery] = asyncio.create_task(self._guarded(delivery, job))

    def _busy_for(self, fields: dict[bytes, bytes]) -> int:
        """Return how many slots the tenant of a job has of those for what is asked for."""
        held = (one for one in self._running if one.stream == ASKED)
        return sum(one.fields[b"tenant"] == fields[b"tenant"] for one in held)

    async def _guarded(self, delivery: Delivery, job: Job) -> None:
        try:
            with _span(delivery, job):
                await self._handler.handle(delivery, job)
        except Exception as error:  # noqa: BLE001  whatever one job meets, the pool goes on and the job comes again
            measures.FAILED.inc()
            logs.get().error("job_failed", job=delivery.entry, error=type(error).__name__, where=logs.places(error))
        finally:
            self._running.pop(delivery, None)
            self._freed[delivery.stream].set()

    async def _bury(self, delivery: Delivery, reason: str) -> None:
        await self._queue.bury(delivery, reason)
        measures.BURIED.of(reason).inc()
        logs.get().error("job_buried", job=delivery.entry, reason=reason)

    async def _renew(self) -> None:
        try:
            await self._queue.renew(list(self._running))
        except (GroupLost, RedisError, OSError) as error:
            logs.get().warning("lease_not_renewed", error=type(error).__name__)

    async def _sweep(self) -> None:
        try:
            await self._queue.sweep(self._clock.unix(), self._slots[BACKGROUND])
        except (RedisError, OSError) as error:
            logs.get().warning("sweep_failed", error=type(error).__name__)

    async def _reclaim(self, stopping: asyncio.Event) -> None:
        """Take over abandoned jobs from time to time; the jitter keeps workers from doing it together."""
        while not stopping.is_set():
            await pause(stopping, self._lease_s * self._schedule.uniform(0.25, 0.5))
            if stopping.is_set():
                return
            try:
                await self._take_over()
                await self._queue.tidy(CONSUMER_IDLE_MS)
            except (GroupLost, RedisError, OSError) as error:
                logs.get().warning("reclaim_failed", error=type(error).__name__)

    async def _take_over(self) -> None:
        for stream in STREAMS:
            free = self._free(stream)
            if free > 0:
                for delivery, deliveries in await self._queue.reclaim(stream, int(self._lease_s * 1000), free):
                    await self._start(delivery, deliveries)


def _span(delivery: Delivery, job: Job) -> tracing.Span:
    """Begin the span of a job, under that of whoever asked for it, with a request id of its own."""
    return tracing.serving(
        context.accept(None, job.traceparent),
        "job verify",
        "consumer",
        job=delivery.entry,
        tenant=job.tenant,
        binding=job.binding,
        cause=job.cause,
        attempt=job.attempt,
    )
