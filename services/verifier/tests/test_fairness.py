"""Who gets the exchange's limits when all want more than there is: by turn, and nobody starves. On a real Redis."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from common.clock import SystemClock
from common.errors import Throttled
from redis.asyncio import Redis
from verifier.bitget.budget import Caller
from verifier.bitget.shared_budget import EGRESS, SharedBudget
from verifier.turns import Turns

TENANT, OTHER, THIRD = "t" * 26, "u" * 26, "v" * 26
FAST = "GET /api/v3/account/assets"  # 20 a second of one account
SLOW = "GET /api/v2/spot/account/info"  # 1 a second of one account


async def _served() -> bool:
    return True


def _budget(redis: Redis, **options: Any) -> SharedBudget:
    return SharedBudget(redis, SystemClock(), _served, **options)


class Crowd:
    """Callers that ask again and again, each for an account of its own; `had` counts what each of them got."""

    def __init__(self) -> None:
        self.had: Counter[str] = Counter()
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, name: str, turn: Any, tenant: str, callers: int) -> None:
        """Begin `callers` loops that count under `name`."""

        async def ask(number: int) -> None:
            while True:
                await turn(Caller(tenant, f"{name}-{number}"), FAST)
                self.had[name] += 1

        self._tasks += [asyncio.create_task(ask(number)) for number in range(callers)]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(60):
            while not condition():
                for task in self._tasks:
                    assert not task.done(), task.exception()
                await asyncio.sleep(0.005)

    async def __aenter__(self) -> "Crowd":
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _spent(redis: Redis, milliseconds: int) -> bool:
    return int(await redis.pttl(EGRESS)) > milliseconds


@pytest.mark.parametrize("priority", [True, False], ids=["trading", "verification"])
async def test_tenants_that_want_more_than_there_is_get_equal_parts_however_many_calls_they_have_waiting(
    redis: Redis, priority: bool
) -> None:
    one, two = _budget(redis, priority=priority), _budget(redis, priority=priority)
    async with Crowd() as crowd:
        crowd.add("many", one.turn, TENANT, 300)
        crowd.add("some", two.turn, OTHER, 30)
        crowd.add("few", one.turn, THIRD, 8)
        await crowd.until(lambda: crowd.had.total() > 700)  # the burst of the address is used up by then
        fair = False
        # A machine that stalls lets the limits recover, or leaves Redis alone: parts are not shared out then.
        for _ in range(5):
            before = crowd.had.copy()
            await crowd.until(lambda earlier=before: crowd.had.total() >= earlier.total() + 300)
            parts = crowd.had - before
            fair = min(parts.values()) >= 0.75 * max(parts.values())
            if fair:
                break
    assert fair, parts


async def test_what_a_tenant_leaves_is_the_others_and_it_gets_what_it_asks_for(redis: Redis) -> None:
    greedy, modest = _budget(redis, priority=True), _budget(redis, priority=True)

    async def seldom(caller: Caller, endpoint: str) -> None:
        await modest.turn(caller, endpoint)
        await asyncio.sleep(0.05)  # less than half of its part, whatever the machine does

    async with Crowd() as crowd:
        crowd.add("greedy", greedy.turn, TENANT, 200)
        await crowd.until(lambda: crowd.had["greedy"] > 460)
        crowd.add("modest", seldom, OTHER, 1)
        while await _spent(redis, 3600):  # what was run ahead is paid back down to the half at which parts count
            await asyncio.sleep(0.05)
        before = crowd.had.copy()
        await crowd.until(lambda: crowd.had["modest"] - before["modest"] >= 20)
        others = crowd.had["greedy"] - before["greedy"]
    assert others >= 2 * 20  # all that was left, and far more than one for one


async def test_verification_keeps_a_small_part_while_trading_takes_all_there_is(redis: Redis) -> None:
    trading, verification = _budget(redis, priority=True), _budget(redis)
    async with Crowd() as crowd:
        crowd.add("trading", trading.turn, TENANT, 300)
        await crowd.until(lambda: crowd.had["trading"] > 460)
        assert await _spent(redis, 3000)  # far beyond what verification may run ahead
        before = crowd.had["trading"]
        for number in range(5):
            await verification.turn(Caller(TENANT, f"key-{number}"), FAST)
        traded = crowd.had["trading"] - before
    assert traded >= 5 * 10  # and trading goes first


async def test_the_part_that_verification_keeps_goes_round_among_tenants(redis: Redis) -> None:
    trading, verification = _budget(redis, priority=True), _budget(redis)
    async with Crowd() as crowd:
        crowd.add("trading", trading.turn, TENANT, 300)
        await crowd.until(lambda: crowd.had["trading"] > 460)
        crowd.add("greedy", verification.turn, OTHER, 50)
        await crowd.until(lambda: crowd.had["greedy"] >= 4)
        before = crowd.had["greedy"]
        for number in range(4):
            await verification.turn(Caller(THIRD, str(number)), FAST)
        assert crowd.had["greedy"] - before <= 3 * 4


async def test_a_service_with_a_hundred_bindings_does_not_keep_one_with_a_single_binding_waiting(redis: Redis) -> None:
    turns = Turns(_budget(redis, per_minute=1200, priority=True))

    async def loud(caller: Caller, endpoint: str) -> None:
        try:
            await turns.take("loud", caller, endpoint)
        except Throttled:
            await asyncio.sleep(0.01)

    async with Crowd() as crowd:
        crowd.add("loud", loud, TENANT, 100)
        await crowd.until(lambda: crowd.had["loud"] > 110)  # the burst is used up
        before = crowd.had["loud"]
        for _ in range(8):
            await turns.take("quiet", Caller(TENANT, "its own"), FAST)
        assert crowd.had["loud"] - before <= 8 * 4 + 100  # given up in the meantime, or one for one


async def test_of_one_account_the_services_take_turns_and_who_is_too_late_is_told_when_to_come(redis: Redis) -> None:
    turns, account = Turns(_budget(redis, priority=True)), Caller(TENANT, "100200300")
    loud = [asyncio.create_task(turns.take("loud", account, SLOW)) for _ in range(10)]
    await asyncio.sleep(0)
    await turns.take("quiet", account, SLOW)
    told = await asyncio.gather(*loud, return_exceptions=True)
    refused = [one for one in told if isinstance(one, Throttled)]
    assert refused
    assert all(one.retry_after and one.reason == "exchange_budget_spent" for one in refused)
