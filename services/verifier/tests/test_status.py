"""Projections and events: one event for each change of state, whatever comes twice or out of order."""

import asyncio
import re
from itertools import pairwise
from typing import Any

import pytest
from common.clock import SystemClock
from common.errors import Aborted
from redis.asyncio import Redis
from strongroom.types.v1.binding_pb2 import (
    ANSWER_NO,
    ANSWER_YES,
    STATUS_CONNECTED,
    STATUS_PENDING,
    STATUS_REVOKED,
    Balances,
    Binding,
    Observation,
    Verdict,
)
from strongroom.verifier.v1.verification_service_pb2 import Event
from verifier.index import projection_key
from verifier.status import TRIES, Draft, Status

TENANT = "t" * 26


def _binding(revision: int, status: Any = STATUS_PENDING) -> Binding:
    return Binding(id="a" * 32, tenant_id=TENANT, revision=revision, verdict=Verdict(status=status))


async def _events(redis: Redis) -> list[tuple[int, bool, int]]:
    found = []
    for _, fields in await redis.xrange(f"sr:{{{TENANT}}}:events"):
        event = Event.FromString(fields[b"event"])
        found.append((event.revision, event.stale, event.status))
    return found


async def test_a_state_is_an_event_once(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    for _ in range(3):
        await status.recorded(_binding(1))
    for _ in range(3):
        await status.observed(_binding(2, STATUS_CONNECTED), Observation(), 5)
    assert await _events(redis) == [(1, False, STATUS_PENDING), (2, False, STATUS_CONNECTED)]


async def test_becoming_stale_and_fresh_again_are_changes(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    for stale in (False, True, True, False):
        await status.observed(_binding(2, STATUS_CONNECTED), Observation(stale=stale), 5)
    assert [stale for _, stale, _ in await _events(redis)] == [False, True, False]


async def test_what_was_known_is_read_again_only_when_something_was_published_since(redis: Redis) -> None:
    status, other = _Counting(redis), Status(redis, SystemClock())
    await other.observed(_binding(1), Observation(), 5)
    known = await other.read(TENANT, "a" * 32)
    assert await status.observed(_binding(2, STATUS_CONNECTED), Observation(), 6, known)
    assert status.reads == 0
    assert not await status.observed(_binding(2, STATUS_CONNECTED), Observation(), 7, known)
    assert status.reads == 1
    assert await _events(redis) == [(1, False, STATUS_PENDING), (2, False, STATUS_CONNECTED)]


async def test_an_older_revision_changes_nothing(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_binding(3, STATUS_CONNECTED), Observation(balances=Balances(total_usdt="5")), 5)
    assert not await status.observed(_binding(2), Observation(stale=True), 6)
    known = await status.read(TENANT, "a" * 32)
    assert (known.revision, known.stale, known.observation.balances.total_usdt) == (3, False, "5")


async def test_a_record_published_anew_keeps_what_was_observed(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_binding(2, STATUS_CONNECTED), Observation(stale=True), 5)
    await status.recorded(_binding(3, STATUS_CONNECTED))
    known = await status.read(TENANT, "a" * 32)
    assert (known.revision, known.stale, known.observation.stale) == (3, True, True)
    assert [stale for _, stale, _ in await _events(redis)] == [True, True]


async def test_a_revoked_binding_leaves_no_observation_and_one_event(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_binding(2, STATUS_CONNECTED), Observation(), 5)
    for _ in range(3):
        await status.recorded(_binding(3, STATUS_REVOKED))
    assert (await status.read(TENANT, "a" * 32)).observation is None
    assert await _events(redis) == [(2, False, STATUS_CONNECTED), (3, False, STATUS_REVOKED)]


async def test_everything_written_expires_and_shares_one_epoch(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    for revision in (1, 2):
        await status.recorded(_binding(revision))
    epoch = await redis.get(f"sr:{{{TENANT}}}:epoch")
    entries = await redis.xrange(f"sr:{{{TENANT}}}:events")
    assert re.fullmatch(r"[0-9a-f]{8}", epoch.decode())
    assert {fields[b"epoch"] for _, fields in entries} == {epoch}
    for key in (projection_key(TENANT, "a" * 32), f"sr:{{{TENANT}}}:epoch", f"sr:{{{TENANT}}}:events"):
        assert 80 * 86_400 < await redis.ttl(key) <= 90 * 86_400


async def test_an_emptied_redis_begins_a_new_epoch(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.recorded(_binding(1))
    first = await redis.get(f"sr:{{{TENANT}}}:epoch")
    await redis.flushall()
    await status.recorded(_binding(1))
    assert await redis.get(f"sr:{{{TENANT}}}:epoch") not in (None, first)


MISFITS: list[dict[str, bytes]] = [
    {"revision": b"abc", "stale": b"0"},
    {"revision": b"2", "observation": b"\xff\xff"},
    {"revision": b"2", "started": b"soon"},
    {"revision": b"2", "version": b"ABCDEF01"},
    {"revision": b"2", "observation": Observation(last_verified_at={"seconds": 1 << 62}).SerializeToString()},
]


async def test_a_projection_that_is_none_says_nothing_and_is_made_anew(redis: Redis) -> None:
    status, key = Status(redis, SystemClock()), projection_key(TENANT, "a" * 32)
    for misfit in [None, *MISFITS]:
        await redis.delete(key)
        await (redis.hset(key, mapping=misfit) if misfit else redis.set(key, "x"))
        await status.observed(_binding(5), Observation(stale=True), 5)
        beside = await status.read_many([(TENANT, "b" * 32), (TENANT, "a" * 32)])
        assert [known.revision for known in beside] == [-1, 5]
        assert await redis.delete(key)
        await (redis.hset(key, mapping=misfit) if misfit else redis.set(key, "x"))
        assert (await status.read(TENANT, "a" * 32)).observation is None
    await redis.delete(key)


async def test_keys_of_another_type_do_not_keep_events_away(redis: Redis) -> None:
    await redis.set(f"sr:{{{TENANT}}}:events", "x")
    await redis.rpush(f"sr:{{{TENANT}}}:epoch", "x")
    await Status(redis, SystemClock()).recorded(_binding(1))
    assert await _events(redis) == [(1, False, STATUS_PENDING)]


def _changed(revision: int, withdraw: Any, *addresses: str) -> Binding:
    binding = _binding(revision, STATUS_CONNECTED)
    binding.verdict.permissions.withdraw = withdraw
    binding.verdict.ip_whitelist.addresses[:] = addresses
    return binding


async def _changes(redis: Redis) -> list[dict[str, tuple[list[str], list[str]]]]:
    entries = await redis.xrange(f"sr:{{{TENANT}}}:events")
    events = [Event.FromString(fields[b"event"]) for _, fields in entries]
    return [{one.field: (list(one.before), list(one.after)) for one in event.changes} for event in events]


async def test_an_event_tells_what_changed_since_the_one_before(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_changed(1, ANSWER_NO, "203.0.113.10"), Observation(), 5)
    await status.observed(_changed(2, ANSWER_YES, "203.0.113.10"), Observation(), 6)
    await status.observed(_changed(3, ANSWER_YES, "203.0.113.10", "203.0.113.11"), Observation(stale=True), 7)
    assert await _changes(redis) == [
        {},
        {"permissions.withdraw": (["no"], ["yes"])},
        {
            "ip_whitelist.addresses": (["203.0.113.10"], ["203.0.113.10", "203.0.113.11"]),
            "stale": (["false"], ["true"]),
        },
    ]


async def test_changes_that_nobody_told_come_together_in_one_event(redis: Redis) -> None:
    """As when a worker dies before it publishes, or the record changed twice while Redis was away."""
    status = Status(redis, SystemClock())
    await status.observed(_changed(1, ANSWER_NO, "203.0.113.10"), Observation(), 5)
    for _ in range(3):
        await status.observed(_changed(3, ANSWER_YES, "203.0.113.11"), Observation(), 6)
    assert (await _changes(redis))[1:] == [
        {
            "permissions.withdraw": (["no"], ["yes"]),
            "ip_whitelist.addresses": (["203.0.113.10"], ["203.0.113.11"]),
        }
    ]


async def test_publications_at_the_same_moment_tell_each_change_once(redis: Redis) -> None:
    answers = [ANSWER_NO, ANSWER_YES] * 6
    bindings = [_changed(revision, answer) for revision, answer in enumerate(answers, 1)]
    told: list[bool] = []

    async def publish(binding: Binding) -> None:
        told.append(await Status(redis, SystemClock()).observed(binding, Observation(), 5))

    await asyncio.gather(*(publish(binding) for binding in bindings))
    events, revisions = await _changes(redis), [revision for revision, _, _ in await _events(redis)]
    assert revisions == sorted(set(revisions))
    assert revisions[-1] == 12
    assert told.count(True) == len(events)
    states = [bindings[revision - 1].verdict.permissions.withdraw for revision in revisions]
    assert [event.get("permissions.withdraw") is not None for event in events[1:]] == [
        one != other for one, other in pairwise(states)
    ]


async def test_a_projection_holds_the_record_without_what_ended(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_changed(2, ANSWER_NO), Observation(balances=Balances(total_usdt="5")), 5)
    assert (await status.read(TENANT, "a" * 32)).binding == _changed(2, ANSWER_NO)
    await status.recorded(_binding(3, STATUS_REVOKED))
    known = await status.read(TENANT, "a" * 32)
    assert (known.revision, known.observation) == (3, None)
    assert known.binding == _binding(3, STATUS_REVOKED)


async def test_a_record_that_was_set_back_takes_the_place_of_a_newer_one(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    await status.observed(_changed(7, ANSWER_YES), Observation(), 5)
    assert await status.publish([Draft(_changed(4, ANSWER_NO), back=True)]) == [True]
    assert (await status.read(TENANT, "a" * 32)).revision == 4
    assert (await _changes(redis))[-1] == {"permissions.withdraw": (["yes"], ["no"])}


async def test_what_was_told_long_ago_is_published_without_an_event(redis: Redis) -> None:
    status = Status(redis, SystemClock())
    assert await status.publish([Draft(_binding(3, STATUS_REVOKED), tell=False)]) == [False]
    assert await _events(redis) == []
    assert (await status.read(TENANT, "a" * 32)).revision == 3


class _Counting(Status):
    """A status that counts how often it reads."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, SystemClock())
        self.reads = 0

    async def read_many(self, wanted: Any) -> Any:
        self.reads += 1
        return await super().read_many(wanted)


class _Contended(Status):
    """A status that finds so many times that another publication came between."""

    def __init__(self, redis: Redis, left: int) -> None:
        super().__init__(redis, SystemClock())
        self.left = left

    async def _attempt(self, drafts: Any, known: Any) -> list[int]:
        if not self.left:
            return await super()._attempt(drafts, known)
        self.left -= 1
        return [-1] * len(drafts)


async def test_a_publication_that_others_come_between_is_made_again_and_not_for_ever(redis: Redis) -> None:
    assert await _Contended(redis, TRIES - 1).recorded(_binding(1))
    with pytest.raises(Aborted):
        await _Contended(redis, TRIES).recorded(_binding(2))
