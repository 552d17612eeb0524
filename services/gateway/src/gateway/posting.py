"""Own one POST to a receiver: to a pinned address, over TLS that proves the name, without proxies or redirects.

Of what the receiver says its status alone counts. Nothing here retries.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import h11

from gateway.destination import Refused, Resolve, ask_dns, parse, pinned

TIMEOUT_S: Final = 15.0
HEAD_BYTES: Final = 16 << 10
CHUNK: Final = 4 << 10
AGENT: Final = "Strongroom-Webhooks/1"
Connect = Callable[..., Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Failed(Exception):
    """Nothing was answered that could count; `reason` is a word of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Poster:
    """Send one body to one URL, each time over a connection of its own."""

    def __init__(
        self,
        *,
        loopback: bool = False,
        resolve: Resolve = ask_dns,
        context: ssl.SSLContext | None = None,
        connect: Connect = asyncio.open_connection,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self._loopback = loopback
        self._resolve = resolve
        self._context = context or ssl.create_default_context()
        self._connect = connect
        self._timeout_s = timeout_s

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Return the status of the answer; raise Failed: `not_public`, `no_name`, `tls`, `unreachable`, `timed_out`,
        `no_http`."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._post(url, headers, body)
        except Refused as error:
            raise Failed(error.reason) from None
        except TimeoutError:
            raise Failed("timed_out") from None
        except ssl.SSLError:
            raise Failed("tls") from None
        except (h11.RemoteProtocolError, asyncio.IncompleteReadError):
            raise Failed("no_http") from None
        except OSError:
            raise Failed("unreachable") from None

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        to = parse(url, loopback=self._loopback)
        try:
            address = await pinned(to, self._resolve)
        except OSError:
            raise Failed("no_name") from None
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": to.host} if to.tls else {}
        reader, writer = await self._connect(address, to.port, **tls)
        try:
            host = to.host if to.port == 443 else f"{to.host}:{to.port}"
            wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
            writer.write(_request(wire, to.target, {"host": host, **headers}, body))
            await writer.drain()
            return await _status(wire, reader)
        finally:
            writer.transport.abort()


def _request(wire: h11.Connection, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    fields = {**headers, "user-agent": AGENT, "connection": "close", "content-length": str(len(body))}
    events = (
        h11.Request(method="POST", target=target, headers=list(fields.items())),
        h11.Data(body),
        h11.EndOfMessage(),
    )
    return b"".join(wire.send(event) or b"" for event in events)


async def _status(wire: h11.Connection, reader: asyncio.StreamReader) -> int:
    """Return the answer's status. Its body is never read: nothing that a receiver says can fill memory or take time."""
    while True:
        event = wire.next_event()
        if event is h11.NEED_DATA:
            wire.receive_data(await reader.read(CHUNK))
        elif isinstance(event, h11.Response):
            return event.status_code
