"""Own one HTTP exchange with one of Vault's addresses: one aiohttp session, how long is waited, and no redirects.

Nothing here repeats a call, and nobody is waited for longer than the caller itself waits.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from common import context
from common.errors import Internal
from yarl import URL

from vault.hashicorp.login import Connection
from vault.hashicorp.nodes import INDEX, Node

# A server that says nothing for 5 s is given up; waiting for a free connection is not its silence.
SILENCE_S: Final = 5.0
TOTAL_S: Final = 8.0
# A folder's names are decrypted one by one: 100,000 of them take the server several seconds.
LIST_S: Final = 60.0
CONNECT_S: Final = 1.0
PROBE_S: Final = 2 * SILENCE_S
MARGIN_S: Final = 0.05  # left of the caller's time, to tell it that Vault does not answer
CONNECTIONS: Final = 64  # to each address, so that one which is silent does not use up those to the others


@dataclass(frozen=True, slots=True)
class Said:
    """What came back: the status, the index of the server's storage ("": none), and the body."""

    status: int
    index: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer; `sent` says whether the request may have reached Vault, `silent` that it was waited for in vain."""

    sent: bool
    silent: bool = False


class Exchange:
    """The connections to every address."""

    def __init__(self, connection: Connection) -> None:
        self._ca_file = connection.ca_file
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Open the session; no connection is made yet."""
        verify = ssl.create_default_context(cafile=self._ca_file) if self._ca_file else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS, ssl=verify),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session:
            await self._session.close()

    async def send(
        self,
        node: Node,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        *,
        limit_s: float = LIST_S,
    ) -> Said | Lost:
        """Make one call and return what came back; the address's breaker hears of it."""
        if self._session is None:
            raise Internal("session_closed")
        now, left = asyncio.get_running_loop().time, context.remaining_s()
        if left is not None and left <= MARGIN_S:
            node.breaker.given_up(now())
            return Lost(sent=False)
        total, silence = (TOTAL_S, SILENCE_S) if method != "LIST" else (LIST_S, LIST_S)
        limit = min(total, limit_s, left - MARGIN_S if left is not None else total)
        if method == "LIST":  # the same call with a method that every proxy knows
            method, path = "GET", path + "?list=true"
        timeout = aiohttp.ClientTimeout(total=limit, sock_connect=CONNECT_S, sock_read=silence)
        url, sent = URL(node.base + path, encoded=True), now()
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, allow_redirects=False, timeout=timeout
            ) as reply:
                said = Said(reply.status, reply.headers.get(INDEX, ""), await reply.read())
        except asyncio.CancelledError:
            node.breaker.given_up(now())
            raise
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            node.breaker.failed(now())
            return Lost(sent=False)
        except TimeoutError:
            (node.breaker.failed if limit >= silence else node.breaker.given_up)(now())
            return Lost(sent=True, silent=True)
        except (aiohttp.ClientError, OSError):
            node.breaker.failed(now())
            return Lost(sent=True)
        node.answered(sent)
        return said
