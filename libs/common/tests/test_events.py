"""A reader of events misses nothing, gets nothing twice, and is told when history is gone."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cli.valkey import Valkey
from common.errors import InvalidArgument, Unavailable
from common.events import EventHub, Reset, epoch_key, stream_key
from common.redis import connect
from redis.asyncio import Redis
from strongroom.verifier.v1.verification_service_pb2 import Event

TENANT = "a" * 26


@pytest.fixture
async def redis(tmp_path: Path) -> AsyncIterator[Redis]:
    with Valkey(tmp_path, appendonly=False) as server:
        client = connect(server.url)
        yield client
        await client.aclose()


@pytest.fixture
async def hub(redis: Redis) -> AsyncIterator[EventHub]:
    made = EventHub(redis)
    yield made
    await made.close()


async def publish(redis: Redis, revision: int, epoch: str = "00000001", tenant: str = TENANT) -> str:
    await redis.set(epoch_key(tenant), epoch)
    event = Event(binding_id="0" * 32, revision=revision)
    entry = await redis.xadd(stream_key(tenant), {"epoch": epoch, "event": event.SerializeToString()})
    return f"{epoch}-{entry.decode()}"


class Reader:
    """Collects what a subscription yields until it is cut."""

    def __init__(
        self, hub: EventHub, after: str | None = None, tenant: str = TENANT, joined: asyncio.Event | None = None
    ) -> None:
        self.seen: list[int | str] = []
        self.last = after
        self._task = asyncio.create_task(self._run(hub, after, tenant, joined))

    async def _run(self, hub: EventHub, after: str | None, tenant: str, joined: asyncio.Event | None) -> None:
        async for item in hub.subscribe(tenant, after, joined):
            self.seen.append("reset" if isinstance(item, Reset) else item.revision)
            self.last = self.last if isinstance(item, Reset) else item.id

    async def until(self, wanted: list[int | str]) -> None:
        async with asyncio.timeout(10):
            while self.seen != wanted:
                await asyncio.sleep(0.005)

    async def ended(self) -> None:
        async with asyncio.timeout(10):
            await self._task

    async def cut(self) -> str | None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.last


async def test_a_reader_resumes_after_its_last_event_and_goes_on_live(redis: Redis, hub: EventHub) -> None:
    first = await publish(redis, 1)
    await publish(redis, 2)
    reader = Reader(hub, first)
    await reader.until([2])
    await publish(redis, 3)
    await reader.until([2, 3])
    await reader.cut()


async def test_a_reader_cut_at_random_moments_gets_every_event_once(redis: Redis, hub: EventHub) -> None:
    chance, total = random.Random(7), 400
    start = await publish(redis, 0)
    writer = asyncio.create_task(write(redis, total))
    seen: list[int | str] = []
    last: str | None = start
    while len(seen) < total:
        reader = Reader(hub, last)
        await asyncio.sleep(chance.random() * 0.02)
        last = await reader.cut()
        seen += reader.seen
    await writer
    assert seen == list(range(1, total + 1))


async def write(redis: Redis, total: int) -> None:
    for revision in range(1, total + 1):
        await publish(redis, revision)


async def test_a_hub_that_lets_its_readers_go_gives_them_first_what_it_has(redis: Redis, hub: EventHub) -> None:
    joined = asyncio.Event()
    reader = Reader(hub, joined=joined)
    await joined.wait()
    for revision in (1, 2):
        await publish(redis, revision)
    await reader.until([1, 2])
    hub.release()
    await reader.ended()
    assert reader.seen == [1, 2]


async def test_an_emptied_redis_resets_live_and_returning_readers(redis: Redis, hub: EventHub) -> None:
    first = await publish(redis, 1)
    live = Reader(hub, first)
    await publish(redis, 2)
    await live.until([2])
    await redis.flushall()
    await publish(redis, 3, "00000002")
    await live.until([2, "reset", 3])
    returning = Reader(hub, first)
    await returning.until(["reset"])
    await publish(redis, 4, "00000002")
    await returning.until(["reset", 4])
    await asyncio.gather(live.cut(), returning.cut())


async def test_a_redis_whose_clock_is_behind_still_reaches_live_readers(redis: Redis, hub: EventHub) -> None:
    first = await publish(redis, 1)
    joined = asyncio.Event()
    live = Reader(hub, first, joined=joined)
    await asyncio.wait_for(joined.wait(), 10)
    await redis.flushall()
    event = Event(revision=9).SerializeToString()
    await redis.xadd(stream_key(TENANT), {"epoch": "00000003", "event": event}, id="5-0")
    await redis.set(epoch_key(TENANT), "00000003")
    await live.until(["reset", 9])
    await live.cut()


async def test_trimmed_history_is_a_reset_and_not_a_silent_gap(redis: Redis, hub: EventHub) -> None:
    first = await publish(redis, 1)
    for revision in range(2, 6):
        await publish(redis, revision)
    await redis.xtrim(stream_key(TENANT), maxlen=2, approximate=False)
    reader = Reader(hub, first)
    await reader.until(["reset"])
    await reader.cut()


async def test_a_reader_never_sees_another_tenants_events(redis: Redis, hub: EventHub) -> None:
    mine, theirs = await publish(redis, 1), await publish(redis, 1, "0000000b", "b" * 26)
    reader = Reader(hub, mine)
    await publish(redis, 66, "0000000b", "b" * 26)
    await publish(redis, 2)
    await reader.until([2])
    await reader.cut()
    curious = Reader(hub, theirs)
    await curious.until(["reset"])
    await curious.cut()
    assert 66 not in curious.seen


@pytest.mark.parametrize("after", ["", "1-1", "zzzzzzzz-1-1", "00000001-1-1; DROP", "00000001-" + "9" * 40 + "-0"])
async def test_an_id_that_is_none_of_ours_is_refused(after: str, hub: EventHub) -> None:
    with pytest.raises(InvalidArgument):
        await anext(hub.subscribe(TENANT, after or "-"))


async def test_a_gone_redis_is_told_at_once(tmp_path: Path) -> None:
    gone = EventHub(connect("redis://127.0.0.1:1/0"))
    with pytest.raises(Unavailable) as caught:
        await asyncio.wait_for(anext(gone.subscribe(TENANT)), 3)
    assert caught.value.retry_after == 2


async def test_the_blocking_read_ends_soon_after_the_last_reader_went(redis: Redis, hub: EventHub) -> None:
    await publish(redis, 1)
    readers = [Reader(hub) for _ in range(3)]
    async with asyncio.timeout(5):
        while len(hub._readers.get(TENANT, ())) < 3:
            await asyncio.sleep(0.005)
    assert len(hub._feeds) == 1
    for reader in readers:
        await reader.cut()
    async with asyncio.timeout(5):
        while hub._feeds:
            await asyncio.sleep(0.02)


async def test_an_entry_that_nobody_of_ours_wrote_is_passed_over(redis: Redis, hub: EventHub) -> None:
    first = await publish(redis, 1)
    reader = Reader(hub, first)
    far = Event(occurred_at={"seconds": 1 << 62}).SerializeToString()
    lines = {"epoch": "00000001\ndata: x\n\n", "event": b""}
    misfits = ({"x": "y"}, {"epoch": "00000001", "event": b"\xff\xff"}, {"epoch": b"\xff", "event": b""})
    for fields in (*misfits, {"epoch": "00000001", "event": far}, lines):
        await redis.xadd(stream_key(TENANT), fields)
    await publish(redis, 2)
    await reader.until([2])
    again = Reader(hub, first)
    await again.until([2])
    await asyncio.gather(reader.cut(), again.cut())
