"""How rounds of reconciliation go on: what each of them reads, and what is kept when one is cut off."""

import time
from typing import Any

import pytest
from common.clock import timestamp
from common.errors import Unavailable
from strongroom.types.v1 import binding_pb2 as types
from verifier.index import Incomplete, Index, projection_key
from verifier.jobs import DUE
from verifier.reconcile import CURSOR, LOCK, RECENT

TENANT = "t" * 26


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
    bench.records(5)

    async def long() -> None:
        await bench.redis.pexpire(LOCK, 5000)

    streaming = _Streaming(bench.vault, bench.redis, long)
    bench.vault = streaming
    await bench.reconciler().run()
    assert streaming.left_ms > 30_000
    assert await Index(bench.redis).is_whole(TENANT)


async def test_a_round_during_which_redis_is_emptied_says_of_no_list_that_it_is_whole(bench: Any) -> None:
    bench.records(5)
    bench.vault = _Streaming(bench.vault, bench.redis, bench.redis.flushall)
    await bench.reconciler().run()
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


async def test_a_light_round_reads_only_what_redis_lacks(bench: Any) -> None:
    bindings = bench.records(30)
    bench.vault = watched = _Watched(bench.vault)
    reconciler = bench.reconciler()
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
    bench.records(3)
    bench.vault = watched = _Watched(bench.vault)
    await bench.reconciler().run()
    await bench.reconciler().run()
    assert watched.read == 3
    await bench.reconciler().run(lost=True)
    assert watched.read == 6
    await bench.redis.delete(RECENT)
    await bench.reconciler().run()
    assert watched.read == 9


async def test_a_round_that_was_cut_off_is_taken_up_where_it_was(bench: Any) -> None:
    bench.records(900, "a" * 26)
    bindings = bench.records(300)
    small = bench.vault
    bench.vault = _Watched(small, left=5)
    with pytest.raises(Unavailable):
        await bench.reconciler().run()
    done = await bench.redis.hgetall(CURSOR)
    assert (done[b"tenant"], done[b"done"], done[b"total"]) == (b"a" * 26, b"900", b"1200")
    with pytest.raises(Incomplete):
        await Index(bench.redis).page(TENANT, 0, "", "", 100)
    bench.vault = watched = _Watched(small)
    await bench.reconciler().run()
    assert watched.read == 300
    assert not await bench.redis.exists(CURSOR, LOCK)
    assert len(await Index(bench.redis).between(TENANT, "", "")) == len(bindings)
    assert await bench.redis.zcard(DUE) == 1200


async def test_projections_without_a_record_are_forgotten_and_new_bindings_are_not(bench: Any) -> None:
    bindings, others = bench.records(4), bench.records(2, "a" * 26)
    reconciler = bench.reconciler()
    await reconciler.run()
    for gone in [bindings[1], *others]:
        del bench.vault.records[gone.id]
    (new,) = bench.records(1)
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
    (binding,) = bench.records(1)
    reconciler = bench.reconciler()
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
    (binding,) = bench.records(1)
    binding.verdict.status = types.STATUS_REVOKED
    binding.updated_at.CopyFrom(timestamp(time.time() - 30 * 86_400))
    bench.vault = watched = _Watched(bench.vault)
    reconciler = bench.reconciler()
    await reconciler.run()
    await reconciler.run()
    assert await bench.events() == []
    assert (await Index(bench.redis).page(TENANT, types.STATUS_REVOKED, "", "", 9))[0] == [binding.id]
    assert watched.read == 1


async def test_a_rebuild_asks_little_of_redis_and_of_the_vault_for_each_binding(bench: Any) -> None:
    count = 1000
    bench.records(count)
    bench.vault = watched = _Watched(bench.vault)
    reconciler = bench.reconciler()
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
