"""Own which requests are signed together: those of one key that ask for their turns at the same moment.

Each takes its own turn of the budget; the first ones wait a little for the others, so that one call signs them all.
"""

import asyncio
from typing import Final

from verifier.bitget.budget import Budget, Caller

# A request whose turn is further off than this is signed by itself.
TOGETHER_S: Final = 0.02


class _Round:
    """Requests that asked together."""

    def __init__(self) -> None:
        self.left = 0
        self.over = asyncio.Event()


class Rounds:
    """The turns of one budget, given to requests of one caller in rounds."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._forming: dict[Caller, _Round] = {}

    async def turn(self, caller: Caller, endpoint: str) -> None:
        """Wait for the turn, then for the others of the round; raise what the budget raises."""
        mine, loop = self._forming.get(caller), asyncio.get_running_loop()
        if mine is None:
            mine = self._forming[caller] = _Round()
            loop.call_soon(self._forming.pop, caller)
        mine.left += 1
        try:
            await self._budget.turn(caller, endpoint)
        finally:
            mine.left -= 1
            if not mine.left:
                mine.over.set()
        if mine.left:
            loop.call_later(TOGETHER_S, mine.over.set)
            await mine.over.wait()
