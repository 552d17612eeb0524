"""Nobody calls Bitget faster than Bitget allows, and nobody waits because another is greedy."""

import asyncio
import json
import subprocess
import sys
import time
from itertools import pairwise
from typing import Any

import pytest
from cli.processes import clean_environment
from cli.valkey import Valkey
from common import redis as connections
from common.clock import SystemClock
from redis.asyncio import Redis
from verifier.bitget import limits
from verifier.bitget.budget import BURST, CALLS_PER_MINUTE, PRIORITY_BURST, Caller, LocalBudget
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.limits import LIMITS, Limit
from verifier.bitget.shared_budget import EGRESS, PROBE, SHUT, STORM_KEY, SharedBudget

TENANT, OTHER = "t" * 26, "u" * 26
CALLER = Caller(TENANT, "100200300")
INFO = "GET /api/v3/account/info"  # 5 a second
FAST = "GET /api/v3/account/assets"  # 20 a second
SLOW = "GET /api/v2/spot/account/info"  # 1 a second


def _budget(redis: Redis, **options: Any) -> SharedBudget:
    return SharedBudget(redis, SystemClock(), **options)


def _most(moments: list[float], seconds: float) -> int:
    """Return the most calls in any window, sliding over every call and fixed at the clock's own seconds."""
    moments = sorted(moments)
    sliding = max(sum(start <= one < start + seconds for one in moments) for start in moments)
    fixed = max(sum(int(one / seconds) == part for one in moments) for part in {int(one / seconds) for one in moments})
    return max(sliding, fixed)


@pytest.mark.parametrize("limit", [*sorted({limit.per_second for limit in LIMITS.values()}), 4, 7, 100])
def test_no_second_holds_more_than_the_limit_by_arithmetic(limit: float) -> None:
    """A burst at the start and a spaced call as often as allowed is the worst case of a spacing."""
    one = Limit(limit, "uid")
    moments = [0.0] * one.burst + [one.interval_s * count for count in range(1, 400)]
    assert _most(moments, 1.0 if limit >= 1 else 1 / limit) <= max(limit, 1)


def test_no_minute_holds_more_than_bitget_allows_with_trading_either() -> None:
    assert CALLS_PER_MINUTE * (1 + BURST) < CALLS_PER_MINUTE * (1 + PRIORITY_BURST) < 6000


def test_the_limits_are_bitgets_own() -> None:
    assert (LIMITS[INFO].per_second, LIMITS[FAST].per_second, LIMITS[SLOW].per_second) == (5, 20, 1)
    assert limits.of("GET /api/v2/public/time").scope == "ip"
    assert limits.of("GET /api/v9/nobody/knows") == limits.UNKNOWN
    assert len(LIMITS) > 500


NO_LIMITS = (
    "GET,/api/v2/x,0,uid",
    "GET,/api/v2/x,nan,uid",
    "GET,/api/v2/x,five,uid",
    "GET,/api/v2/x,5,user",
    "GET,/api/v2/x,5",
    "GET,/api/v2/x,5,uid,more",
    "GET,/api/v2/x,5,uid\n" * 2,
    "GET,/x,5,uid",
    "PUT,/api/v2/x,5,uid",
)


@pytest.mark.parametrize("row", NO_LIMITS)
def test_a_row_that_is_no_limit_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="limits"):
        limits.parse("method,path,per_second,scope\n" + row)


async def _take(budget: Any, caller: Caller, endpoint: str, moments: list[float], until: float) -> None:
    while time.time() < until:
        await budget.turn(caller, endpoint)
        moments.append(time.time())


@pytest.mark.parametrize(("endpoint", "limit"), [(INFO, 5), (FAST, 20), (SLOW, 1)])
async def test_one_accounts_calls_stay_within_the_endpoints_limit_whoever_makes_them(
    redis: Redis, endpoint: str, limit: int
) -> None:
    moments: list[float] = []
    until = time.time() + 2.3
    callers = [_take(_budget(redis), CALLER, endpoint, moments, until) for _ in range(3)]
    await asyncio.gather(*callers)
    assert _most(moments, 1.0) <= limit
    assert len(moments) >= 2 * limit * 0.7


