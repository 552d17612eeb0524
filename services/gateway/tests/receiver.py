"""A receiver of webhooks on loopback: real HTTP, which answers as a test tells it and keeps what came."""

import asyncio
import ssl
from typing import Any, Self


class Receiver:
    """Keeps (path, headers, body) of every request, and answers `status`, or what `judge` says of the body."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.judge: Any = None
        self.raw: bytes | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
            body = await reader.readexactly(int(headers["content-length"]))
            self.got.append((head[0], headers, body))
            status = self.judge(body) if self.judge else self.status
            writer.write(self.raw or f"HTTP/1.1 {status} As told\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
