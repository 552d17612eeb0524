"""Own the calls to Bitget: the bytes that were signed are the bytes sent, and every answer is data or one failure.

Never logs a body or a header, follows no redirect, keeps no cookie, and never relays a text that repeats what we sent.
"""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
import yarl
from common import logs, strict_json
from common.clock import Clock
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, QueryParameter, SignResponse

from verifier.bitget import codes
from verifier.bitget.budget import Budget, Caller
from verifier.bitget.codes import ExchangeFailure, Group

Sign = Callable[[ExchangeRequest, bool], Awaitable[SignResponse]]
Query = Sequence[tuple[str, str]]

TIMEOUT: Final = aiohttp.ClientTimeout(total=5, connect=2)
ANSWER_LIMIT: Final = 1 << 20
CONNECTIONS: Final = 64
TIME_PATH: Final = "/api/v2/public/time"
# Headers whose values are not ours alone; every other value we send must not come back in a message.
PLAIN_HEADERS: Final = frozenset(("content-type", "locale", "paptrading"))
_CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,16}")
_ADDRESS: Final = re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b")


def open_session() -> aiohttp.ClientSession:
    """Return the HTTP session of a process; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=TIMEOUT,
        trust_env=False,
    )


class BitgetClient:
    """Make single calls to one base URL (http or https, without a trailing slash)."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, budget: Budget, clock: Clock) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._budget = budget
        self._clock = clock

    async def get(self, caller: Caller, sign: Sign, path: str, query: Query, demo: bool) -> Any:
        """Return the `data` of one signed read; raise ExchangeFailure, or what `sign` raises."""
        parameters = [QueryParameter(name=name, value=value) for name, value in query]
        signed = await sign(ExchangeRequest(method="GET", path=path, query=parameters), demo)
        return await self._send(caller, f"GET {path}", signed)

    async def skew(self, caller: Caller) -> float:
        """Return by how many seconds Bitget's clock is ahead of ours; raise ExchangeFailure."""
        started = self._clock.unix()
        data = await self._send(caller, f"GET {TIME_PATH}", SignResponse(method="GET", target=TIME_PATH))
        try:
            return int(data["serverTime"]) / 1000 - (started + self._clock.unix()) / 2
        except (TypeError, KeyError, ValueError):
            raise ExchangeFailure(codes.UNREACHABLE, f"GET {TIME_PATH}") from None

    async def _send(self, caller: Caller, endpoint: str, signed: SignResponse) -> Any:
        """Send exactly what was signed, when it is its turn, and return the answer's `data`."""
        await self._budget.turn(caller, endpoint)
        started = self._clock.monotonic()
        try:
            status, content = await self._exchange(signed)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._log(endpoint, started, 0, type(error).__name__)
            raise ExchangeFailure(codes.UNREACHABLE, endpoint) from None
        sent = [header.value for header in signed.headers if header.name.lower() not in PLAIN_HEADERS]
        try:
            data = _parse(endpoint, status, content, sent)
        except ExchangeFailure as failure:
            if failure.rule.group is Group.THROTTLED:
                await self._budget.refused(caller, endpoint)
            self._log(endpoint, started, status, failure.code or "unreadable")
            raise
        await self._budget.answered(caller, endpoint, None)
        self._log(endpoint, started, status, codes.OK)
        return data

    async def _exchange(self, signed: SignResponse) -> tuple[int, bytes]:
        headers = [(header.name, header.value) for header in signed.headers]
        url = yarl.URL(self._base + signed.target, encoded=True)
        async with self._session.request(
            signed.method, url, headers=headers, data=signed.body or None, allow_redirects=False
        ) as response:
            return response.status, await _read(response)

    def _log(self, endpoint: str, started: float, status: int, outcome: str) -> None:
        elapsed = round((self._clock.monotonic() - started) * 1000, 1)
        logs.get().debug("exchange_call", path=endpoint, status=status, exchange_code=outcome, duration_ms=elapsed)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, decompressed; an over-long one reads as no answer at all."""
    content = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        content += chunk
        if len(content) > ANSWER_LIMIT:
            return b""
    return bytes(content)


def _parse(endpoint: str, status: int, content: bytes, sent: Sequence[str]) -> Any:
    """Decide by the body; the status only counts for what the body leaves open."""
    try:
        answer = strict_json.loads(content)
    except (ValueError, json.JSONDecodeError):
        answer = None
    code = answer.get("code") if isinstance(answer, dict) else None
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    if not isinstance(answer, dict) or not isinstance(code, str) or not _CODE.fullmatch(code):
        raise ExchangeFailure(codes.UNREACHABLE, endpoint)
    if code == codes.OK:
        return answer.get("data")
    text = answer.get("msg", answer.get("message"))
    message = relayable(text, sent)
    address = _ADDRESS.search(message)
    raise ExchangeFailure(codes.meaning(code, status), endpoint, code, message, address[0] if address else "")


def relayable(text: object, sent: Sequence[str]) -> str:
    """Return the exchange's text if it is short, printable and repeats nothing that we sent; otherwise nothing."""
    if not isinstance(text, str) or len(text) > 200 or not text.isprintable():
        return ""
    lowered = text.lower()
    return "" if any(value.lower() in lowered for value in sent if value) else text
