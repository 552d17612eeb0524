"""Own whose limits a request counts against: the account's, once a verification has told it, otherwise the binding's.

Asked only for a binding that the vault service has just signed for. It may be unknown; it is never another tenant's.
"""

import asyncio
from typing import Final

from common.clock import Clock
from redis.exceptions import RedisError

from verifier.bitget.budget import Caller
from verifier.status import Status

# An account of a binding never changes: a replacement of its key must be of the same one.
KNOWN_S: Final = 600.0
UNKNOWN_S: Final = 5.0
REDIS_S: Final = 0.2
KEPT: Final = 10_000


class Accounts:
    """The accounts of bindings, as they were published, kept for a while."""

    def __init__(self, status: Status, clock: Clock) -> None:
        self._status = status
        self._clock = clock
        self._kept: dict[tuple[str, str], tuple[Caller, float]] = {}

    async def of(self, tenant: str, binding: str) -> Caller:
        """Return on whose behalf a call with a binding's key is made."""
        now = self._clock.monotonic()
        caller, until = self._kept.get((tenant, binding), (Caller(tenant, binding), 0.0))
        if now < until:
            return caller
        uid = await self._told(tenant, binding)
        caller = Caller(tenant, uid) if uid else caller
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[tenant, binding] = (caller, now + (KNOWN_S if uid else UNKNOWN_S))
        return caller

    async def _told(self, tenant: str, binding: str) -> str:
        try:
            async with asyncio.timeout(REDIS_S):
                known = await self._status.read(tenant, binding)
        except (RedisError, OSError, TimeoutError):
            return ""
        return known.binding.verdict.account.uid if known.binding is not None else ""