PROCESS = """
import asyncio, json, sys, time
from common.clock import SystemClock
from common.redis import connect
from verifier.bitget.budget import Caller
from verifier.bitget.shared_budget import SharedBudget

async def main():
    redis = connect(sys.argv[1])
    budget, moments = SharedBudget(redis, SystemClock()), {"one": [], "all": []}
    await redis.ping()
    until = time.time() + 2.5

    async def take(owner, endpoint, *lists):
        while time.time() < until:
            await budget.turn(Caller("t" * 26, owner), endpoint)
            for name in lists:
                moments[name].append(time.time())

    others = [take(f"{sys.argv[2]}-{n}", "GET /api/v3/account/assets", "all") for n in range(12)]
    await asyncio.gather(*(take("1", "GET /api/v3/account/info", "one", "all") for _ in range(3)), *others)
    print(json.dumps(moments))
    await redis.aclose()

asyncio.run(main())
"""


async def test_several_processes_share_one_address_and_one_account(redis: Redis, valkey: Valkey) -> None:
    def process(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROCESS, valkey.url, name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment())

    started = [process(str(number)) for number in range(3)]
    answers = [json.loads((await asyncio.to_thread(one.communicate, None, 30))[0]) for one in started]
    together = {name: [moment for answer in answers for moment in answer[name]] for name in ("one", "all")}
    assert _most(together["one"], 1.0) <= 5
    seconds = max(together["all"]) - min(together["all"])
    assert 0.6 * 90 * seconds < len(together["all"]) <= CALLS_PER_MINUTE * BURST + 90 * seconds + 1
    assert _most(together["all"], 1.0) <= CALLS_PER_MINUTE * BURST + 91


async def test_a_greedy_tenant_with_a_thousand_waiting_calls_holds_no_other_up(redis: Redis) -> None:
    greedy = [
        asyncio.create_task(_budgets.turn(Caller(TENANT, str(number)), FAST))
        for _budgets in [_budget(redis), _budget(redis)]
        for number in range(500)
    ]
    while await redis.pttl(EGRESS) < 1400:  # the address's burst is used up
        await asyncio.sleep(0.005)
    other, waits = _budget(redis), []
    for number in range(30):
        started = time.monotonic()
        await other.turn(Caller(OTHER, str(number)), FAST)
        waits.append(time.monotonic() - started)
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    assert max(waits) < 1


async def test_trading_passes_while_verification_uses_all_there_is(redis: Redis) -> None:
    verification, trading = _budget(redis), _budget(redis, priority=True)
    waiting = [asyncio.create_task(verification.turn(Caller(TENANT, str(n)), FAST)) for n in range(500)]
    while await redis.pttl(EGRESS) < 1400:
        await asyncio.sleep(0.005)
    started = time.monotonic()
    for number in range(100):
        await trading.turn(Caller(TENANT, f"trade-{number}"), FAST)
    assert time.monotonic() - started < 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_call_that_its_endpoint_holds_back_lets_those_behind_it_pass(redis: Redis) -> None:
    budget = _budget(redis)
    await budget.turn(CALLER, SLOW)
    held = asyncio.create_task(budget.turn(CALLER, SLOW))
    await asyncio.sleep(0.05)
    started = time.monotonic()
    await budget.turn(CALLER, FAST)
    assert time.monotonic() - started < 0.5
    assert not held.done()
    await held
    assert time.monotonic() - started > 0.9


async def test_a_second_that_the_exchange_calls_spent_is_over_for_all(redis: Redis) -> None:
    one, two = _budget(redis), _budget(redis)
    await one.turn(CALLER, FAST)
    await one.answered(CALLER, FAST, 0)
    started = time.monotonic()
    await two.turn(Caller(TENANT, "another"), FAST)
    assert time.monotonic() - started < 0.5
    await two.turn(CALLER, FAST)
    assert time.monotonic() - started > 0.9


async def test_a_refusal_makes_that_account_wait_and_no_other(redis: Redis) -> None:
    one, two = _budget(redis), _budget(redis)
    for _ in range(5):
        await one.refused(CALLER, FAST)
    assert not await redis.exists(SHUT)
    started = time.monotonic()
    await two.turn(Caller(TENANT, "another"), FAST)
    assert time.monotonic() - started < 0.5
    await two.turn(CALLER, FAST)
    assert time.monotonic() - started > 1


async def _refused(redis: Redis) -> SharedBudget:
    budget = _budget(redis)
    for number in range(3):
        await budget.refused(Caller(TENANT, str(number)), FAST)
    return budget


