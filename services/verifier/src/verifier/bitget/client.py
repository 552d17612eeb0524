"""Own the calls to Bitget: the bytes that were signed are the bytes sent, and every answer is data or one failure.

Never logs a body or a header, follows no redirect, keeps no cookie.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
import yarl
from common import logs, tracing
from common.clock import Clock
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter, SignedRequest

from verifier import measures
from verifier.bitget import codes, reply
from verifier.bitget.budget import Budget, Caller
from verifier.bitget.clock import ExchangeClock, Reading, Stamp, milliseconds
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.reply import Reply
from verifier.bitget.rounds import Rounds

# Signs a request, for demo or not, with so many milliseconds added to the signer's time; returns the time signed too.
Sign = Callable[[ExchangeRequest, bool, int], Awaitable[tuple[SignedRequest, int]]]
Query = Sequence[tuple[str, str]]

TIMEOUT: Final = aiohttp.ClientTimeout(total=5, connect=2)
ANSWER_LIMIT: Final = 1 << 20
CONNECTIONS: Final = 64
TIME_PATH: Final = "/api/v2/public/time"
# Headers whose values are not ours alone; every other value we send must not come back in a message.
PLAIN_HEADERS: Final = frozenset(("content-type", "locale", "paptrading"))
TIME_TRIES: Final = 3


def open_session(connections: int = CONNECTIONS) -> aiohttp.ClientSession:
    """Return an HTTP session with at most so many connections; the caller closes it."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=TIMEOUT,
        trust_env=False,
    )


class _TimeRefused(Exception):
    """The exchange refused the time of a request; `told` is its own time of the answer, in whatever shape."""

    def __init__(self, failure: ExchangeFailure, stamp: Stamp, told: Any) -> None:
        super().__init__(failure.code)
        self.failure = failure
        self.stamp = stamp
        self.told = told


class BitgetClient:
    """Make single calls to one base URL (http or https, without a trailing slash)."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, budget: Budget, clock: Clock) -> None:
        self._session = session
        self._base = base_url.rstrip("/")
        self._budget = budget
        self._rounds = Rounds(budget)
        self._clock = clock
        self.time = ExchangeClock(clock)

    async def get(self, caller: Caller, sign: Sign, path: str, query: Query, demo: bool) -> Any:
        """Return the `data` of one signed read; raise ExchangeFailure, or what `sign` raises.

        A request waits for its turn before it is signed, so that its time is fresh. When its time is refused and a
        correction helps, it is signed and sent once more.
        """
        for tries in range(1, TIME_TRIES + 1):
            try:
                return await self._signed(caller, sign, path, query, demo)
            except _TimeRefused as refused:
                changed = await self.time.refused(refused.stamp, refused.told, partial(self.reading, caller))
                if not changed or tries == TIME_TRIES:
                    raise self._told(refused.failure) from None
        raise AssertionError

    async def _signed(self, caller: Caller, sign: Sign, path: str, query: Query, demo: bool) -> Any:
        endpoint = f"GET {path}"
        parameters = [QueryParameter(name=name, value=value) for name, value in query]
        request = ExchangeRequest(method="GET", path=path, query=parameters)
        await self._rounds.turn(caller, endpoint)
        started, offset = self._clock.monotonic(), self.time.offset_ms
        signed, stamped_at_ms = await sign(request, demo, offset)
        stamp = Stamp(stamped_at_ms - offset, offset, (started + self._clock.monotonic()) / 2)
        answer = await self._send(caller, endpoint, signed)
        try:
            data = answer.data()
        except ExchangeFailure as failure:
            if failure.rule.group is Group.CLOCK:
                raise _TimeRefused(failure, stamp, answer.time) from None
            raise
        finally:
            if not answer.untimely:
                await self.time.answered(stamp, answer.time, partial(self.reading, caller))
        return data

    async def reading(self, caller: Caller) -> Reading | None:
        """Return one reading of Bitget's clock, None when it cannot be had."""
        endpoint = f"GET {TIME_PATH}"
        try:
            await self._budget.turn(caller, endpoint)
            started = self._clock.monotonic()
            data = (await self._send(caller, endpoint, SignedRequest(method="GET", target=TIME_PATH))).data()
        except ExchangeFailure:
            return None
        server_ms = milliseconds(data.get("serverTime")) if isinstance(data, dict) else None
        return None if server_ms is None else Reading(server_ms, (started + self._clock.monotonic()) / 2)

    def _told(self, failure: ExchangeFailure) -> ExchangeFailure:
        """Return a refusal of the time with what is known of the difference."""
        measured = self.time.measured_ms
        seconds = round((measured or 0) / 1000)
        if measured is None:
            failure.skew = "The difference could not be measured."
        elif seconds:
            failure.skew = f"Bitget's clock is {seconds:+d} s against ours."
        else:
            failure.skew = "Measured just now, its clock and ours agree."
        return failure

    async def _send(self, caller: Caller, endpoint: str, signed: SignedRequest) -> Reply:
        """Send exactly what was signed and return the reply; raise ExchangeFailure when there is none."""
        started = self._clock.monotonic()
        try:
            with tracing.span(f"exchange {endpoint}", "client", endpoint=endpoint) as span:
                answer = await self._exchange(endpoint, signed)
                span.set(status=answer.status, exchange_code=answer.code or "unreadable")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            measures.exchange("verify", self._clock.monotonic() - started, 0, measures.UNREACHABLE)
            self._log(endpoint, started, 0, type(error).__name__)
            raise ExchangeFailure(codes.UNREACHABLE, endpoint) from None
        seconds = self._clock.monotonic() - started
        measures.exchange("verify", seconds, answer.status, answer.code or measures.UNREADABLE)
        if answer.throttled:
            await self._budget.refused(caller, endpoint, address=answer.address)
        else:
            await self._budget.answered(caller, endpoint, answer.remaining)
        self._log(endpoint, started, answer.status, answer.code or measures.UNREADABLE)
        return answer

    async def _exchange(self, endpoint: str, signed: SignedRequest) -> Reply:
        headers = [(header.name, header.value) for header in signed.headers]
        sent = [value for name, value in headers if name.lower() not in PLAIN_HEADERS]
        url = yarl.URL(self._base + signed.target, encoded=True)
        async with self._session.request(
            signed.method, url, headers=headers, data=signed.body or None, allow_redirects=False
        ) as response:
            remaining = response.headers.get(reply.REMAINING)
            return reply.read(endpoint, response.status, await _read(response), remaining, sent)

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
