"""A tenant's list in Redis: in order, whole or not shown, and nobody else's."""

from typing import Any

import pytest
from common.clock import SystemClock
from redis.asyncio import Redis
from strongroom.types.v1.binding_pb2 import (
    STATUS_CONNECTED,
    STATUS_PENDING,
    STATUS_REVOKED,
    STATUS_UNSPECIFIED,
    Binding,
    Observation,
    Verdict,
)
from verifier.index import SCANNED, WHOLE, Incomplete, Index, index_key
from verifier.status import Draft, Status

TENANT, OTHER = "t" * 26, "u" * 26
ANY = STATUS_UNSPECIFIED


def _name(number: int) -> str:
    return f"{number:032x}"


def _binding(number: int, status: Any = STATUS_CONNECTED, subject: str = "", tenant: str = TENANT) -> Binding:
    verdict = Verdict(status=status)
    return Binding(id=_name(number), tenant_id=tenant, revision=1, subject=subject, verdict=verdict)


async def _listed(redis: Redis, *bindings: Binding) -> Index:
    await Status(redis, SystemClock()).publish([Draft(binding) for binding in bindings])
    index = Index(redis)
    for tenant in {binding.tenant_id for binding in bindings}:
        await index.whole(tenant)
    return index


async def _all(index: Index, status: Any = ANY, subject: str = "", limit: int = 3) -> list[str]:
    found: list[str] = []
    after = ""
    while True:
        names, after = await index.page(TENANT, status, subject, after, limit)
        assert len(names) <= limit
        found += names
        if not after:
            return found


async def test_pages_are_in_the_order_of_ids_and_of_one_tenant(redis: Redis) -> None:
    index = await _listed(redis, *map(_binding, (9, 2, 7, 1, 5, 3, 8)), _binding(4, tenant=OTHER))
    assert await _all(index) == [_name(number) for number in (1, 2, 3, 5, 7, 8, 9)]
    assert await index.page(TENANT, ANY, "", _name(4), 2) == ([_name(5), _name(7)], _name(7))
    assert await index.page(TENANT, ANY, "", _name(7), 2) == ([_name(8), _name(9)], "")


async def test_a_binding_is_found_by_its_present_status_and_subject(redis: Redis) -> None:
    bindings = [_binding(number, STATUS_PENDING, "anna" if number % 2 else "bert") for number in range(8)]
    index = await _listed(redis, *bindings)
    for binding in bindings[:4]:
        binding.verdict.status, binding.revision = STATUS_CONNECTED, 2
    bindings[5].subject, bindings[5].revision = "bert", 2
    await _listed(redis, *bindings)
    assert await _all(index, STATUS_CONNECTED) == [_name(number) for number in range(4)]
    assert await _all(index, subject="anna") == [_name(number) for number in (1, 3, 7)]
    assert await _all(index, STATUS_CONNECTED, "anna", limit=1) == [_name(1), _name(3)]
    assert await _all(index, STATUS_REVOKED) == []
    assert await _all(index, subject="nobody") == []


async def test_a_subject_with_many_bindings_is_paged_by_status_to_its_end(redis: Redis) -> None:
    status = {3: STATUS_CONNECTED, SCANNED + 50: STATUS_CONNECTED}
    bindings = [_binding(number, status.get(number, STATUS_REVOKED), "anna") for number in range(SCANNED + 100)]
    index = await _listed(redis, *bindings)
    assert await _all(index, STATUS_CONNECTED, "anna") == [_name(number) for number in status]


async def test_a_list_that_may_lack_something_is_not_shown(redis: Redis) -> None:
    index = await _listed(redis, _binding(1))
    await redis.zrem(index_key(TENANT), WHOLE)
    with pytest.raises(Incomplete):
        await _all(index)
    await index.whole(TENANT)
    for key, foreign in ((index_key(TENANT), "x"), (index_key(TENANT), None)):
        await redis.delete(key)
        await (redis.set(key, foreign, ex=60) if foreign else redis.zadd(key, {b"\xff": 0, WHOLE: 0}))
        with pytest.raises(Incomplete):
            await _all(index)
    await redis.delete(index_key(TENANT))


async def test_a_list_whose_ids_are_lost_is_not_an_empty_one(redis: Redis) -> None:
    index = await _listed(redis, _binding(1), _binding(2))
    await redis.delete(index_key(TENANT))
    assert not await index.is_whole(TENANT)
    for filters in ((ANY, ""), (STATUS_CONNECTED, "")):
        with pytest.raises(Incomplete):
            await _all(index, *filters)
    await Status(redis, SystemClock()).recorded(_binding(3))
    with pytest.raises(Incomplete):
        await _all(index)


async def test_a_tenant_without_bindings_has_an_empty_list(redis: Redis) -> None:
    index = Index(redis)
    await redis.set(index_key(TENANT), "x")
    await index.whole(TENANT)
    assert await _all(index) == []
    assert await index.between(TENANT, "", "") == []
    await Status(redis, SystemClock()).recorded(_binding(1))
    assert await _all(index) == [_name(1)]


async def test_what_is_forgotten_is_in_no_list(redis: Redis) -> None:
    index = await _listed(redis, _binding(1, subject="anna"), _binding(2, subject="anna"))
    await Status(redis, SystemClock()).forget(TENANT, _name(1))
    for filters in ((ANY, ""), (STATUS_CONNECTED, ""), (ANY, "anna"), (STATUS_CONNECTED, "anna")):
        assert await _all(index, *filters) == [_name(2)]


async def test_every_list_expires(redis: Redis) -> None:
    await _listed(redis, _binding(1, subject="anna"))
    keys = [key async for key in redis.scan_iter(match=f"sr:{{{TENANT}}}:ids*")]
    assert len(keys) == 3
    for key in keys:
        assert 80 * 86_400 < await redis.ttl(key) <= 90 * 86_400


async def test_a_page_of_a_hundred_is_two_questions_to_redis(redis: Redis) -> None:
    status, index = Status(redis, SystemClock()), Index(redis)
    for start in range(0, 2000, 500):
        bindings = [_binding(number) for number in range(start, start + 500)]
        await status.publish([Draft(binding, Observation()) for binding in bindings])
    await index.whole(TENANT)
    names, _ = await index.page(TENANT, STATUS_CONNECTED, "", _name(500), 100)
    await status.read_many([(TENANT, name) for name in names])  # the script is known to Redis
    before = (await redis.info("stats"))["total_reads_processed"]
    names, _ = await index.page(TENANT, STATUS_CONNECTED, "", _name(500), 100)
    known = await status.read_many([(TENANT, name) for name in names])
    after = (await redis.info("stats"))["total_reads_processed"]
    assert after - before == 2 + 1  # and this question
    assert [item.binding.id for item in known if item.binding] == [_name(number) for number in range(501, 601)]
