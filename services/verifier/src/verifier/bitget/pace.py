"""Own how fast this process may call from one egress address: evenly, with a small burst. Memory of one number."""

import asyncio
from typing import Final

from common.clock import Clock

# Bitget allows 6000 calls a minute from one address and then shuts it out for five minutes; stay a little below.
CALLS_PER_MINUTE: Final = 5400
BURST: Final = 50


class Pace:
    """Spread calls of one process so that no minute sees more than `per_minute` of them, bursts of `burst` included."""

    def __init__(self, clock: Clock, per_minute: int = CALLS_PER_MINUTE, burst: int = BURST) -> None:
        self._clock = clock
        self._interval = 60 / per_minute
        self._tolerance = self._interval * burst
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for this call's turn."""
        now = self._clock.monotonic()
        start = max(self._next, now)
        self._next = start + self._interval
        if start - self._tolerance > now:
            await asyncio.sleep(start - self._tolerance - now)
