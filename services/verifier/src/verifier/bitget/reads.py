"""Own the reads of one key in one verification: on whose behalf, in which environment, with a few quick repeats.

Reads that will surely be wanted can be begun before they are: what is asked at once is signed at once.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from common.clock import Clock
from strongroom.types.v1.binding_pb2 import ENVIRONMENT_DEMO, ENVIRONMENT_LIVE, Environment

from verifier.bitget.budget import Caller
from verifier.bitget.client import BitgetClient, Sign
from verifier.bitget.codes import ExchangeFailure, Retry

QUICK_REPEATS: Final = 2
QUICK_S: Final = 1.5
# Private limits are counted by the second: before its end a repeat would be refused again.
THROTTLE_S: Final = 1.05
Uniform = Callable[[float, float], float]
Told = Callable[[str, Environment.ValueType], None]
Pairs = tuple[tuple[str, str], ...]


class Reads:
    """One key's reads. The repeats are shared by all of them, so that a verification stays short.

    `told` hears whose key it is as soon as the exchange has told.
    """

    def __init__(
        self, client: BitgetClient, caller: Caller, sign: Sign, clock: Clock, uniform: Uniform, *, told: Told
    ) -> None:
        self._client = client
        self._caller = caller
        self._sign = sign
        self._clock = clock
        self._uniform = uniform
        self._repeats = QUICK_REPEATS
        self._until = clock.monotonic() + QUICK_S
        self._told = told
        self._begun: dict[tuple[bool, str, Pairs], asyncio.Task[Any]] = {}
        self.demo = False

    @property
    def environment(self) -> Environment.ValueType:
        """Where the reads are made now."""
        return ENVIRONMENT_DEMO if self.demo else ENVIRONMENT_LIVE

    def known_as(self, uid: str) -> None:
        """Count what follows to the account `uid`, whose limits all its keys share; "" changes nothing."""
        if uid:
            self._caller = replace(self._caller, owner=uid)
            self._told(uid, self.environment)

    def begin(self, *wanted: tuple[str, Pairs]) -> None:
        """Make these reads, each a path and a query, now; the first that asks for one of them gets its answer."""
        for path, query in wanted:
            self._begun[self.demo, path, query] = asyncio.create_task(self._made(path, query))

    async def end(self) -> None:
        """Give up what was begun and not asked for."""
        for task in self._begun.values():
            task.cancel()
        await asyncio.gather(*self._begun.values(), return_exceptions=True)

    async def once(self, path: str) -> Any:
        """Return the data of a read that can be done without: it is never repeated."""
        return await self._read(path, ())

    async def get(self, path: str, *query: tuple[str, str]) -> Any:
        """Return the data of a read; raise ExchangeFailure when the repeats did not help."""
        while True:
            try:
                return await self._read(path, query)
            except ExchangeFailure as failure:
                if not await self._worth_another(failure):
                    raise

    async def _read(self, path: str, query: Pairs) -> Any:
        begun = self._begun.pop((self.demo, path, query), None)
        return await (begun or self._made(path, query))

    async def _made(self, path: str, query: Pairs) -> Any:
        return await self._client.get(self._caller, self._sign, path, sorted(query), self.demo)

    async def _worth_another(self, failure: ExchangeFailure) -> bool:
        """Wait as long as the failure asks for and tell whether to try again; our own budget has waited already."""
        second = failure.rule.retry is Retry.SECOND
        quick = bool(failure.code) if second else failure.rule.retry is Retry.SOON
        if not quick or not self._repeats or self._clock.monotonic() > self._until:
            return False
        self._repeats -= 1
        await asyncio.sleep(THROTTLE_S if second else self._uniform(0.1, 0.6))
        return True
