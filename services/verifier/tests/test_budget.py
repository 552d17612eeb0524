"""Nobody calls Bitget faster than Bitget allows, and nobody waits because another is greedy."""

import asyncio
import json
import subprocess
import sys
import time
from typing import Any

import pytest
from cli.processes import clean_environment
from cli.valkey import Valkey
from common import redis as connections
from common.clock import SystemClock
from redis.asyncio import Redis
from verifier.bitget.budget import BURST, CALLS_PER_MINUTE, Caller, Held, LocalBudget
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.shared_budget import EGRESS, PROBE, SHUT, SharedBudget

from services.verifier.tests.budgets import CALLER, FAST, INFO, OTHER, SLOW, TENANT, Address, Standing, budget_on


def _most(moments: list[float], seconds: float) -> int:
    """Return the most calls in any window, sliding over every call and fixed at the clock's own seconds."""
    moments = sorted(moments)
    sliding = max(sum(start <= one < start + seconds for one in moments) for start in moments)
    fixed = max(sum(int(one / seconds) == part for one in moments) for part in {int(one / seconds) for one in moments})
    return max(sliding, fixed)


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
    callers = [_take(budget_on(redis), CALLER, endpoint, moments, until) for _ in range(3)]
    await asyncio.gather(*callers)
    assert _most(moments, 1.0) <= limit
    assert len(moments) > limit  # how near they come to it, make bench-verify measures


async def test_an_account_that_trades_gets_nearly_all_that_its_endpoint_allows_and_not_more(redis: Redis) -> None:
    """A call comes to the exchange between its turn and its answer: whenever that is, the limit holds."""
    calls: list[tuple[float, float]] = []
    until = time.time() + 5

    async def trade(budget: SharedBudget) -> None:
        while time.time() < until:
            await budget.turn(CALLER, FAST)
            began = time.time()
            await asyncio.sleep(0.03)
            calls.append((began, time.time()))
            await budget.answered(CALLER, FAST, 7)

    await asyncio.gather(*(trade(budget_on(redis, priority=True)) for _ in range(4) for _ in range(8)))
    for _, second in calls:
        assert sum(ended >= second and began < second + 1 for began, ended in calls) <= 20
    assert len(calls) >= 80, "slots that are kept for half a second longer than the exchange counts let 70 go"


async def test_a_call_that_is_never_answered_keeps_its_slot_for_longer_than_the_exchange_counts_it(
    redis: Redis,
) -> None:
    budget = budget_on(redis, priority=True)
    await budget.turn(CALLER, SLOW)
    started = time.monotonic()
    await budget.turn(CALLER, SLOW)
    assert time.monotonic() - started > 1.4


