"""Budgets as their tests make them."""

from dataclasses import dataclass
from typing import Any

from common.clock import SystemClock
from redis.asyncio import Redis
from verifier.bitget.budget import Caller
from verifier.bitget.shared_budget import SharedBudget

TENANT, OTHER = "t" * 26, "u" * 26
CALLER = Caller(TENANT, "100200300")
INFO = "GET /api/v3/account/info"  # 5 a second
FAST = "GET /api/v3/account/assets"  # 20 a second
SLOW = "GET /api/v2/spot/account/info"  # 1 a second


@dataclass
class Address:
    """Our address as the exchange sees it; counts how often it was asked for."""

    served: bool | None = True
    asked: int = 0

    async def __call__(self) -> bool | None:
        self.asked += 1
        return self.served


@dataclass
class Standing(SystemClock):
    """A clock that goes on when it is told to."""

    now: float = 100.0

    def monotonic(self) -> float:
        return self.now


def budget_on(redis: Redis, address: Address | None = None, **options: Any) -> SharedBudget:
    return SharedBudget(redis, SystemClock(), address or Address(), **options)
