"""Own the open event streams: how many a tenant may have, what is written to them, and how each of them ends.

A stream ends when its token expires, when the client is too slow or gone, or when the process stops; the client then
resumes with Last-Event-ID. Nothing is invented here: only what the verifier published is sent.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from common import logs
from common.clock import Clock
from common.errors import Unavailable
from common.events import EventHub, Item, Reset
from common.tokens import Caller
from pydantic_core import to_json
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send
from strongroom.verifier.v1.verification_service_pb2 import Event

from gateway import event
from gateway.problems import Problem

HEARTBEAT_S: Final = 15.0
SEND_S: Final = 30.0  # that a client may leave its socket full
RETRY_S: Final = 10
HINT: Final = b"retry: 2000\n\n"
BEAT: Final = b":\n\n"
RESET: Final = b'event: reset\ndata: {"reason":"history_gone"}\n\n'
BUFFER: Final = 16  # a reader that lags further is held back in the hub, which gives it up after 1,000 events


class Stream:
    """One reader of one tenant's events. A task of its own reads, because a client may vanish at any await."""

    def __init__(self, hub: EventHub, tenant: str, after: str | None, binding_id: str | None) -> None:
        self._hub = hub
        self._tenant = tenant
        self._after = after
        self._binding_id = binding_id
        self._items: asyncio.Queue[Item | None] = asyncio.Queue(BUFFER)
        self._joined = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Return when every event from now on will be read; raise InvalidArgument or Unavailable if that fails."""
        self._task = asyncio.create_task(self._read())
        joined = asyncio.create_task(self._joined.wait())
        await asyncio.wait({self._task, joined}, return_when=asyncio.FIRST_COMPLETED)
        joined.cancel()
        if self._task.done():
            self._task.result()

    def end(self) -> None:
        """Let the reader come to its end, after what is already buffered."""
        if self._task is not None:
            self._task.cancel()
        if not self._items.full():
            self._items.put_nowait(None)

    async def _read(self) -> None:
        try:
            async with aclosing(self._hub.subscribe(self._tenant, self._after, self._joined)) as items:
                async for item in items:
                    await self._items.put(item)
        finally:
            if not self._items.full():
                self._items.put_nowait(None)

    async def frames(self, seconds: float, clock: Clock) -> AsyncIterator[bytes]:
        """Yield the stream's bytes for at most `seconds`, with a heartbeat wherever nothing happens."""
        deadline = clock.monotonic() + seconds
        yield HINT
        while (left := deadline - clock.monotonic()) > 0:
            if self._items.empty() and self._task is not None and self._task.done():
                break
            try:
                async with asyncio.timeout(min(HEARTBEAT_S, left)):
                    item = await self._items.get()
            except TimeoutError:
                if left > HEARTBEAT_S:
                    yield BEAT
                continue
            if item is None:
                break
            if isinstance(item, Reset):
                yield RESET
            elif self._binding_id in (None, item.binding_id):
                yield _frame(item)
        yield HINT


def _frame(item: Event) -> bytes:
    sent = event.data(item)
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (sent["id"].encode(), sent["type"].encode(), to_json(sent))


class Streams:
    """Every open stream of this process, at most `limit` of each tenant and `most` in all."""

    def __init__(self, hub: EventHub, limit: int, most: int, clock: Clock) -> None:
        self._hub = hub
        self._limit = limit
        self._most = most
        self._clock = clock
        self._open: dict[Stream, str] = {}
        self._stopping = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._open)

    async def open(self, caller: Caller, after: str | None, binding_id: str | None = None) -> "EventStream":
        """Return a stream as a response, already joined; raise Problem at the limit, or what the hub raises."""
        if self._stopping:
            raise Unavailable()
        if len(self._open) >= self._most:
            told = "This process has as many event streams open as it may."
            raise Unavailable("events_unavailable", told, retry_after=RETRY_S)
        if sum(tenant == caller.tenant for tenant in self._open.values()) >= self._limit:
            raise Problem("too_many_streams", headers={"Retry-After": str(RETRY_S)})
        stream = Stream(self._hub, caller.tenant, after, binding_id)
        self._open[stream] = caller.tenant
        try:
            await stream.open()
        except BaseException:
            self.release(stream)
            raise
        return EventStream(self, stream, stream.frames(caller.expires_at - self._clock.unix(), self._clock))

    def release(self, stream: Stream) -> None:
        """Forget a stream that has ended."""
        stream.end()
        self._open.pop(stream, None)

    def close(self) -> None:
        """End every stream; open no more."""
        self._stopping = True
        for stream in self._open:
            stream.end()


class EventStream(StreamingResponse):
    """The answer that carries a stream, and gives it back however it ends."""

    media_type = "text/event-stream"

    def __init__(self, streams: Streams, stream: Stream, frames: AsyncIterator[bytes]) -> None:
        super().__init__(frames, headers={"X-Accel-Buffering": "no"})
        self._streams = streams
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the stream or the client ends, or the client no longer reads."""

        async def patient(message: Message) -> None:
            async with asyncio.timeout(SEND_S):
                await send(message)

        try:
            await super().__call__(scope, receive, patient)
        except TimeoutError:
            logs.get().warning("stream_not_read", tenant=scope.get("tenant"))
        finally:
            self._streams.release(self._stream)
