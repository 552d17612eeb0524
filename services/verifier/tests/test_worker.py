"""The pool: every job once in effect, poison buried, nothing lost with a worker or with Redis."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from common.clock import SystemClock
from strongroom.types.v1 import binding_pb2 as types
from verifier.index import projection_key
from verifier.jobs import (
    ASKED,
    ATTEMPTS,
    BACKGROUND,
    DEAD,
    DUE,
    GROUP,
    Job,
    Misfit,
    Outcome,
    decode,
    lock_key,
)
from verifier.status import NOTHING, Status
from verifier.worker import Pool

TENANT = "t" * 26


@asynccontextmanager
async def _working(*pools: Pool) -> AsyncIterator[asyncio.Event]:
    stopping = asyncio.Event()
    tasks = [asyncio.create_task(pool.run(stopping)) for pool in pools]
    try:
        yield stopping
    finally:
        stopping.set()
        await asyncio.gather(*tasks)


def _job(binding: Any, cause: str = "request") -> Job:
    return Job(binding.tenant_id, binding.id, cause)


async def test_a_submitted_job_is_verified_acknowledged_and_planned_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()):
        entry = await bench.queue.put(_job(binding, "bind"))
        assert await bench.queue.wait(entry, 10)
        assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED
        assert await bench.redis.xlen(ASKED) == 0
        assert (await bench.redis.xpending(ASKED, GROUP))["pending"] == 0
        due = await bench.redis.zscore(DUE, f"{TENANT}:{binding.id}")
    assert 0.75 * 86_400 < due / 1000 - time.time() <= 86_400


async def test_one_failed_look_is_repeated_before_whoever_waits_is_answered(bench: Any, wait_until: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="reset")
    async with _working(bench.pool()):
        entry = await bench.queue.put(_job(binding, "bind"))
        waiting = asyncio.create_task(bench.queue.wait(entry, 20))

        async def failed_once() -> bool:
            return bool(await bench.redis.hget(ATTEMPTS, f"{TENANT}:{binding.id}") == b"1")

        await wait_until(failed_once)
        assert not waiting.done()
        bench.exchange.faults.replace(())
        assert await waiting
    assert [event.stale for event in await bench.events()] == [True, False]


async def test_a_verification_that_failed_twice_is_told_so_and_runs_again_by_itself(
    bench: Any, wait_until: Any
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="reset")
    async with _working(bench.pool()):
        entry = await bench.queue.put(_job(binding, "bind"))
        assert not await bench.queue.wait(entry, 20)
        assert await bench.redis.hget(ATTEMPTS, f"{TENANT}:{binding.id}") == b"2"
        bench.exchange.faults.replace(())

        async def connected() -> bool:
            return bool(bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED)

        await wait_until(connected)
    stale = [event.stale for event in await bench.events()]
    assert stale == [True, False]


async def test_jobs_of_one_binding_are_answered_by_one_verification(bench: Any) -> None:
    bench.fault(kind="latency", seconds=0.2)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    entries = [await bench.queue.put(_job(binding)) for _ in range(6)]
    async with _working(bench.pool(consumer="one"), bench.pool(consumer="two")):
        answers = await asyncio.gather(*(bench.queue.wait(entry, 20) for entry in entries))
    assert answers == [True] * 6
    infos = sum(seen.target == "/api/v3/account/info" for seen in bench.exchange.log)
    assert infos == 1
    assert len(await bench.events()) == 1


async def test_a_repeated_delivery_changes_the_state_once(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    for _ in range(4):
        await bench.verify(binding)
    assert bench.vault.transitions == 1
    assert len(await bench.events()) == 1


POISON: list[dict[str, str]] = [
    {},
    {"tenant": TENANT},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": "0", "url": "http://evil.example"},
    {"tenant": "../" + "t" * 23, "binding": "a" * 32, "cause": "request", "attempt": "0"},
    {"tenant": "T" * 26, "binding": "a" * 32, "cause": "request", "attempt": "0"},
    {"tenant": TENANT + "t", "binding": "a" * 32, "cause": "request", "attempt": "0"},
    {"tenant": TENANT, "binding": "A" * 32, "cause": "request", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 31, "cause": "request", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 32 + "\n", "cause": "request", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "explode", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": "-1"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": "1e9"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": "9" * 60},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": ""},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "x" * 1_000_000, "attempt": "0"},
    {"tenant": "ü" * 26, "binding": "a" * 32, "cause": "request", "attempt": "0"},
    {"tenant": TENANT, "binding": "a" * 32, "cause": "request", "attempt": "٣"},
    {"data": "\x80\x04\x95pickle"},
]


@pytest.mark.bar(39)
def test_there_is_no_job_in_poison() -> None:
    for fields in POISON:
        with pytest.raises(Misfit):
            decode({name.encode(): value.encode() for name, value in fields.items()})


def test_a_job_may_carry_the_trace_of_whoever_asked_and_nothing_else_there() -> None:
    fields = {b"tenant": TENANT.encode(), b"binding": b"a" * 32, b"cause": b"bind", b"attempt": b"0"}
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    assert decode(fields) == Job(TENANT, "a" * 32, "bind")
    assert decode({**fields, b"traceparent": trace.encode()}) == Job(TENANT, "a" * 32, "bind", 0, trace)
    for odd in (
        b"",
        trace.upper().encode(),
        b"x" * 55,
        trace.replace("4bf92f3577b34da6a3ce929d0e0e4736", "0" * 32).encode(),
    ):
        with pytest.raises(Misfit):
            decode({**fields, b"traceparent": odd})


@pytest.mark.bar(39)
async def test_twenty_poisoned_jobs_are_buried_and_the_pool_lives_on(bench: Any, wait_until: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    for fields in POISON:
        await bench.redis.xadd(ASKED, fields or {"nothing": ""})
    async with _working(bench.pool()):

        async def buried() -> bool:
            return bool(await bench.redis.xlen(DEAD) == len(POISON))

        await wait_until(buried)
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 10)
    dead = await bench.redis.xrange(DEAD)
    assert len(bench.vault.signed) == 3
    assert all(fields.keys() == {b"entry", b"reason"} for _, fields in dead)
    assert all(len(fields[b"reason"]) < 20 for _, fields in dead)


@pytest.mark.bar(39)
async def test_a_job_of_a_foreign_or_missing_binding_reads_nothing_else(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()):
        for job in (Job("u" * 26, binding.id, "request"), Job(TENANT, secrets.token_hex(16), "request")):
            assert not await bench.queue.wait(await bench.queue.put(job), 10)
    assert bench.vault.signed == []
    assert await bench.redis.zcard(DUE) == 0


class _Broken:
    """A handler that dies with every job."""

    def __init__(self) -> None:
        self.calls = 0

    async def handle(self, delivery: Any, job: Job) -> None:
        self.calls += 1
        raise RuntimeError("a bug")


async def test_a_job_that_always_fails_is_buried_after_its_deliveries(bench: Any, wait_until: Any) -> None:
    broken = _Broken()
    pool = bench.pool(lease_s=0.05, handler=broken)
    await bench.queue.put(Job(TENANT, "a" * 32, "request"))
    async with _working(pool):

        async def buried() -> bool:
            return bool(await bench.redis.xlen(DEAD))

        await wait_until(buried)
    assert broken.calls == 5
    assert [fields[b"reason"] for _, fields in await bench.redis.xrange(DEAD)] == [b"deliveries"]
    assert await bench.redis.xlen(ASKED) == 0


@pytest.mark.bar(40)
async def test_an_abandoned_job_is_taken_over_and_done_once(bench: Any, wait_until: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.queue.prepare()
    entry = await bench.queue.put(_job(binding, "bind"))
    delivered = await bench.queue.read(ASKED, 1, 100)
    assert await bench.queue.lock(_job(binding), delivered[0], 60_000)
    assert [delivery.entry for delivery in delivered] == [entry]
    async with _working(bench.pool(consumer="two", lease_s=0.2)):
        assert await bench.queue.wait(entry, 10)
    assert len(await bench.events()) == 1


async def test_a_worker_that_died_before_its_last_step_leaves_a_plan_behind(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.queue.prepare()
    await bench.queue.put(_job(binding, "bind"))
    (delivery,) = await bench.queue.read(ASKED, 1, 100)
    started = await bench.queue.lock(_job(binding), delivery, 60_000)
    await bench.verification().run(_job(binding), started + 1, NOTHING)
    signed = len(bench.vault.signed)
    async with _working(bench.pool(consumer="two", lease_s=0.2)):
        assert await bench.queue.wait(delivery.entry, 10)
    assert len(bench.vault.signed) == signed
    assert await bench.redis.zscore(DUE, f"{TENANT}:{binding.id}")


async def test_a_long_job_keeps_its_lease(bench: Any) -> None:
    bench.fault(kind="latency", seconds=0.8, times=1)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool(consumer="one", lease_s=0.2), bench.pool(consumer="two", lease_s=0.2)):
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 10)
    assert sum(seen.target == "/api/v3/account/info" for seen in bench.exchange.log) == 1


async def test_running_jobs_are_finished_when_the_pool_stops(bench: Any, wait_until: Any) -> None:
    bench.fault(kind="latency", seconds=0.4, times=1)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()) as stopping:
        entry = await bench.queue.put(_job(binding, "bind"))

        async def held() -> bool:
            return bool(bench.vault.signed)

        await wait_until(held)
        stopping.set()
    assert await bench.queue.wait(entry, 1)
    assert await bench.redis.xlen(ASKED) == 0


async def test_an_emptied_redis_gets_its_group_back_and_new_jobs_run(bench: Any, wait_until: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()):
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 10)
        await bench.redis.flushall()
        await wait_until(_is_set(bench.lost))
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 10)


def _is_set(event: asyncio.Event) -> Callable[[], Any]:
    async def check() -> bool:
        return event.is_set()

    return check


async def test_consumers_that_left_are_removed_and_those_with_jobs_stay(bench: Any) -> None:
    await bench.queue.prepare()
    await bench.queue.put(Job(TENANT, "a" * 32, "request"))
    await bench.queue.read(ASKED, 1, 10)
    await bench.redis.xgroup_createconsumer(ASKED, GROUP, "gone")
    await bench.queue.tidy(0)
    assert [consumer["name"] for consumer in await bench.redis.xinfo_consumers(ASKED, GROUP)] == [b"bench"]


async def test_what_is_due_is_moved_once_with_its_attempts(bench: Any) -> None:
    await bench.queue.prepare()
    job = Job(TENANT, "a" * 32, "request")
    await bench.queue.put(job)
    (delivery,) = await bench.queue.read(ASKED, 1, 100)
    await bench.queue.finish(delivery, job, Outcome(verified=False, next_s=1, attempt=3), 1, time.time())
    assert await bench.queue.sweep(time.time(), 9) == 0
    assert await bench.queue.sweep(time.time() + 2, 9) == 1
    assert await bench.queue.sweep(time.time() + 2, 9) == 0
    (moved,) = await bench.queue.read(BACKGROUND, 5, 100)
    assert decode(moved.fields) == Job(TENANT, "a" * 32, "retry", 3)
    assert await bench.redis.exists(DUE, ATTEMPTS) == 0


async def test_a_lock_that_nobody_of_ours_made_holds_no_job_up(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    key = lock_key(_job(binding))
    async with _working(bench.pool()):
        await bench.redis.set(key, "for ever")
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 5)
        await bench.redis.rpush(key, "of another type")
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 5)


async def test_an_answer_from_the_future_answers_no_job(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    async with _working(bench.pool()):
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 5)
        await bench.redis.hset(projection_key(TENANT, binding.id), "started", str(10**15))
        signed = len(bench.vault.signed)
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 5)
    assert len(bench.vault.signed) == 2 * signed


class _Dying(Status):
    """A status whose worker dies when it is about to publish, so many times."""

    def __init__(self, redis: Any, deaths: int) -> None:
        super().__init__(redis, SystemClock())
        self.deaths = deaths

    async def observed(self, *about: Any) -> bool:
        if self.deaths:
            self.deaths -= 1
            raise RuntimeError("killed")
        return await super().observed(*about)


async def test_a_worker_that_died_between_record_and_event_leaves_one_event_with_before_and_after(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.change("unified-trader", permissions=["uta_mgt", "uta_trade", "withdraw"])
    bench.status = _Dying(bench.redis, deaths=2)
    async with _working(bench.pool(lease_s=0.2)):
        assert await bench.queue.wait(await bench.queue.put(_job(binding)), 20)
    assert bench.status.deaths == 0
    assert bench.vault.transitions == 2
    first, second = await bench.events()
    told = {one.field: (list(one.before), list(one.after)) for one in second.changes}
    assert told["permissions.withdraw"] == ([], ["yes"])
    assert "withdraw" in told["permissions.tokens"][1]
    assert first.revision < second.revision
