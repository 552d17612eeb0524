"""Limits with a clock that stands still (docs/bitget.md 4)."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange
from simulator.limits import PENALTY_MS, PER_MINUTE, Limits

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]


@pytest.mark.parametrize(
    ("target", "mode", "rate"),
    [
        ("/api/v2/spot/account/info", "classic", 1),
        ("/api/v2/account/all-account-balance", "classic", 1),
        ("/api/v2/spot/account/assets", "classic", 10),
        ("/api/v2/mix/account/accounts?productType=USDT-FUTURES", "classic", 10),
        ("/api/v3/account/info", "unified", 5),
        ("/api/v3/account/assets", "unified", 20),
        ("/api/v2/public/time", "unified", 20),
    ],
)
async def test_each_call_has_its_documented_rate_a_second(
    serve: Serve, make_account: Make, clock: Any, target: str, mode: str, rate: int
) -> None:
    _, caller = serve(make_account(mode=mode))
    replies = [await caller.call(target) for _ in range(rate + 1)]
    assert [reply.status_code for reply in replies] == [200] * rate + [429]
    assert replies[-1].json()["code"] == "429"
    assert [int(reply.headers["x-mbx-used-remain-limit"]) for reply in replies[:-1]] == list(range(rate))[::-1]
    clock.ms += 1000
    assert (await caller.call(target)).status_code == 200


async def test_two_keys_of_one_user_share_a_budget_and_two_users_do_not(serve: Serve, make_account: Make) -> None:
    first = make_account(mode="classic")
    second = make_account(mode="classic", name="two", api_key="bg_two")
    other = make_account(mode="classic", name="three", api_key="bg_three", uid="2002")
    _, caller = serve(first, second, other)
    path = "/api/v2/spot/account/info"
    codes = [await caller.code(path, {"ACCESS-KEY": key}) for key in (first.api_key, "bg_two", "bg_three")]
    assert codes == ["00000", "429", "00000"]


async def test_a_stranger_cannot_spend_a_users_budget(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(mode="classic"))
    path = "/api/v2/spot/account/info"
    assert await caller.code(path, {"ACCESS-SIGN": "AAAA"}) == "40009"
    assert await caller.code(path) == "00000"


async def test_limits_can_be_turned_off(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account(mode="classic"))
    exchange.limits.enforced = False
    assert [await caller.code("/api/v2/spot/account/info") for _ in range(3)] == ["00000"] * 3


def test_an_address_over_its_minute_waits_five() -> None:
    limits, start = Limits(), 1_700_000_040_000
    assert all(limits.admit_ip("198.51.100.4", start) for _ in range(PER_MINUTE))
    assert not limits.admit_ip("198.51.100.4", start)
    assert limits.admit_ip("203.0.113.9", start)
    assert not limits.admit_ip("198.51.100.4", start + PENALTY_MS - 1)
    assert limits.admit_ip("198.51.100.4", start + PENALTY_MS)


async def test_an_address_under_penalty_is_refused_everywhere(serve: Serve, make_account: Make, clock: Any) -> None:
    exchange, caller = serve(make_account())
    for _ in range(PER_MINUTE + 1):
        exchange.limits.admit_ip("198.51.100.4", clock.ms)
    assert await caller.code("/api/v3/account/info") == "429"
    assert await caller.code("/api/v3/account/nothing") == "429"


def test_the_busiest_minute_slides() -> None:
    limits, start = Limits(enforced=False), 1_700_000_000_000
    for second in (0, 30, 59, 60, 61):
        assert limits.admit_ip("198.51.100.4", start + second * 1000)
    assert limits.watched()["busiest_minute"] == {"198.51.100.4": 4}
