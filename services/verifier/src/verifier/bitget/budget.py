"""Own who may call Bitget when: a call asks for its turn first, and tells afterwards how it was answered.

Here is the waiting, and the budget of a process that stands alone. It never knows what a call is for.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol
from weakref import WeakValueDictionary

from common import metrics
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
# Whether a refusal is about the address and not about one account is told by a call that no account limits. It is made
# at most so often, and so often while the address is shut out; it is not counted in the minute.
DOUBT_S: Final = 2.0
PROBE_S: Final = 15.0
# After a refusal the endpoint's second is over.
REFUSED_S: Final = 1.1
SPENT_S: Final = 1.0
ALONE: Final = 1 / 10
OWNERS_KEPT: Final = 10_000
LANES: Final = ("verify", "trade", "own")
TURNS: Final = metrics.counters(
    "strongroom_budget_turns",
    "Calls that asked for their turn: had it at once, after waiting, or not in time",
    lane=LANES,
    outcome=("at_once", "waited", "refused"),
)
# Asks whether the exchange serves our address: False when it is refused, None when that cannot be told.
Reaches = Callable[[], Awaitable[bool | None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a call is made: `owner` is the account's uid once it is known, before that the binding's id.

    `service` is which of the tenant's services asks, where several do.
    """

    tenant: str
    owner: str
    service: str = ""


class Budget(Protocol):
    """What an exchange client asks before a call and tells after it; `endpoint` is for example "GET /api/v3/…"."""

    async def turn(self, caller: Caller, endpoint: str) -> None:
        """Wait for this call's turn; raise TooLate when it would come too late."""

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """Note an answer; `remaining` is how many calls are left in this second, as the exchange said."""

    async def refused(self, caller: Caller, endpoint: str, *, address: bool) -> None:
        """Note an answer that there have been too many calls; `address` if it may be about our address."""


class TooLate(ExchangeFailure):
    """A turn that could not be had in time; it may be in `wait_s` seconds."""

    def __init__(self, endpoint: str, wait_s: float) -> None:
        super().__init__(codes.meaning("429", 429), endpoint)
        self.wait_s = wait_s


class Held(Enum):
    """What holds a call back: its endpoint's limit, what all calls of its tenant share, or the address's penalty."""

    ENDPOINT = "endpoint"
    SHARED = "shared"
    SHUT = "shut"


class Waiting(ABC):
    """The queue of one process: while calls of a tenant wait, only one of them asks, and its services take turns.

    A call that its endpoint holds back lets those behind it pass. None waits longer than `latest_s`.
    """

    lane = "own"  # by which its turns are counted

    def __init__(self, latest_s: float = LATEST_S) -> None:
        self._latest_s = latest_s
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @abstractmethod
    async def ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        """Take the turn and return (0, …), or return for how many seconds what holds the call back."""

    async def turn(self, caller: Caller, endpoint: str) -> None:
        """See `Budget`."""
        until = asyncio.get_running_loop().time() + self._latest_s
        outcome = "refused"
        try:
            async with asyncio.timeout_at(until):
                at_once = await self._at_once(caller, endpoint)
                if not at_once:
                    async with self._lock(f"{caller.owner} {endpoint}"):
                        await self._wait(caller, endpoint, until)
            outcome = "at_once" if at_once else "waited"
        except _Beyond as beyond:
            raise TooLate(endpoint, beyond.seconds) from None
        except TimeoutError:
            raise TooLate(endpoint, SPENT_S) from None
        finally:
            TURNS.of(self.lane, outcome).inc()

    async def _at_once(self, caller: Caller, endpoint: str) -> bool:
        """Take the turn if it can be had now and nobody waits for it; return whether it was."""
        waiting = self._lock(f"{caller.owner} {endpoint}").locked() or self._lock(caller.tenant).locked()
        return not waiting and not (await self.ask(caller, endpoint))[0]

    async def _wait(self, caller: Caller, endpoint: str, until: float) -> None:
        while True:
            # Of each service one call stands in the tenant's queue, however many accounts it has calls waiting for.
            async with self._lock(f"{caller.tenant} {caller.service}"), self._lock(caller.tenant):
                seconds, held = await self.ask(caller, endpoint)
                while seconds and held is not Held.ENDPOINT:
                    await _sleep(seconds, until)
                    seconds, held = await self.ask(caller, endpoint)
            if not seconds:
                return
            await _sleep(seconds, until)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())