async def test_an_address_that_is_shut_out_is_left_alone_until_a_probe_is_answered(redis: Redis) -> None:
    await _refused(redis)
    budget = _budget(redis)
    assert 290_000 < await redis.pttl(SHUT) <= 300_000
    with pytest.raises(ExchangeFailure) as refused:
        await budget.turn(CALLER, FAST)
    assert refused.value.rule.group is Group.THROTTLED
    await redis.delete(PROBE)  # fifteen seconds later
    await budget.turn(CALLER, FAST)
    with pytest.raises(ExchangeFailure):
        await budget.turn(Caller(TENANT, "another"), FAST)
    await budget.answered(Caller(TENANT, "begun before"), FAST, None)
    assert await redis.exists(SHUT)
    await budget.answered(CALLER, FAST, None)
    await budget.turn(Caller(TENANT, "another"), FAST)


async def test_refusals_with_answers_between_them_shut_nothing_out(redis: Redis) -> None:
    budget = _budget(redis)
    for number in range(6):
        await budget.refused(Caller(TENANT, str(number)), FAST)
        await budget.turn(Caller(TENANT, "answered"), FAST)
        await budget.answered(Caller(TENANT, "answered"), FAST, 7)
    assert not await redis.exists(SHUT)


async def test_values_that_nobody_of_ours_wrote_hold_no_call_up(redis: Redis) -> None:
    budget = _budget(redis)
    await budget.turn(CALLER, FAST)
    keys = [key async for key in redis.scan_iter(match="sr:{budget}:*")]
    for value in ("x", "nan", "inf", "9" * 30, "-5", None):
        for key in [*keys, SHUT, PROBE, STORM_KEY]:
            await redis.delete(key)
            await (redis.set(key, value) if value else redis.rpush(key, "x"))
        await asyncio.wait_for(budget.turn(CALLER, FAST), 0.5)
        for number in range(3):
            await budget.refused(Caller(TENANT, str(number)), INFO)
        await redis.delete(SHUT)
    await redis.flushall()


async def test_without_redis_each_process_keeps_a_tight_budget_and_comes_back(redis: Redis, valkey: Valkey) -> None:
    client = connections.connect(valkey.url)
    budget, moments = _budget(client), []
    await budget.turn(CALLER, FAST)
    valkey.kill()
    try:
        until, number = time.monotonic() + 2, 0
        while time.monotonic() < until:
            await budget.turn(Caller(TENANT, str(number)), FAST)
            moments.append(time.time())
            number += 1
    finally:
        valkey.start()
        await redis.connection_pool.disconnect()
    assert 10 <= len(moments) <= 540 / 60 * 2 + 540 * BURST + 1
    assert all(later - earlier < 1.5 for earlier, later in pairwise(moments))
    deadline = time.monotonic() + 10
    while not await redis.exists(EGRESS):
        assert time.monotonic() < deadline
        await budget.turn(Caller(TENANT, f"back-{time.monotonic()}"), FAST)
    await client.aclose()


async def test_a_process_alone_keeps_the_minute_the_burst_and_the_endpoints() -> None:
    budget = LocalBudget(SystemClock(), per_minute=6000)
    started = time.monotonic()
    for number in range(55):
        await budget.turn(Caller(TENANT, str(number)), FAST)
    assert time.monotonic() - started < 0.2
    for number in range(50):
        await budget.turn(Caller(TENANT, str(number)), INFO)
    assert time.monotonic() - started > 0.45
    await budget.turn(CALLER, SLOW)
    before = time.monotonic()
    await budget.turn(CALLER, SLOW)
    assert time.monotonic() - before > 1


async def test_a_process_alone_stops_after_three_refusals_in_a_row_and_goes_on_after_an_answer() -> None:
    budget = LocalBudget(SystemClock())
    for number in range(2):
        await budget.refused(Caller(TENANT, str(number)), FAST)
    await budget.answered(CALLER, FAST, None)
    await budget.refused(Caller(TENANT, "3"), FAST)
    await asyncio.wait_for(budget.turn(CALLER, FAST), 0.5)
    for number in range(2):
        await budget.refused(Caller(TENANT, str(number)), FAST)
    assert budget.ask(CALLER, FAST)[0] > 14
