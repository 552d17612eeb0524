"""Own the port of a gRPC process for operators: probes speak gRPC there, Prometheus asks for /metrics by HTTP.

The first bytes of a connection say which it is. In plaintext, for whoever is inside; it tells health and measures and
takes no other word. It never holds a connection for longer than its head takes, but those of probes.
"""

import asyncio
import socket
from contextlib import suppress
from typing import Final

from common import metrics

PREFACE: Final = b"PRI "  # how every HTTP/2 connection begins, and so every gRPC one
HEAD_S: Final = 5.0
HEAD_BYTES: Final = 8192
CHUNK: Final = 1 << 14
CONNECTIONS: Final = 256


class OpsPort:
    """Listen on `address`; `port` is the one in use, also when 0 was asked for. Raises OSError when it is taken."""

    def __init__(self, address: str) -> None:
        self._socket = _bound(address)
        self.port: int = self._socket.getsockname()[1]
        self._health = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, health: int) -> None:
        """Serve; `health` is the loopback port of the health service."""
        self._health = health
        self._server = await asyncio.start_server(self._serve, sock=self._socket, limit=HEAD_BYTES)

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await self._answer(reader, writer)
        finally:
            self._open.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_S):
            first = await reader.readexactly(len(PREFACE))
            head = b"" if first == PREFACE else first + await reader.readuntil(b"\r\n\r\n")
        if head:
            writer.write(_page(head))
            async with asyncio.timeout(HEAD_S):
                await writer.drain()
            return
        from_health, to_health = await asyncio.open_connection("127.0.0.1", self._health)
        to_health.write(first)
        ways = [asyncio.create_task(_pass(reader, to_health)), asyncio.create_task(_pass(from_health, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            to_health.close()


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host.strip("[]"), int(port)))
        made.listen()
    except OSError as error:
        made.close()
        raise OSError(error.errno, error.strerror, address) from None
    made.setblocking(False)
    return made


def _page(head: bytes) -> bytes:
    """Return the whole answer to a request, of which nothing but method and path counts."""
    method, _, rest = head.partition(b" ")
    path = rest.split(b" ", 1)[0].split(b"?", 1)[0]
    if path != b"/metrics":
        status, body = "404 Not Found", b""
    elif method != b"GET":
        status, body = "405 Method Not Allowed", b""
    else:
        status, body = "200 OK", metrics.page()
    fields = (f"Content-Type: {metrics.CONTENT_TYPE}", f"Content-Length: {len(body)}", "Cache-Control: no-store")
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, "Connection: close", "\r\n")).encode() + body


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while chunk := await source.read(CHUNK):
        target.write(chunk)
        await target.drain()
