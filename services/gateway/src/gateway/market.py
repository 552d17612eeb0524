"""Own who may ask for public market data without a token: anybody, a little, and nobody where it is switched off.

The binding in the URL is not looked at, and so tells nobody whether it exists.
"""

from typing import Final

from common.errors import Throttled, Unauthenticated
from starlette.requests import Request

from gateway.services import of

EACH_PER_MINUTE: Final = 300
ALL_PER_MINUTE: Final = 1200


async def admit(request: Request) -> None:
    """Let a request without a token in; raise Unauthenticated where that is off, Throttled beyond a rate."""
    services = of(request)
    if not services.market_data:
        raise Unauthenticated()
    address = request.client.host if request.client else "unknown"
    for name, rate in ((f"market.{address}", EACH_PER_MINUTE), ("market", ALL_PER_MINUTE)):
        taken = await services.limiter.take(name, rate)
        if not taken.allowed:
            told = "There are too many requests for market data without a token."
            raise Throttled("market_budget_spent", told, retry_after=taken.wait_s)
