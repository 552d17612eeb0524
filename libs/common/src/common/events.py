"""Own the reading of status events: one Redis stream a tenant, resumable, with a reset when history is gone.

An event id is `<epoch>-<stream id>`. The epoch is made with the tenant's first event and dies with Redis's memory, so
that ids of an emptied or replaced Redis are never confused with ours. Writing belongs to the verifier alone.
"""

import asyncio
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from strongroom.verifier.v1.verification_service_pb2 import Event

from common import logs
from common.clock import rfc3339
from common.errors import InvalidArgument, Unavailable

EVENT_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,16}-[0-9]{1,16})")
QUEUE_LIMIT: Final = 1000
BLOCK_MS: Final = 1000


class Reset:
    """Tell a reader that what came after its last event is gone: it must read the state again."""


Item = Event | Reset
Entry = tuple[bytes, dict[bytes, bytes]]


def epoch_key(tenant: str) -> str:
    """Return the key of the tenant's epoch; the braces keep a tenant's keys in one cluster slot."""
    return f"sr:{{{tenant}}}:epoch"


def stream_key(tenant: str) -> str:
    """Return the key of the tenant's event stream."""
    return f"sr:{{{tenant}}}:events"


def parse_id(event_id: str) -> tuple[str, str]:
    """Return (epoch, stream id); raise InvalidArgument when `event_id` is not one of ours."""
    match = EVENT_ID.fullmatch(event_id)
    if not match:
        raise InvalidArgument("last_event_id", "Last-Event-ID is not an id of this stream.", field="Last-Event-ID")
    return match[1], match[2]


def _order(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)


@dataclass(eq=False)
class _Subscriber:
    """One reader's buffer; `lost` says that it was too slow and has to resume from its last event."""

    queue: asyncio.Queue[tuple[str, Item] | None] = field(default_factory=lambda: asyncio.Queue(QUEUE_LIMIT))
    lost: bool = False

    def put(self, stream_id: str, item: Item) -> None:
        try:
            self.queue.put_nowait((stream_id, item))
        except asyncio.QueueFull:
            self.lost = True

    def end(self) -> None:
        """End the reader after what it has been given."""
        if self.queue.full():
            self.lost = True
        else:
            self.queue.put_nowait(None)


