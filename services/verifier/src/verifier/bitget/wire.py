"""Own one call to Bitget as it is: exactly the signed bytes go out, and the answer comes back as it arrives.

It reads nothing of an answer, repeats nothing that may change state, follows no redirect and keeps no cookie.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import aiohttp
import yarl
from strongroom.types.v1.request_pb2 import SignedRequest

CHUNK: Final = 1 << 16
CONNECT_S: Final = 2.0
# So long the exchange may be silent, and so long a whole answer may take.
SILENT_S: Final = 10.0
LONGEST_S: Final = 30.0
Pairs = Sequence[tuple[str, str]]


class NotSent(Exception):
    """No connection came about: not one byte of the request has left."""


class Lost(Exception):
    """The request may have arrived, and its answer, or the rest of it, did not come."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the exchange answered: the headers' names in small letters, the content decompressed."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: AsyncIterator[bytes]


class Wire:
    """Send to one base URL (http or https); `extra` are headers of ours that are not signed."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, extra: Pairs = ()) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._extra = tuple(extra)

    @asynccontextmanager
    async def send(self, signed: SignedRequest, seconds: float) -> AsyncIterator[Answer]:
        """Send what was signed and give the answer, for at most so many seconds; raise NotSent or Lost.

        A GET that finds a kept connection closed is sent once more, by another one; a POST never is.
        """
        headers = [*((header.name, header.value) for header in signed.headers), *self._extra]
        url = yarl.URL(self._base + signed.target, encoded=True)
        limits = aiohttp.ClientTimeout(total=min(seconds, LONGEST_S), connect=CONNECT_S, sock_read=SILENT_S)
        try:
            request = self._session.request(
                signed.method, url, headers=headers, data=signed.body or None, allow_redirects=False, timeout=limits
            )
            async with request as response:
                told = tuple((name.lower(), value) for name, value in response.headers.items())
                yield Answer(response.status, told, _content(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise NotSent from None
        except (aiohttp.ClientError, TimeoutError, OSError):
            raise Lost from None


async def _content(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the content; it is read no faster than it is taken."""
    try:
        async for chunk in response.content.iter_chunked(CHUNK):
            yield chunk
    except (aiohttp.ClientError, TimeoutError, OSError):
        raise Lost from None
