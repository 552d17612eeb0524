"""Own the HTTP/1.1 connections: how many there may be, how long and how large a request's head, and what no HTTP gets.

uvicorn's parser has no limits; without them a slow or endless head holds a connection and its memory for ever.
"""

import asyncio
from typing import Any, Final

from common import context
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway import problems

HEAD_S: Final = 10.0
DRAIN_S: Final = 60.0  # for the rest of a body that was refused: long enough for an honest client to notice
HEAD_BYTES: Final = 32_768
RETRY_S: Final = 2
# Longer than clients (httpx: 5 s) and load balancers (60 s) keep an idle connection: they close it, and know that they
# did; one that is closed here may have a request under way.
IDLE_S: Final = 75


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a deadline and a size for each head, and problems instead of plain texts."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect the first head; beyond the limit of the listener tell so and close."""
        self._head_bytes: int | None = 0
        self._timer: asyncio.TimerHandle | None = None
        self._complete = True
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) >= self.limit_concurrency:
            self.connections.discard(self)
            self._refuse("unavailable", f"retry-after: {RETRY_S}\r\n")
            return
        self._arm(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count the bytes of a head that is still unfinished."""
        unfinished = self._head_bytes
        super().data_received(data)
        if unfinished is not None and self._head_bytes is not None:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self._refuse("headers_too_large")

    def on_message_begin(self) -> None:
        """Expect the rest of the head in time."""
        self._head_bytes, self._complete = 0, False
        self._arm(HEAD_S)
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take the target; one with a scheme and host names a place that is not ours."""
        if not self.url and not url.startswith(b"/"):
            raise ValueError("no path")
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header of the head; trailers come unchecked after a chunked body and are dropped."""
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request on; its body has a deadline of its own."""
        self._head_bytes = None
        self._disarm()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that nothing of this request is left to read."""
        self._complete = True
        self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Give a body that was refused unread its time to end."""
        super().on_response_complete()
        if not self._complete:
            self._arm(DRAIN_S)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002
        """Answer bytes that are no HTTP; the parser's text stays here."""
        self._refuse("malformed_request")

    def _refuse(self, code: str, more: str = "") -> None:
        request = context.accept(None, None)
        content = problems.body(problems.Problem(code), request.request_id)
        head = (
            f"HTTP/1.1 {problems.TYPES[code][0]} {problems.TYPES[code][1]}\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(content)}\r\n"
            f"x-request-id: {request.request_id}\r\n{more}"
            "cache-control: no-store\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + content)
        self.transport.close()

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


def options(connections: int) -> dict[str, Any]:
    """Return the uvicorn options that belong to this protocol; fewer than `connections` are served at once."""
    return {
        "limit_concurrency": connections,
        "timeout_keep_alive": IDLE_S,
        "http": HttpProtocol,
        "ws": "none",
        "loop": "none",
        "interface": "asgi3",
        "lifespan": "off",
    }
