"""Own who may call Bitget when: one call asks for its turn first, and tells afterwards how it was answered.

Nothing here knows what a call is for; a caller is a tenant and the account, or else the binding, that is asked about.
"""

import asyncio
from dataclasses import dataclass
from typing import Final, Protocol

from common.clock import Clock

# Bitget allows 6000 calls a minute from one address and then shuts it out for five minutes; stay a little below.
CALLS_PER_MINUTE: Final = 5400
BURST: Final = 50
# So many refusals in a row are about the address, not about one account.
STORM: Final = 3
SLOWEST_S: Final = 1.0


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


class LocalBudget:
    """Spread the calls of one process over its `per_minute`, bursts of `burst` included.

    While every call is refused as too many, each refusal halves the pace, down to one call a second; each answer
    doubles it again.
    """

    def __init__(self, clock: Clock, per_minute: int = CALLS_PER_MINUTE, burst: int = BURST) -> None:
        self._clock = clock
        self._fastest = self._interval = 60 / per_minute
        self._tolerance = self._interval * burst
        self._next = 0.0
        self._refused = 0

    async def turn(self, caller: Caller, endpoint: str) -> None:  # noqa: ARG002  one pace for all
        """See `Budget`."""
        now = self._clock.monotonic()
        start = max(self._next, now)
        self._next = start + self._interval
        if start - self._tolerance > now:
            await asyncio.sleep(start - self._tolerance - now)

    async def refused(self, caller: Caller, endpoint: str) -> None:  # noqa: ARG002
        """See `Budget`."""
        self._refused += 1
        if self._refused >= STORM:
            self._interval = min(max(SLOWEST_S, self._fastest), self._interval * 2)

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:  # noqa: ARG002
        """See `Budget`."""
        self._refused = 0
        if self._interval > self._fastest:
            self._interval = max(self._fastest, self._interval / 2)
            # Turns given out at the slow pace no longer hold back those after them.
            self._next = min(self._next, self._clock.monotonic() + self._tolerance)
