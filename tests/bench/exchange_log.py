"""Own what the simulated exchange received: each call once, read from its log in time, and counts over minutes."""

import asyncio
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

POLL_S = 1.0
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Received:
    """One call: when the exchange got it, whose it was, its target, and the exchange code of the answer."""

    at_ms: int
    account: str
    target: str
    code: str


class ExchangeLog:
    """Follow the log of a simulator. It keeps 1000 calls: poll often enough."""

    def __init__(self, session: aiohttp.ClientSession, control_url: str) -> None:
        self.calls: list[Received] = []
        self.missed = 0
        self._session = session
        self._url = control_url + "/requests"
        self._after = 0

    async def begin(self) -> None:
        """Leave out what the exchange has received so far."""
        async with self._session.get(self._url, params={"after": self._after}) as answer:
            self._after = (await answer.json())["received"]

    async def follow(self) -> None:
        """Read on until cancelled."""
        while True:
            await self.read()
            await asyncio.sleep(POLL_S)

    async def read(self) -> None:
        """Read what is new."""
        async with self._session.get(self._url, params={"after": self._after}) as answer:
            self._take(await answer.json())

    def _take(self, told: dict[str, Any]) -> None:
        new = told["received"] - self._after
        self.missed += max(0, new - len(told["requests"]))
        self._after = told["received"]
        self.calls += [Received(one["at_ms"], one["account"], one["target"], one["code"]) for one in told["requests"]]


def busiest_minute(times_ms: Sequence[int]) -> int:
    """Return how many of these ascending times lie within any one minute, wherever it begins."""
    return max((bisect_right(times_ms, start + MINUTE_MS - 1) - i for i, start in enumerate(times_ms)), default=0)


def busiest_clock_minute(times_ms: Sequence[int]) -> int:
    """Return how many of these times lie within any minute of the clock."""
    return max(Counter(at // MINUTE_MS for at in times_ms).values(), default=0)
