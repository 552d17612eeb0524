"""The two streams: what somebody waits for goes first, what nobody waits for comes in its time, nothing is lost."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from strongroom.types.v1 import binding_pb2 as types
from verifier.jobs import (
    ASKED,
    ATTEMPTS,
    BACKGROUND,
    BROUGHT_FORWARD,
    DUE,
    OUTAGE,
    SOON,
    Delivery,
    Job,
    Outcome,
    Queue,
    lock_key,
    waiting_key,
)
from verifier.worker import Pool

TENANT = "t" * 26
JOB = Job(TENANT, "a" * 32, "request")
DONE = Outcome(verified=True, next_s=80_000)
UNSETTLED = Outcome(verified=False, next_s=3, attempt=1, reply=False)


@asynccontextmanager
async def _working(*pools: Pool) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(pool.run(stopping)) for pool in pools]
    try:
        yield
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


class _Slow:
    """A handler that takes its time with what nobody waits for, and counts how many it has at once."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.now, self.most, self.done = queue, 0, 0, 0

    async def handle(self, delivery: Delivery, job: Job) -> None:
        background = delivery.stream == BACKGROUND
        self.now += background
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.2 if background else 0)
        self.now -= background
        self.done += 1
        await self.queue.finish(delivery, job, Outcome(verified=True), 2**50, time.time())


async def _overdue(redis: Redis, count: int) -> None:
    past = int((time.time() - 60) * 1000)
    await redis.zadd(DUE, {f"{TENANT}:{secrets.token_hex(16)}": past + number for number in range(count)})


async def test_a_bind_is_begun_at_once_while_thousands_of_others_are_due(bench: Any) -> None:
    await _overdue(bench.redis, 5000)
    slow = _Slow(bench.queue)
    async with _working(bench.pool(slots=8, handler=slow)):
        while slow.now < 6:
            await asyncio.sleep(0.01)
        before = slow.done
        for _ in range(5):
            assert await bench.queue.wait(await bench.queue.put(Job(TENANT, secrets.token_hex(16), "bind")), 5)
        assert slow.done - before < 5 + 20 * 6
        assert await bench.redis.xlen(BACKGROUND) <= 2 * 6
    assert slow.most == 6


async def test_a_bind_is_verified_at_once_while_thousands_of_others_are_due(bench: Any) -> None:
    await _overdue(bench.redis, 5000)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()):
        assert await bench.queue.wait(await bench.queue.put(Job(TENANT, binding.id, "bind")), 10)
        assert await bench.redis.zcard(DUE) > 4000
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED


class _Held:
    """A handler whose jobs of one tenant do not end before they are let go."""

    def __init__(self, queue: Queue, tenant: str) -> None:
        self.queue, self.tenant, self.go, self.ended = queue, tenant, asyncio.Event(), 0

    async def handle(self, delivery: Delivery, job: Job) -> None:
        if job.tenant == self.tenant:
            await self.go.wait()
            self.ended += 1
        await self.queue.finish(delivery, job, Outcome(verified=True), 2**50, time.time())


async def test_a_bind_does_not_wait_for_all_that_another_tenant_has_asked_for(bench: Any) -> None:
    held, queue = _Held(bench.queue, TENANT), bench.queue
    async with _working(bench.pool(slots=8, handler=held)):
        greedy = [await queue.put(Job(TENANT, secrets.token_hex(16), "request")) for _ in range(60)]
        for _ in range(3):
            assert await queue.wait(await queue.put(Job("u" * 26, secrets.token_hex(16), "bind")), 20)
        assert held.ended == 0
        held.go.set()
        assert all(await asyncio.gather(*(queue.wait(entry, 30) for entry in greedy)))


async def test_only_what_will_be_read_soon_is_moved(bench: Any) -> None:
    await bench.queue.prepare()
    await _overdue(bench.redis, 100)
    assert [await bench.queue.sweep(time.time(), 12) for _ in range(3)] == [12, 0, 0]
    for delivery in await bench.queue.read(BACKGROUND, 5, 100):
        await bench.queue.finish(delivery, JOB, Outcome(verified=True), 1, time.time())
    await bench.queue.read(BACKGROUND, 3, 100)
    assert await bench.queue.sweep(time.time(), 12) == 8
    assert await bench.redis.zcard(DUE) == 80


async def _delivered(queue: Queue, job: Job) -> Delivery:
    await queue.put(job)
    (delivery,) = await queue.read(job.stream, 1, 100)
    return delivery


async def test_a_submitter_goes_on_waiting_until_an_attempt_settles_it(bench: Any) -> None:
    queue, now = bench.queue, time.time()
    await queue.prepare()
    first = await _delivered(queue, JOB)
    started = await queue.lock(JOB, first, 1000)
    await queue.finish(first, JOB, UNSETTLED, started, now)
    assert not await queue.wait(first.entry, 1)
    assert await queue.sweep(now + 2.5, 0) == 0
    assert await queue.sweep(now + 3.5, 0) == 1  # somebody waits: no room in the background is needed
    (again,) = await queue.read(ASKED, 1, 100)
    retry = Job(TENANT, JOB.binding, "retry", 1)
    started = await queue.lock(retry, again, 1000)
    await queue.finish(again, retry, DONE, started, now)
    assert await queue.wait(first.entry, 1)
    assert await bench.redis.exists(waiting_key(JOB), SOON, lock_key(JOB)) == 0
    assert await bench.redis.zcard(DUE) == 1


