"""Own the channel that outlives its certificate: calls go to a connection made with the newest files.

A call that was begun ends on the connection where it began. Nothing here decides whom to trust.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc

from common.rpc.tls import Files, Pem

LOOK_S: Final = 1.0  # so often are the files looked at, and only when there is a call
DRAIN_S: Final = 300.0  # for calls under way; longer streams are cut, and begin anew


class RenewingChannel(grpc.aio.Channel):
    """A channel that is made anew when the files of its identity have changed."""

    def __init__(self, files: Files, make: Callable[[Pem], grpc.aio.Channel]) -> None:
        self._files = files
        self._make = make
        self._pem = files.pem()
        self._channel = make(self._pem)
        self._looked_at = float("-inf")
        self._before: dict[asyncio.Task[None], grpc.aio.Channel] = {}  # those being closed

    def current(self) -> grpc.aio.Channel:
        """Return the channel of the newest certificate."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_at + LOOK_S:
            return self._channel
        self._looked_at = now
        pem = self._files.pem()
        if pem is not self._pem:
            closing = asyncio.create_task(self._channel.close(DRAIN_S))
            self._before[closing] = self._channel
            closing.add_done_callback(lambda done: self._before.pop(done, None))
            self._pem, self._channel = pem, self._make(pem)
        return self._channel

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Return a method whose calls go to the newest channel."""
        return _Method(self, "unary_unary", args, kwargs)

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `unary_unary` does."""
        return _Method(self, "unary_stream", args, kwargs)

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `unary_unary` does."""
        return _Method(self, "stream_unary", args, kwargs)

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `unary_unary` does."""
        return _Method(self, "stream_stream", args, kwargs)

    async def __aenter__(self) -> "RenewingChannel":
        """Do nothing: connections are made when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close."""
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close every connection; calls under way have `grace` seconds."""
        before = dict(self._before)
        for closing in before:
            closing.cancel()
        await asyncio.gather(*before, return_exceptions=True)
        await asyncio.gather(*(channel.close(grace) for channel in (*before.values(), self._channel)))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the newest connection."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the newest connection is in another state."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the newest connection is made."""
        await self.current().channel_ready()


class _Method:
    """A method whose calls go to the newest channel; `path` is its name."""

    def __init__(self, renewing: RenewingChannel, kind: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.path: str = args[0]
        self._renewing = renewing
        self._make = (kind, args, kwargs)
        self._made: tuple[Any, Any] = (None, None)  # the channel, and the method made on it

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Begin a call."""
        channel = self._renewing.current()
        if self._made[0] is not channel:
            kind, make_args, make_kwargs = self._make
            self._made = (channel, getattr(channel, kind)(*make_args, **make_kwargs))
        return self._made[1](*args, **kwargs)
