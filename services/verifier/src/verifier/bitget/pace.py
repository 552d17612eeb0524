"""Own how fast this process may call from its egress address: evenly, with a small burst, and slower when refused."""

import asyncio
from typing import Final

from common.clock import Clock

# Bitget allows 6000 calls a minute from one address and then shuts it out for five minutes; stay a little below.
CALLS_PER_MINUTE: Final = 5400
BURST: Final = 50
# So many refusals in a row are about the address, not about one account.
STORM: Final = 3
SLOWEST_S: Final = 1.0


class Pace:
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

    async def turn(self) -> None:
        """Wait for this call's turn."""
        now = self._clock.monotonic()
        start = max(self._next, now)
        self._next = start + self._interval
        if start - self._tolerance > now:
            await asyncio.sleep(start - self._tolerance - now)

    def refused(self) -> None:
        """Note an answer that there have been too many calls."""
        self._refused += 1
        if self._refused >= STORM:
            self._interval = min(max(SLOWEST_S, self._fastest), self._interval * 2)

    def answered(self) -> None:
        """Note any other answer."""
        self._refused = 0
        if self._interval > self._fastest:
            self._interval = max(self._fastest, self._interval / 2)
            # Turns given out at the slow pace no longer hold back those after them.
            self._next = min(self._next, self._clock.monotonic() + self._tolerance)