async def test_one_answer_serves_all_who_asked_before_it_and_those_after_get_their_own(bench: Any) -> None:
    queue, now = bench.queue, time.time()
    await queue.prepare()
    early = await _delivered(queue, JOB)
    await asyncio.sleep(0.002)  # ids of entries count milliseconds
    holder = await _delivered(queue, Job(TENANT, JOB.binding, "bind"))
    await asyncio.sleep(0.002)
    started = await queue.lock(JOB, holder, 60_000)
    await asyncio.sleep(0.002)
    late = await _delivered(queue, JOB)
    for waiting in (early, late):
        assert not await queue.lock(JOB, waiting, 60_000)
        await queue.give_back(waiting, JOB, now)
    await queue.finish(holder, JOB, DONE, started, now)
    assert await queue.wait(early.entry, 1)
    assert not await queue.wait(late.entry, 1)
    assert await queue.sweep(now + 1, 0) == 1
    (again,) = await queue.read(ASKED, 1, 100)
    await queue.finish(again, Job(TENANT, JOB.binding, "schedule"), DONE, int(again.entry.partition("-")[0]), now)
    assert await queue.wait(late.entry, 1)


async def test_a_job_whose_binding_is_locked_holds_no_slot_and_comes_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    job = Job(TENANT, binding.id, "schedule")
    await bench.redis.set(lock_key(job), "another", px=2500)
    other = bench.vault.bind(bench.exchange.named("unified-sub"))
    async with _working(bench.pool(slots=1)):
        await bench.queue.put(job)
        await bench.queue.put(Job(TENANT, other.id, "schedule"))

        async def verified(wanted: Any) -> None:
            deadline = time.monotonic() + 10
            while bench.vault.records[wanted.id].verdict.status != types.STATUS_CONNECTED:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)

        await verified(other)
        assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING
        await verified(binding)


async def test_what_a_verdict_puts_out_of_date_is_verified_soon(bench: Any) -> None:
    class _Joined:
        async def run(self, job: Job, started_ms: int, known: Any) -> Outcome:
            return Outcome(verified=True, next_s=80_000, also=("b" * 32, "c" * 32))

    bench.verification = _Joined
    async with _working(bench.pool()):
        assert await bench.queue.wait(await bench.queue.put(JOB), 5)
    for sibling in ("b" * 32, "c" * 32):
        assert 0 < await bench.redis.zscore(DUE, f"{TENANT}:{sibling}") / 1000 - time.time() <= 30


async def _failing(bench: Any, count: int, attempt: int) -> None:
    later = int((time.time() + 3600) * 1000)
    members = [f"{TENANT}:{secrets.token_hex(16)}" for _ in range(count)]
    await bench.redis.zadd(DUE, dict.fromkeys(members, later))
    await bench.redis.hset(ATTEMPTS, mapping=dict.fromkeys(members, attempt))


async def _finished(bench: Any, attempt: int, outcome: Outcome) -> int:
    """Finish one job after `attempt` failures and return how many others have become due by it."""
    await bench.queue.prepare()
    await bench.queue.put(Job(TENANT, "a" * 32, "retry", attempt))
    (delivery,) = await bench.queue.read(BACKGROUND, 1, 1000)
    await bench.queue.finish(delivery, Job(TENANT, "a" * 32, "retry", attempt), outcome, 2**50, time.time())
    return int(await bench.redis.zcount(DUE, "-inf", int(time.time() * 1000)))


async def test_a_binding_that_comes_out_of_an_outage_brings_others_forward(bench: Any) -> None:
    await _failing(bench, 50, OUTAGE + 5)
    assert await _finished(bench, OUTAGE, DONE) == BROUGHT_FORWARD


async def test_all_come_out_of_an_outage_when_the_first_one_does(bench: Any) -> None:
    await _failing(bench, 200, OUTAGE)
    slow = _Slow(bench.queue)
    async with _working(bench.pool(handler=slow)):
        await _finished(bench, OUTAGE, DONE)
        async with asyncio.timeout(20):
            while slow.done < 200:
                await asyncio.sleep(0.02)


async def test_neither_a_failure_nor_a_passing_trouble_brings_anybody_forward(bench: Any) -> None:
    await _failing(bench, 50, OUTAGE + 5)
    assert await _finished(bench, OUTAGE, Outcome(verified=False, next_s=60, attempt=OUTAGE + 1)) == 0
    assert await _finished(bench, OUTAGE - 1, DONE) == 0


async def test_a_binding_that_failed_once_or_twice_is_not_brought_forward(bench: Any) -> None:
    await _failing(bench, 50, OUTAGE - 1)
    assert await _finished(bench, OUTAGE, DONE) == 0


async def test_foreign_values_in_the_queue_stop_nobody(bench: Any) -> None:
    await bench.queue.prepare()
    await bench.redis.set(waiting_key(JOB), "x", ex=60)
    delivery = await _delivered(bench.queue, JOB)
    await bench.queue.finish(delivery, JOB, DONE, 2**50, time.time())
    assert await bench.queue.wait(delivery.entry, 1)
    await bench.redis.rpush(waiting_key(JOB), "x", "1-1 ", "")
    delivery = await _delivered(bench.queue, JOB)
    await bench.queue.finish(delivery, JOB, DONE, 2**50, time.time())
    assert not await bench.redis.exists(waiting_key(JOB))
    await bench.redis.zadd(DUE, {"no member of ours": 1})
    assert await bench.queue.sweep(time.time(), 9) == 1
    assert await bench.redis.xlen(BACKGROUND) == 0