class EventHub:
    """Fan the tenants' streams out to any number of readers with one blocking read a tenant."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._readers: dict[str, set[_Subscriber]] = {}
        self._feeds: dict[str, asyncio.Task[None]] = {}
        self._closing = False

    async def subscribe(
        self, tenant: str, after: str | None = None, joined: asyncio.Event | None = None
    ) -> AsyncGenerator[Item, None]:
        """Yield the tenant's events: those after the event id `after` first, then live, each once.

        A Reset is yielded where history is gone. The iterator ends when the reader falls too far behind; it may
        then resume. `joined` is set once no later event can be missed. Raises InvalidArgument for a malformed
        `after`, Unavailable when Redis cannot be asked.
        """
        wanted = parse_id(after) if after else None
        subscriber = _Subscriber()
        await self._join(tenant, subscriber)
        try:
            # A feed shared with other readers may lag behind what this one has seen elsewhere.
            last = wanted[1] if wanted else "0-0"
            backlog = await self._backlog(tenant, wanted)
            if joined is not None:
                joined.set()
            for last, item in backlog:  # noqa: B007  the last id goes on below
                yield item
            while not subscriber.lost:
                entry = await subscriber.queue.get()
                if entry is None:
                    return
                stream_id, item = entry
                if isinstance(item, Reset):
                    last = "0-0"
                elif _order(stream_id) <= _order(last):
                    continue
                yield item
        finally:
            self._leave(tenant, subscriber)

    def release(self) -> None:
        """End every reader after what it has been given; it may resume elsewhere."""
        for readers in self._readers.values():
            for reader in readers:
                reader.end()

    async def close(self) -> None:
        """End every blocking read; takes up to one blocking period."""
        self._closing = True
        await asyncio.gather(*self._feeds.values(), return_exceptions=True)

    async def _backlog(self, tenant: str, wanted: tuple[str, str] | None) -> list[tuple[str, Item]]:
        if wanted is None:
            return []
        epoch, last = wanted
        try:
            current, entries, first, newest = await asyncio.shield(self._history(tenant, last))
        except RedisError as error:
            raise _unavailable(error) from None
        inside = first and newest and _order(first[0][0].decode()) <= _order(last) <= _order(newest[0][0].decode())
        if current != epoch.encode() or not inside:
            return [("0-0", Reset())]
        found = ((entry_id.decode(), event_of(entry_id, fields)) for entry_id, fields in entries)
        return [(entry_id, event) for entry_id, event in found if event is not None]

    async def _history(self, tenant: str, last: str) -> list[Any]:
        async with self._redis.pipeline(transaction=True) as batch:
            batch.get(epoch_key(tenant))
            batch.xrange(stream_key(tenant), min=f"({last}")
            batch.xrange(stream_key(tenant), count=1)
            batch.xrevrange(stream_key(tenant), count=1)
            return await batch.execute()

    async def _join(self, tenant: str, subscriber: _Subscriber) -> None:
        """Add a reader; with the first one, start the tenant's blocking read at the stream's present end."""
        try:
            epoch, newest = await asyncio.shield(self._position(tenant))
        except RedisError as error:
            raise _unavailable(error) from None
        self._readers.setdefault(tenant, set()).add(subscriber)
        if tenant not in self._feeds:
            self._feeds[tenant] = asyncio.create_task(self._feed(tenant, epoch, newest))

    def _leave(self, tenant: str, subscriber: _Subscriber) -> None:
        readers = self._readers.get(tenant, set())
        readers.discard(subscriber)
        if not readers:
            self._readers.pop(tenant, None)

    async def _position(self, tenant: str) -> tuple[bytes | None, str]:
        async with self._redis.pipeline(transaction=True) as batch:
            batch.get(epoch_key(tenant))
            batch.xrevrange(stream_key(tenant), count=1)
            epoch, newest = await batch.execute()
        return epoch, newest[0][0].decode() if newest else "0-0"

    async def _feed(self, tenant: str, epoch: bytes | None, last: str) -> None:
        """Read while anybody listens; after an outage from the last entry, after a change of epoch from the new start.

        It is never cancelled: a Redis call that is cut loses its connection, and readers come and go by the thousand.
        """
        while tenant in self._readers and not self._closing:
            try:
                entries = await self._read(tenant, last)
                present: Any = None if entries else await self._redis.get(epoch_key(tenant))
            except RedisError as error:
                logs.get().warning("event_feed_interrupted", error=type(error).__name__)
                await asyncio.sleep(BLOCK_MS / 1000)
                continue
            if not entries and present is not None and epoch is not None and present != epoch:
                # A Redis whose clock is behind ours would number new entries below `last`: start over.
                self._broadcast(tenant, "0-0", Reset())
                epoch, last = present, "0-0"
            for entry_id, fields in entries:
                last, event = entry_id.decode(), event_of(entry_id, fields)
                if event is None:
                    continue
                if epoch is not None and fields[b"epoch"] != epoch:
                    self._broadcast(tenant, "0-0", Reset())
                epoch = fields[b"epoch"]
                self._broadcast(tenant, last, event)
        del self._feeds[tenant]

    async def _read(self, tenant: str, last: str) -> list[Entry]:
        answer: Any = await self._redis.xread({stream_key(tenant): last}, count=500, block=BLOCK_MS)
        if isinstance(answer, dict):
            return [entry for entries in answer.values() for batch in entries for entry in batch]
        return answer[0][1] if answer else []

    def _broadcast(self, tenant: str, stream_id: str, item: Item) -> None:
        for subscriber in self._readers.get(tenant, ()):
            subscriber.put(stream_id, item)


def event_of(entry_id: bytes, fields: dict[bytes, bytes]) -> Event | None:
    """Return the event of an entry, None for one that nobody of ours wrote."""
    try:
        event = Event.FromString(fields[b"event"])
        event.id = f"{fields[b'epoch'].decode()}-{entry_id.decode()}"
        parse_id(event.id)
        rfc3339(event.occurred_at)
    except (KeyError, ValueError, OverflowError, DecodeError, InvalidArgument):
        logs.get().warning("event_malformed")
        return None
    return event


def _unavailable(error: Exception) -> Unavailable:
    logs.get().warning("redis_unavailable", error=type(error).__name__)
    return Unavailable("events_unavailable", "Events are not available at the moment.", retry_after=2)
