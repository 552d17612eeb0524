"""Own who may call Bitget when: a call asks for its turn first, and tells afterwards how it was answered.

Here is the waiting, and the budget of a process that stands alone. It never knows what a call is for.
"""

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol
from weakref import WeakValueDictionary

from common.clock import Clock

from verifier.bitget import codes, limits
from verifier.bitget.codes import ExchangeFailure

# Bitget allows 6000 calls a minute from one address and then shuts it out for five minutes. With the burst, no minute
# of verification has more than 5450 calls, and none with trading, which may run further ahead, more than 5850.
CALLS_PER_MINUTE: Final = 5400
# A burst is so many hundredths of a minute's calls.
BURST: Final = 1 / 108
PRIORITY_BURST: Final = 1 / 12
# Later than this is too late: the job is better tried again.
LATEST_S: Final = 20.0
# So many refusals in a row are about the address, not about one account.
STORM: Final = 3
PROBE_S: Final = 15.0
# After a refusal the endpoint's second is over.
REFUSED_S: Final = 1.1
SPENT_S: Final = 1.0
ALONE: Final = 1 / 10
OWNERS_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a call is made: `owner` is the account's uid once it is known, before that the binding's id."""

    tenant: str
    owner: str


class Budget(Protocol):
    """What an exchange client asks before a call and tells after it; `endpoint` is for example "GET /api/v3/…"."""

    async def turn(self, caller: Caller, endpoint: str) -> None:
        """Wait for this call's turn; raise ExchangeFailure (throttled) when it would come too late."""

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """Note an answer; `remaining` is how many calls are left in this second, as the exchange said."""

    async def refused(self, caller: Caller, endpoint: str) -> None:
        """Note an answer that there have been too many calls."""


class Held(Enum):
    """What holds a call back: its endpoint's limit, what all calls of its tenant share, or the address's penalty."""

    ENDPOINT = "endpoint"
    SHARED = "shared"
    SHUT = "shut"


class Waiting(ABC):
    """The queue of one process: first come, first served within a tenant, and only the first of them asks.

    A call that its endpoint holds back lets those behind it pass.
    """

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def _ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        """Take the turn and return (0, …), or return for how many seconds what holds the call back."""

    async def turn(self, caller: Caller, endpoint: str) -> None:
        """See `Budget`."""
        try:
            async with asyncio.timeout(LATEST_S), self._lock(f"{caller.owner} {endpoint}"):
                await self._wait(caller, endpoint)
        except TimeoutError:
            raise _too_late(endpoint) from None

    async def _wait(self, caller: Caller, endpoint: str) -> None:
        while True:
            async with self._lock(caller.tenant):
                seconds, held = await self._ask(caller, endpoint)
                while seconds and held is Held.SHARED:
                    await _sleep(seconds, endpoint)
                    seconds, held = await self._ask(caller, endpoint)
            if not seconds:
                return
            await _sleep(seconds, endpoint)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


async def _sleep(seconds: float, endpoint: str) -> None:
    if seconds > LATEST_S:
        raise _too_late(endpoint)
    await asyncio.sleep(seconds)


def _too_late(endpoint: str) -> ExchangeFailure:
    return ExchangeFailure(codes.meaning("429", 429), endpoint)


class LocalBudget(Waiting):
    """One process's own budget: `per_minute` calls, a small burst, and each endpoint's limit.

    After three refusals in a row nobody calls for a quarter of a minute.
    """

    def __init__(self, clock: Clock, per_minute: float = CALLS_PER_MINUTE) -> None:
        super().__init__()
        self._clock = clock
        self._interval = 60 / per_minute
        self._slack = 60 * BURST - self._interval if per_minute * BURST > 1 else 0.0
        self._next = 0.0
        self._refused = 0
        self._endpoints: dict[tuple[str, str], float] = {}

    def ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        """Take the turn now or tell the wait; see `Waiting`."""
        now, limit = self._clock.monotonic(), limits.of(endpoint)
        key = (caller.owner if limit.scope == "uid" else "", endpoint)
        own = self._endpoints.get(key, 0.0)
        if own - limit.slack_s > now:
            return own - limit.slack_s - now, Held.ENDPOINT
        if self._next - self._slack > now:
            return self._next - self._slack - now, Held.SHARED
        self._next = max(self._next, now) + self._interval
        self._keep(key, max(own, now) + limit.interval_s)
        return 0.0, Held.SHARED

    async def _ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        return self.ask(caller, endpoint)

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """See `Budget`."""
        self._refused = 0
        if remaining == 0:
            self._hold(caller, endpoint, SPENT_S)

    async def refused(self, caller: Caller, endpoint: str) -> None:
        """See `Budget`."""
        self._hold(caller, endpoint, REFUSED_S)
        self._refused += 1
        if self._refused >= STORM:
            self._next = self._clock.monotonic() + PROBE_S + self._slack

    def _hold(self, caller: Caller, endpoint: str, seconds: float) -> None:
        limit = limits.of(endpoint)
        key = (caller.owner if limit.scope == "uid" else "", endpoint)
        self._keep(key, max(self._endpoints.get(key, 0.0), self._clock.monotonic() + limit.slack_s + seconds))

    def _keep(self, key: tuple[str, str], moment: float) -> None:
        """Remember when an endpoint is free again; forget those that are."""
        if len(self._endpoints) >= OWNERS_KEPT:
            now = self._clock.monotonic()
            self._endpoints = {known: free for known, free in self._endpoints.items() if free > now}
        self._endpoints[key] = moment
