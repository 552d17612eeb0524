"""One address in front of the processes of a service that are ready, as a cluster's Service is."""

import asyncio
import contextlib
from types import TracebackType
from typing import Self


class Balancer:
    """A context manager that listens at `address`; a connection goes to one of `ports` and stays there to its end."""

    def __init__(self, address: str, *ports: int) -> None:
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self.ports = list(ports)
        self._turn = 0
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._ending = False

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._connected, self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut whatever is open."""
        assert self._server is not None
        self._ending = True
        self._server.close()
        pairs = list(self._pairs)
        for pair in pairs:
            pair.cancel()
        await asyncio.gather(*pairs, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection at once: a coroutine here could be cancelled before it begins, and would close nothing."""
        if self._ending:
            writer.transport.abort()
            return
        pair = asyncio.create_task(self._paired(reader, writer))
        self._pairs.add(pair)
        pair.add_done_callback(lambda _: (self._pairs.discard(pair), writer.transport.abort()))

    async def _paired(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection(self._host, self.ports[self._turn % len(self.ports)])
            try:
                await asyncio.gather(_pump(reader, back), _pump(there, writer))
                writer.close()
                await writer.wait_closed()
            finally:
                back.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes until its end, and the end."""
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
