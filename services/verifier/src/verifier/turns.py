"""Own the turns of callers: the services of one tenant take them by turns, and nobody waits long for one.

The limits themselves are the budget's.
"""

import asyncio
from dataclasses import replace
from typing import Final
from weakref import WeakValueDictionary

from common.errors import Throttled

from verifier.bitget.budget import Budget, Caller, TooLate

LATEST_S: Final = 3.0


class Turns:
    """The budget, as callers meet it."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def take(self, service: str, caller: Caller, endpoint: str) -> None:
        """Wait for a turn of `service` at an endpoint; raise Throttled when it would come too late.

        Of each service only the first call asks the budget, which answers in the order of asking: however many calls
        one service has waiting, another one's call comes after at most one of them. What all of a tenant's calls share
        goes round among its services too, whatever accounts they use.
        """
        lock = self._locks.setdefault(f"{caller.tenant} {service} {caller.owner} {endpoint}", asyncio.Lock())
        try:
            async with asyncio.timeout(LATEST_S), lock:
                await self._budget.turn(replace(caller, service=service), endpoint)
        except TooLate as late:
            raise _throttled(late.wait_s) from None
        except TimeoutError:
            raise _throttled(1.0) from None


def _throttled(seconds: float) -> Throttled:
    return Throttled(
        "exchange_budget_spent",
        "Bitget's limit for this call is used up at the moment; nothing was sent.",
        retry_after=max(seconds, 0.1),
    )