PROCESS = """
import asyncio, json, sys, time
from common.clock import SystemClock
from common.redis import connect
from verifier.bitget.budget import Caller
from verifier.bitget.shared_budget import SharedBudget

async def reaches():
    return True

async def main():
    redis = connect(sys.argv[1])
    budget, moments = SharedBudget(redis, SystemClock(), reaches), {"one": [], "all": []}
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


def _done(tasks: list[asyncio.Task[None]]) -> int:
    return sum(task.done() for task in tasks)


async def _give_up(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.bar(52)
async def test_a_greedy_tenant_with_a_thousand_waiting_calls_holds_no_other_up(redis: Redis) -> None:
    greedy = [
        asyncio.create_task(budget.turn(Caller(TENANT, str(number)), FAST))
        for budget in [budget_on(redis), budget_on(redis)]
        for number in range(500)
    ]
    while await redis.pttl(EGRESS) < 1400 or not _done(greedy):  # the address's burst is used up, and told so
        await asyncio.sleep(0.005)
    other, before = budget_on(redis), _done(greedy)
    for number in range(30):
        await other.turn(Caller(OTHER, str(number)), FAST)
    assert _done(greedy) - before <= 60
    await _give_up(greedy)


async def test_trading_passes_while_verification_uses_all_there_is(redis: Redis) -> None:
    verification, trading = budget_on(redis), budget_on(redis, priority=True)
    waiting = [asyncio.create_task(verification.turn(Caller(TENANT, str(n)), FAST)) for n in range(500)]
    while await redis.pttl(EGRESS) < 1400 or not _done(waiting):
        await asyncio.sleep(0.005)
    before = _done(waiting)
    for number in range(100):
        await trading.turn(Caller(TENANT, f"trade-{number}"), FAST)
    assert _done(waiting) - before <= 20
    await _give_up(waiting)


async def test_a_call_that_its_endpoint_holds_back_lets_those_behind_it_pass(redis: Redis) -> None:
    budget = budget_on(redis)
    await budget.turn(CALLER, SLOW)
    started = time.monotonic()
    held = asyncio.create_task(budget.turn(CALLER, SLOW))
    await asyncio.sleep(0.05)
    await budget.turn(CALLER, FAST)
    assert not held.done()
    await held
    assert time.monotonic() - started > 0.9


@pytest.mark.bar(52)
async def test_a_second_that_the_exchange_calls_spent_is_over_for_all(redis: Redis) -> None:
    one, two = budget_on(redis), budget_on(redis)
    await one.turn(CALLER, FAST)
    await one.answered(CALLER, FAST, 0)
    started = time.monotonic()
    held = asyncio.create_task(two.turn(CALLER, FAST))
    await two.turn(Caller(TENANT, "another"), FAST)
    assert not held.done()
    await held
    assert time.monotonic() - started > 0.9


async def test_calls_that_ask_at_the_same_moment_ask_redis_together(redis: Redis) -> None:
    budget = budget_on(redis)
    await budget.turn(CALLER, FAST)  # the script is known from now on
    before = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"]
    await asyncio.gather(*(budget.turn(Caller(TENANT, str(number)), FAST) for number in range(20)))
    asked = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - before
    assert asked == 1


async def test_a_call_whose_turn_would_come_too_late_does_not_wait_for_it() -> None:
    budget = LocalBudget(SystemClock(), Address())
    budget.hold(CALLER, FAST, 25)
    with pytest.raises(ExchangeFailure) as refused:
        await asyncio.wait_for(budget.turn(CALLER, FAST), 10)
    assert refused.value.rule.group is Group.THROTTLED


async def test_values_that_nobody_of_ours_wrote_hold_no_call_up(redis: Redis) -> None:
    budget = budget_on(redis)
    await budget.turn(CALLER, FAST)
    keys = [key async for key in redis.scan_iter(match="sr:{budget}:*")]
    for value in ("x", "nan", "inf", "9" * 30, "-5", None):
        for key in [*keys, SHUT, PROBE]:
            await redis.delete(key)
            await (redis.set(key, value) if value else redis.rpush(key, "x"))
        assert not (await budget.ask(CALLER, FAST))[0]
        for number in range(3):
            await budget.refused(Caller(TENANT, str(number)), INFO, address=True)
        await redis.delete(SHUT)
    await redis.flushall()


async def test_without_redis_each_process_keeps_a_tight_budget_and_comes_back(redis: Redis, valkey: Valkey) -> None:
    client = connections.connect(valkey.url)
    budget, moments = budget_on(client), []
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
    deadline = time.monotonic() + 10
    while not await redis.exists(EGRESS):
        assert time.monotonic() < deadline
        await budget.turn(Caller(TENANT, f"back-{time.monotonic()}"), FAST)
    await client.aclose()


async def _admitted(budget: LocalBudget, endpoint: str, owners: int) -> int:
    """Return how many of so many accounts' calls are admitted at the same moment."""
    return sum([not (await budget.ask(Caller(TENANT, str(number)), endpoint))[0] for number in range(owners)])


async def test_a_process_alone_keeps_the_minute_the_burst_and_the_endpoints() -> None:
    clock = Standing()
    budget = LocalBudget(clock, Address(), per_minute=6000)
    assert await _admitted(budget, FAST, 100) == 55
    clock.now += 0.5
    assert await _admitted(budget, FAST, 100) == 50
    clock.now += 60
    assert not (await budget.ask(CALLER, SLOW))[0]
    seconds, held = await budget.ask(CALLER, SLOW)
    assert (held, seconds > 1) == (Held.ENDPOINT, True)
