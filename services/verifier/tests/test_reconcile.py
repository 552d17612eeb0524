"""Rebuilding what Redis lost: every projection and every plan comes back, once, and never all at the same moment."""

import asyncio
import time
from typing import Any

from common.clock import SystemClock, timestamp
from common.events import EventHub, Reset
from strongroom.types.v1 import binding_pb2 as types
from verifier.index import Index, projection_key
from verifier.jobs import DUE
from verifier.reconcile import LOCK, REST

TENANT = "t" * 26


async def test_an_emptied_redis_is_rebuilt_from_the_records(bench: Any) -> None:
    account = bench.exchange.named("unified-trader")
    verified, fresh, revoked = (bench.vault.bind(account) for _ in range(3))
    await bench.verify(verified)
    bench.vault.revoke(revoked.id)
    await bench.redis.flushall()
    await bench.reconciler().run()
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
    await bench.reconciler().run()
    due = await bench.redis.zrange(DUE, 0, -1, withscores=True)
    await bench.reconciler().run()
    assert await bench.events() == []
    assert await bench.redis.zrange(DUE, 0, -1, withscores=True) == due
    assert not await bench.redis.exists(LOCK)


async def test_a_missed_change_of_the_record_is_published(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.vault.revoke(binding.id)
    await bench.reconciler().run()
    assert [event.status for event in await bench.events()] == [types.STATUS_CONNECTED, types.STATUS_REVOKED]
    assert await bench.redis.zcard(DUE) == 0


async def test_a_binding_whose_plan_was_lost_is_verified_within_the_interval(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    await bench.reconciler().run()
    due = await bench.redis.zscore(DUE, f"{TENANT}:{binding.id}")
    assert 0 < due / 1000 - time.time() <= 86_400


async def test_a_projection_lost_after_the_plan_was_made_is_restored_soon(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    member = f"{TENANT}:{binding.id}"
    await bench.redis.flushall()
    await bench.redis.zadd(DUE, {member: int((time.time() + 80_000) * 1000)})
    await bench.reconciler().run()
    assert await bench.redis.zscore(DUE, member) / 1000 - time.time() < 5


async def test_a_retry_that_is_planned_is_not_brought_forward(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="html")
    await bench.verify(binding)
    member, later = f"{TENANT}:{binding.id}", int((time.time() + 800) * 1000)
    await bench.redis.zadd(DUE, {member: later})
    await bench.reconciler().run()
    assert await bench.redis.zscore(DUE, member) == later


async def test_a_revocation_told_long_ago_is_not_told_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.vault.revoke(binding.id)
    bench.vault.records[binding.id].updated_at.CopyFrom(timestamp(time.time() - 30 * 86_400))
    await Index(bench.redis).whole(TENANT)
    await bench.reconciler().run()
    assert await bench.events() == []


async def test_only_one_worker_reconciles_at_a_time(bench: Any) -> None:
    bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.redis.set(LOCK, "another", ex=60)
    await bench.reconciler().run()
    assert await bench.redis.keys() == [LOCK.encode()]
    assert await bench.redis.get(LOCK) == b"another"


async def test_a_vault_that_is_slow_to_tell_names_is_not_asked_for_them_every_minute(bench: Any) -> None:
    reconciler, names, asked = bench.reconciler(), bench.vault.names, []

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
    await bench.reconciler().run()
    scores = sorted(score for _, score in await bench.redis.zrange(DUE, 0, -1, withscores=True))
    assert len(scores) == 250
    assert scores[-1] - scores[0] > 3000


async def test_one_foreign_value_does_not_keep_the_others_from_being_rebuilt(bench: Any) -> None:
    spoilt, other = (bench.vault.bind(bench.exchange.named("unified-trader")) for _ in range(2))
    await bench.redis.set(projection_key(TENANT, spoilt.id), "x")
    await bench.reconciler().run()
    assert set(await Index(bench.redis).between(TENANT, "", "")) == {spoilt.id, other.id}


async def test_a_rebuild_writes_no_events_and_keeps_those_that_are_there(bench: Any) -> None:
    """Watchers got a reset when the list was lost; an event for each binding would push out what has happened since."""
    bindings = bench.records(300)
    await bench.status.recorded(bindings[0])
    await bench.reconciler().run(lost=True)
    assert [event.binding_id for event in await bench.events()] == [bindings[0].id]
    assert await bench.redis.zcard(DUE) == 300


async def test_those_who_watch_get_a_reset_from_a_rebuild(bench: Any, wait_until: Any) -> None:
    (binding,) = bench.records(1)
    await bench.status.recorded(binding)
    hub = EventHub(bench.redis)
    watching = hub.subscribe(TENANT, None)
    item = asyncio.ensure_future(anext(watching))

    async def reading() -> bool:
        return any(one["cmd"] == "xread" for one in await bench.redis.client_list())

    await wait_until(reading)
    await bench.redis.flushall()
    await bench.reconciler().run()
    assert isinstance(await asyncio.wait_for(item, 20), Reset)
    await watching.aclose()
    await hub.close()


async def test_what_was_lost_while_the_list_was_whole_is_told(bench: Any) -> None:
    changed, _ = bench.records(2)
    reconciler = bench.reconciler()
    await reconciler.run()
    (unsubmitted,) = bench.records(1)
    changed.revision, changed.verdict.permissions.withdraw = 3, types.ANSWER_YES
    await reconciler.run(lost=True)
    told = {event.binding_id: [one.field for one in event.changes] for event in await bench.events()}
    assert told == {unsubmitted.id: [], changed.id: ["permissions.withdraw"]}


async def test_the_first_binding_of_a_tenant_that_had_none_is_listed_and_told(bench: Any) -> None:
    none, index = "n" * 26, Index(bench.redis)
    bench.vault = _Empty(bench.vault, none)
    reconciler = bench.reconciler()
    await reconciler.run()
    assert await index.page(none, 0, "", "", 9) == ([], "")
    (first,) = bench.records(1, none)
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
