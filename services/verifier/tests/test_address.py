"""What we do when the exchange refuses an account, or our address: who is not refused goes on, and nobody hammers."""

import asyncio
import time
from typing import Any

import pytest
from common.clock import SystemClock
from redis.asyncio import Redis
from simulator import config
from verifier.bitget.budget import DOUBT_S, Caller, Held, LocalBudget
from verifier.bitget.client import open_session
from verifier.bitget.reach import PATH, Reach
from verifier.bitget.shared_budget import PROBE, SHUT, SharedBudget

from services.verifier.tests.budgets import CALLER, FAST, OTHER, TENANT, Address, Standing, budget_on


async def test_a_refusal_makes_that_account_wait_and_no_other(redis: Redis) -> None:
    one, two = budget_on(redis), budget_on(redis)
    for _ in range(5):
        await one.refused(CALLER, FAST, address=True)
    started = time.monotonic()
    held = asyncio.create_task(two.turn(CALLER, FAST))
    await two.turn(Caller(TENANT, "another"), FAST)
    assert not held.done()
    await held
    assert time.monotonic() - started > 1


async def test_accounts_that_are_refused_shut_nobody_out_while_our_address_is_served(redis: Redis) -> None:
    address = Address()
    budgets = [budget_on(redis, address) for _ in range(3)]
    for number in range(60):
        await budgets[number % 3].refused(Caller(TENANT, str(number % 20)), FAST, address=True)
    assert not await redis.exists(SHUT)
    for number in range(20):
        seconds, _ = await budgets[0].ask(Caller(OTHER, f"healthy-{number}"), FAST)
        assert not seconds
    assert address.asked <= 3  # once in two seconds, all processes together


async def test_an_accounts_own_codes_never_lead_to_a_question_about_the_address(redis: Redis) -> None:
    address = Address(served=False)
    for number in range(9):
        await budget_on(redis, address).refused(Caller(TENANT, str(number)), FAST, address=False)
    assert address.asked == 0
    assert not await redis.exists(SHUT)


async def _shut(redis: Redis) -> Address:
    """Shut our address out; every budget that knows it may be told that it is served again."""
    address = Address(served=False)
    for number in range(3):
        await budget_on(redis, address).refused(Caller(TENANT, str(number)), FAST, address=True)
    assert address.asked == 1
    return address


async def test_an_address_that_is_shut_out_is_told_once(redis: Redis, logged: list[Any]) -> None:
    await _shut(redis)
    assert [entry["event"] for entry in logged] == ["address_shut_out"]


@pytest.mark.bar(52)
async def test_while_the_address_is_shut_out_one_probe_each_quarter_of_a_minute_is_all_that_goes(redis: Redis) -> None:
    address = await _shut(redis)
    for tenant in (TENANT, OTHER):
        seconds, held = await budget_on(redis, address).ask(Caller(tenant, "any"), FAST)
        assert (held, 10 < seconds <= 15) == (Held.SHUT, True)
    assert address.asked == 1
    await redis.delete(PROBE)  # fifteen seconds later
    asking = [budget_on(redis, address).ask(Caller(TENANT, str(number)), FAST) for number in range(9)]
    assert {held for _, held in await asyncio.gather(*asking)} == {Held.SHUT}
    assert address.asked == 2


async def test_one_answer_to_a_probe_ends_it_for_everybody(redis: Redis) -> None:
    address = await _shut(redis)
    address.served = True
    await redis.pexpire(PROBE, 100)
    calls = [budget_on(redis, address).turn(Caller(tenant, "any"), FAST) for tenant in (TENANT, OTHER)]
    await asyncio.gather(*calls)
    assert address.asked == 2
    assert not await redis.exists(SHUT)


async def test_a_probe_that_tells_nothing_changes_nothing(redis: Redis) -> None:
    address = Address(served=None)
    await budget_on(redis, address).refused(CALLER, FAST, address=True)
    assert not await redis.exists(SHUT)
    await redis.delete(PROBE)
    address = await _shut(redis)
    address.served = None
    await redis.delete(PROBE)
    assert (await budget_on(redis, address).ask(CALLER, FAST))[1] is Held.SHUT


async def test_a_process_alone_rests_while_the_address_is_refused_and_goes_on_when_it_is_served() -> None:
    clock, address = Standing(), Address()
    budget = LocalBudget(clock, address)
    for number in range(9):
        await budget.refused(Caller(TENANT, str(number)), FAST, address=True)
    assert address.asked == 1
    assert not (await budget.ask(Caller(OTHER, "healthy"), FAST))[0]
    clock.now += DOUBT_S
    address.served = False
    await budget.refused(CALLER, FAST, address=True)
    assert await budget.ask(Caller(OTHER, "healthy"), FAST) == (15, Held.SHUT)
    clock.now += 15
    assert await budget.ask(Caller(OTHER, "healthy"), FAST) == (15, Held.SHUT)
    clock.now += 15
    address.served = True
    assert not (await budget.ask(Caller(OTHER, "healthy"), FAST))[0]
    assert address.asked == 4


async def test_three_accounts_that_are_throttled_hold_up_nobody(bench: Any) -> None:
    names = ("unified-sub", "classic-trader", "unified-read-only")
    faults = [{"kind": "error", "account": name, "status": 429, "code": "429"} for name in names]
    bench.exchange.faults.replace(config.faults(faults))
    throttled = [bench.vault.bind(bench.exchange.named(name)) for name in names]
    outcomes = await asyncio.gather(*(bench.verify(binding) for binding in throttled))
    assert not any(outcome.verified for outcome in outcomes)
    assert (await bench.verify(bench.vault.bind(bench.exchange.named("unified-trader")))).verified
    assert not await bench.redis.exists(SHUT)


@pytest.mark.bar(52)
async def test_an_address_that_is_refused_everywhere_rests_until_a_probe_is_answered(bench: Any) -> None:
    async with open_session() as session:
        budget = SharedBudget(bench.redis, SystemClock(), Reach(session, bench.url))
        bench.fault(kind="storm")
        await budget.refused(CALLER, FAST, address=True)
    assert await bench.redis.exists(SHUT)
    bench.exchange.faults.replace(())
    bench.exchange.log.clear()
    await bench.redis.pexpire(PROBE, 200)
    assert (await bench.verify(bench.vault.bind(bench.exchange.named("unified-trader")))).verified
    assert not await bench.redis.exists(SHUT)
    assert bench.exchange.log[0].target == PATH


async def test_what_is_no_clear_answer_says_nothing_of_the_address(bench: Any) -> None:
    async with open_session() as session:
        reach = Reach(session, bench.url)
        assert await reach() is True
        for fault, served in (("storm", False), ("html", None), ("reset", None), ("empty", None)):
            bench.fault(kind=fault, status=502 if fault == "html" else 0)
            assert await reach() is served
