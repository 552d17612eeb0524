"""Rebuilding what Redis lost: every projection and every plan comes back, once, and never all at the same moment."""

import time
from typing import Any

from common.clock import SystemClock, timestamp
from strongroom.types.v1 import binding_pb2 as types
from verifier.jobs import DUE
from verifier.reconcile import LOCK, Reconciler
from verifier.status import projection_key

TENANT = "t" * 26


def _reconciler(bench: Any) -> Reconciler:
    return Reconciler(
        redis=bench.redis,
        vault=bench.vault,
        status=bench.status,
        queue=bench.queue,
        schedule=bench.schedule,
        interval_s=86_400,
        calls_per_minute=5400,
        clock=SystemClock(),
    )


async def test_an_emptied_redis_is_rebuilt_from_the_records(bench: Any) -> None:
    account = bench.exchange.named("unified-trader")
    verified, fresh, revoked = (bench.vault.bind(account) for _ in range(3))
    await bench.verify(verified)
    bench.vault.revoke(revoked.id)
    await bench.redis.flushall()
    await _reconciler(bench).run()
    states = {event.binding_id: event.status for event in await bench.events()}
    assert states == {
        verified.id: types.STATUS_CONNECTED,
        fresh.id: types.STATUS_PENDING,
        revoked.id: types.STATUS_REVOKED,
    }
    due = await bench.redis.zrange(DUE, 0, -1, withscores=True)
    assert {member for member, _ in due} == {f"{TENANT}:{item.id}".encode() for item in (verified, fresh)}
    assert all(score / 1000 - time.time() < 5 for _, score in due)


async def test_a_second_run_changes_nothing(bench: Any) -> None:
    bench.vault.bind(bench.exchange.named("unified-trader"))
    await _reconciler(bench).run()
    due = await bench.redis.zrange(DUE, 0, -1, withscores=True)
    await _reconciler(bench).run()
    assert len(await bench.events()) == 1
    assert await bench.redis.zrange(DUE, 0, -1, withscores=True) == due
    assert not await bench.redis.exists(LOCK)


async def test_a_missed_change_of_the_record_is_published(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.vault.revoke(binding.id)
    await _reconciler(bench).run()
    assert [event.status for event in await bench.events()] == [types.STATUS_CONNECTED, types.STATUS_REVOKED]
    assert await bench.redis.zcard(DUE) == 0


async def test_a_binding_whose_plan_was_lost_is_verified_within_the_interval(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    await _reconciler(bench).run()
    due = await bench.redis.zscore(DUE, f"{TENANT}:{binding.id}")
    assert 0 < due / 1000 - time.time() <= 86_400


async def test_a_projection_lost_after_the_plan_was_made_is_restored_soon(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    member = f"{TENANT}:{binding.id}"
    await bench.redis.flushall()
    await bench.redis.zadd(DUE, {member: int((time.time() + 80_000) * 1000)})
    await _reconciler(bench).run()
    assert await bench.redis.zscore(DUE, member) / 1000 - time.time() < 5


async def test_a_retry_that_is_planned_is_not_brought_forward(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="html")
    await bench.verify(binding)
    member, later = f"{TENANT}:{binding.id}", int((time.time() + 800) * 1000)
    await bench.redis.zadd(DUE, {member: later})
    await _reconciler(bench).run()
    assert await bench.redis.zscore(DUE, member) == later


async def test_a_revocation_told_long_ago_is_not_told_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.vault.revoke(binding.id)
    bench.vault.records[binding.id].updated_at.CopyFrom(timestamp(time.time() - 30 * 86_400))
    await _reconciler(bench).run()
    assert await bench.events() == []


async def test_only_one_worker_reconciles_at_a_time(bench: Any) -> None:
    bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.redis.set(LOCK, "another", ex=60)
    await _reconciler(bench).run()
    assert await bench.events() == []
    assert await bench.redis.get(LOCK) == b"another"


async def test_a_rebuild_spreads_its_verifications(bench: Any) -> None:
    for _ in range(250):
        bench.vault.bind(bench.exchange.named("unified-trader"))
    await _reconciler(bench).run()
    scores = sorted(score for _, score in await bench.redis.zrange(DUE, 0, -1, withscores=True))
    assert len(scores) == 250
    assert scores[-1] - scores[0] > 3000


async def test_one_foreign_value_does_not_keep_the_others_from_being_rebuilt(bench: Any) -> None:
    spoilt, other = (bench.vault.bind(bench.exchange.named("unified-trader")) for _ in range(2))
    await bench.redis.set(projection_key(TENANT, spoilt.id), "x")
    await _reconciler(bench).run()
    assert {event.binding_id for event in await bench.events()} == {spoilt.id, other.id}
