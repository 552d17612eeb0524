"""Nobody calls Bitget faster than Bitget allows, and nobody waits because another is greedy."""

import time

from common.clock import SystemClock
from verifier.bitget.budget import Caller, LocalBudget

CALLER = Caller("t" * 26, "100200300")
ENDPOINT = "GET /api/v3/account/info"


async def test_the_local_pace_holds_the_minute_and_allows_a_burst() -> None:
    pace = LocalBudget(SystemClock(), per_minute=6000, burst=20)
    started = time.monotonic()
    for _ in range(20):
        await pace.turn(CALLER, ENDPOINT)
    assert time.monotonic() - started < 0.1
    for _ in range(50):
        await pace.turn(CALLER, ENDPOINT)
    assert time.monotonic() - started > 0.45
