"""Rebuilding what Redis lost: every projection and every plan comes back, once, and never all at the same moment."""

import asyncio
import secrets
import time
from typing import Any

import pytest
from common.clock import SystemClock, timestamp
from common.errors import Unavailable
from common.events import EventHub, Reset
from strongroom.types.v1 import binding_pb2 as types
from verifier.index import Incomplete, Index, projection_key
from verifier.jobs import DUE
from verifier.reconcile import CURSOR, LOCK, RECENT, REST, Reconciler

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
    bindings = (verified, fresh, revoked)
    known = await bench.status.read_many([(TENANT, item.id) for item in bindings])
    assert {item.id: one.binding.verdict.status for item, one in zip(bindings, known, strict=True)} == {
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
    assert await bench.events() == []
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
    await Index(bench.redis).whole(TENANT)
    await _reconciler(bench).run()
    assert await bench.events() == []


async def test_only_one_worker_reconciles_at_a_time(bench: Any) -> None:
    bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.redis.set(LOCK, "another", ex=60)
    await _reconciler(bench).run()
    assert await bench.redis.keys() == [LOCK.encode()]
    assert await bench.redis.get(LOCK) == b"another"


async def test_a_vault_that_is_slow_to_tell_names_is_not_asked_for_them_every_minute(bench: Any) -> None:
    reconciler, names, asked = _reconciler(bench), bench.vault.names, []

    class Leaping(SystemClock):
        def monotonic(self) -> float:
            return super().monotonic() + 5.0 * len(asked)

    async def slow() -> Any:
        asked.append(1)
        async for chunk in names():
            yield chunk

    bench.vault.names, reconciler._clock = slow, Leaping()
    bench.vault.bind(bench.exchange.named("unified-trader"))
    await reconciler.run()
    await reconciler.run()
    assert len(asked) == 1
    assert 60 < await bench.redis.ttl(REST) <= 120
    await reconciler.run(lost=True)
    assert len(asked) == 2


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
    assert set(await Index(bench.redis).between(TENANT, "", "")) == {spoilt.id, other.id}


async def test_a_rebuild_writes_no_events_and_keeps_those_that_are_there(bench: Any) -> None:
    """Watchers got a reset when the list was lost; an event for each binding would push out what has happened since."""
    bindings = _records(bench, 300)
    await bench.status.recorded(bindings[0])
    await _reconciler(bench).run(lost=True)
    assert [event.binding_id for event in await bench.events()] == [bindings[0].id]
    assert await bench.redis.zcard(DUE) == 300


async def test_those_who_watch_get_a_reset_from_a_rebuild(bench: Any, wait_until: Any) -> None:
    (binding,) = _records(bench, 1)
    await bench.status.recorded(binding)
    hub = EventHub(bench.redis)
    watching = hub.subscribe(TENANT, None)
    item = asyncio.ensure_future(anext(watching))

    async def reading() -> bool:
        return any(one["cmd"] == "xread" for one in await bench.redis.client_list())

    await wait_until(reading)
    await bench.redis.flushall()
    await _reconciler(bench).run()
    assert isinstance(await asyncio.wait_for(item, 20), Reset)
    await watching.aclose()
    await hub.close()


async def test_what_was_lost_while_the_list_was_whole_is_told(bench: Any) -> None:
    changed, _ = _records(bench, 2)
    reconciler = _reconciler(bench)
    await reconciler.run()
    (unsubmitted,) = _records(bench, 1)
    changed.revision, changed.verdict.permissions.withdraw = 3, types.ANSWER_YES
    await reconciler.run(lost=True)
    told = {event.binding_id: [one.field for one in event.changes] for event in await bench.events()}
    assert told == {unsubmitted.id: [], changed.id: ["permissions.withdraw"]}


async def test_the_first_binding_of_a_tenant_that_had_none_is_listed_and_told(bench: Any) -> None:
    none, index = "n" * 26, Index(bench.redis)
    bench.vault = _Empty(bench.vault, none)
    reconciler = _reconciler(bench)
    await reconciler.run()
    assert await index.page(none, 0, "", "", 9) == ([], "")
    (first,) = _records(bench, 1, none)
    await bench.status.recorded(first)
    assert await index.page(none, 0, "", "", 9) == ([first.id], "")
    await reconciler.run()
    assert (await index.page(none, 0, "", "", 9))[0] == [first.id]


class _Empty:
    """The small vault, which knows of a tenant that has no bindings."""

    def __init__(self, vault: Any, tenant: str) -> None:
        self.vault, self.tenant = vault, tenant
        self.records, self.describe_many = vault.records, vault.describe_many

    async def names(self) -> Any:
        found = {tenant: names async for tenant, names in self.vault.names()}
        for tenant in sorted({self.tenant, *found}):
            yield tenant, found.get(tenant, [])


class _Streaming:
    """A vault whose names come in two messages, with a long time or worse between them."""

    def __init__(self, vault: Any, redis: Any, between: Any) -> None:
        self.vault, self.redis, self.between = vault, redis, between
        self.describe_many = vault.describe_many
        self.left_ms = 0

    async def names(self) -> Any:
        ((tenant, names),) = [chunk async for chunk in self.vault.names()]
        yield tenant, names[:2]
        await self.between()
        yield tenant, names[2:3]
        self.left_ms = await self.redis.pttl(LOCK)
        yield tenant, names[3:]


async def test_the_lock_is_kept_while_names_come(bench: Any) -> None:
    _records(bench, 5)

    async def long() -> None:
        await bench.redis.pexpire(LOCK, 5000)

    streaming = _Streaming(bench.vault, bench.redis, long)
    bench.vault = streaming
    await _reconciler(bench).run()
    assert streaming.left_ms > 30_000
    assert await Index(bench.redis).is_whole(TENANT)


async def test_a_round_during_which_redis_is_emptied_says_of_no_list_that_it_is_whole(bench: Any) -> None:
    _records(bench, 5)
    bench.vault = _Streaming(bench.vault, bench.redis, bench.redis.flushall)
    await _reconciler(bench).run()
    assert await bench.redis.keys() == []


class _Watched:
    """The small vault, counting what is read, and failing after `left` reads of many."""

    def __init__(self, vault: Any, left: int = 10**9) -> None:
        self.vault, self.left, self.read, self.calls = vault, left, 0, 0

    def names(self) -> Any:
        return self.vault.names()

    async def describe_many(self, tenant: str, bindings: Any) -> Any:
        if not self.left:
            raise Unavailable("vault_unavailable", "gone", retry_after=1)
        self.left -= 1
        self.calls += 1
        self.read += len(bindings)
        return await self.vault.describe_many(tenant, bindings)


def _records(bench: Any, count: int, tenant: str = TENANT) -> list[types.Binding]:
    made = []
    for _ in range(count):
        binding = types.Binding(id=secrets.token_hex(16), tenant_id=tenant, revision=2)
        binding.verdict.status = types.STATUS_CONNECTED
        bench.vault.records[binding.id] = binding
        made.append(binding)
    return made


async def test_a_light_round_reads_only_what_redis_lacks(bench: Any) -> None:
    bindings = _records(bench, 30)
    bench.vault = watched = _Watched(bench.vault)
    reconciler = _reconciler(bench)
    await reconciler.run()
    assert watched.read == 30
    await reconciler.run()
    assert watched.read == 30
    await bench.status.forget(TENANT, bindings[0].id)
    await bench.redis.zrem(DUE, f"{TENANT}:{bindings[1].id}")
    await reconciler.run()
    assert watched.read == 32
    assert len((await Index(bench.redis).page(TENANT, 0, "", "", 100))[0]) == 30
    assert await bench.redis.zcard(DUE) == 30


async def test_what_redis_has_lost_is_told_by_a_full_round_that_others_need_not_repeat(bench: Any) -> None:
    _records(bench, 3)
    bench.vault = watched = _Watched(bench.vault)
    await _reconciler(bench).run()
    await _reconciler(bench).run()
    assert watched.read == 3
    await _reconciler(bench).run(lost=True)
    assert watched.read == 6
    await bench.redis.delete(RECENT)
    await _reconciler(bench).run()
    assert watched.read == 9


async def test_a_round_that_was_cut_off_is_taken_up_where_it_was(bench: Any) -> None:
    _records(bench, 900, "a" * 26)
    bindings = _records(bench, 300)
    small = bench.vault
    bench.vault = _Watched(small, left=5)
    with pytest.raises(Unavailable):
        await _reconciler(bench).run()
    done = await bench.redis.hgetall(CURSOR)
    assert (done[b"tenant"], done[b"done"], done[b"total"]) == (b"a" * 26, b"900", b"1200")
    with pytest.raises(Incomplete):
        await Index(bench.redis).page(TENANT, 0, "", "", 100)
    bench.vault = watched = _Watched(small)
    await _reconciler(bench).run()
    assert watched.read == 300
    assert not await bench.redis.exists(CURSOR, LOCK)
    assert len(await Index(bench.redis).between(TENANT, "", "")) == len(bindings)
    assert await bench.redis.zcard(DUE) == 1200


async def test_projections_without_a_record_are_forgotten_and_new_bindings_are_not(bench: Any) -> None:
    bindings, others = _records(bench, 4), _records(bench, 2, "a" * 26)
    reconciler = _reconciler(bench)
    await reconciler.run()
    for gone in [bindings[1], *others]:
        del bench.vault.records[gone.id]
    (new,) = _records(bench, 1)
    await bench.status.recorded(new)
    bench.vault.names = _stale_names(bench.vault, new.id)
    await reconciler.run()
    left = {binding.id for binding in bindings if binding is not bindings[1]} | {new.id}
    assert set(await Index(bench.redis).between(TENANT, "", "")) == left
    assert await Index(bench.redis).between("a" * 26, "", "") == []
    assert not await bench.redis.exists(projection_key(TENANT, bindings[1].id), projection_key("a" * 26, others[0].id))
    assert await bench.redis.zcard(DUE) == 3


def _stale_names(vault: Any, missing: str) -> Any:
    """Names as they were before a binding came."""
    names = vault.names

    async def older() -> Any:
        async for tenant, found in names():
            yield tenant, [name for name in found if name != missing]

    return older


async def test_a_revision_ahead_of_a_vault_that_was_set_back_is_forgotten(bench: Any) -> None:
    (binding,) = _records(bench, 1)
    reconciler = _reconciler(bench)
    await reconciler.run()
    ahead = types.Binding()
    ahead.CopyFrom(binding)
    ahead.revision, ahead.verdict.permissions.withdraw = 9, types.ANSWER_YES
    await bench.status.observed(ahead, types.Observation(), 5)
    await reconciler.run(lost=True)
    known = await bench.status.read(TENANT, binding.id)
    assert (known.revision, known.binding) == (2, binding)
    last = (await bench.events())[-1]
    assert [(one.field, list(one.after)) for one in last.changes] == [("permissions.withdraw", [])]


async def test_what_was_revoked_long_ago_is_listed_without_being_told(bench: Any) -> None:
    (binding,) = _records(bench, 1)
    binding.verdict.status = types.STATUS_REVOKED
    binding.updated_at.CopyFrom(timestamp(time.time() - 30 * 86_400))
    bench.vault = watched = _Watched(bench.vault)
    reconciler = _reconciler(bench)
    await reconciler.run()
    await reconciler.run()
    assert await bench.events() == []
    assert (await Index(bench.redis).page(TENANT, types.STATUS_REVOKED, "", "", 9))[0] == [binding.id]
    assert watched.read == 1


async def test_a_rebuild_asks_little_of_redis_and_of_the_vault_for_each_binding(bench: Any) -> None:
    count = 1000
    _records(bench, count)
    bench.vault = watched = _Watched(bench.vault)
    reconciler = _reconciler(bench)
    for lost, reads in ((True, count / 200), (False, 0), (True, count / 200)):
        calls, before = watched.calls, await _questions(bench.redis)
        await reconciler.run(lost=lost)
        assert watched.calls - calls == reads
        assert await _questions(bench.redis) - before < count / 5
    assert await bench.redis.zcard(DUE) == count
    await bench.redis.flushall()


async def _questions(redis: Any) -> int:
    """Return how often Redis has read from a connection: a large pipeline is a few."""
    return int((await redis.info("stats"))["total_reads_processed"])