class _Beyond(Exception):
    """What holds a call back lasts beyond the time that it may wait."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


async def _sleep(seconds: float, until: float) -> None:
    """Wait, unless that would take beyond `until` (the event loop's time): then there is nothing to wait for."""
    if asyncio.get_running_loop().time() + seconds > until:
        raise _Beyond(seconds)
    await asyncio.sleep(seconds)


class LocalBudget(Waiting):
    """One process's own budget: `per_minute` calls, a small burst, and each endpoint's limit.

    While the address is shut out nobody calls; each quarter of a minute `reaches` is asked.
    """

    def __init__(
        self, clock: Clock, reaches: Reaches, per_minute: float = CALLS_PER_MINUTE, latest_s: float = LATEST_S
    ) -> None:
        super().__init__(latest_s)
        self._clock = clock
        self._reaches = reaches
        self._interval = 60 / per_minute
        self._slack = 60 * BURST - self._interval if per_minute * BURST > 1 else 0.0
        self._next = 0.0
        self._shut = False
        self._look_from = 0.0
        self._looking = asyncio.Lock()
        self._endpoints: dict[tuple[str, str], list[float]] = {}  # when each slot that is taken is free again

    async def ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        """See `Waiting`."""
        if self._shut:
            await self._look()
        now, limit = self._clock.monotonic(), limits.of(endpoint)
        if self._shut:
            return max(self._look_from - now, 0.001), Held.SHUT
        taken = self._taken(caller, endpoint, now)
        if len(taken) >= limit.slots:
            return taken[len(taken) - limit.slots] - now, Held.ENDPOINT
        if self._next - self._slack > now:
            return self._next - self._slack - now, Held.SHARED
        self._next = max(self._next, now) + self._interval
        self._keep(caller, endpoint, [*taken, now + limit.held_s], now)
        return 0.0, Held.SHARED

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """See `Budget`."""
        if remaining == 0:
            self.hold(caller, endpoint, SPENT_S)

    async def refused(self, caller: Caller, endpoint: str, *, address: bool) -> None:
        """See `Budget`."""
        self.hold(caller, endpoint, REFUSED_S)
        if address:
            await self._look()

    def hold(self, caller: Caller, endpoint: str, seconds: float) -> None:
        """Keep an endpoint from its caller's account for some seconds."""
        now = self._clock.monotonic()
        held = [now + seconds] * limits.of(endpoint).slots
        self._keep(caller, endpoint, [*self._taken(caller, endpoint, now), *held], now)

    async def _look(self) -> None:
        """Find out whether the address is served, if it is time to; others who want to know wait for that."""
        async with self._looking:
            if self._clock.monotonic() < self._look_from:
                return
            served = await self._reaches()
            self._shut = self._shut if served is None else not served
            self._look_from = self._clock.monotonic() + (PROBE_S if self._shut else DOUBT_S)

    def _taken(self, caller: Caller, endpoint: str, now: float) -> list[float]:
        return [free for free in self._endpoints.get(_key(caller, endpoint), ()) if free > now]

    def _keep(self, caller: Caller, endpoint: str, taken: list[float], now: float) -> None:
        """Remember until when an endpoint's slots are taken; forget those that are free again."""
        if len(self._endpoints) >= OWNERS_KEPT:
            self._endpoints = {known: free for known, free in self._endpoints.items() if free[-1] > now}
        self._endpoints[_key(caller, endpoint)] = sorted(taken)


def _key(caller: Caller, endpoint: str) -> tuple[str, str]:
    return caller.owner if limits.of(endpoint).scope == "uid" else "", endpoint
