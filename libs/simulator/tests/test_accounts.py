"""What an account becomes by itself, and what the exchange holds against it."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange, config
from simulator.codes import STATES

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

INFO = "/api/v3/account/info"
CLASSIC_INFO = "/api/v2/spot/account/info"
COIN_FUTURES = "/api/v2/mix/account/accounts?productType=COIN-FUTURES"


async def test_a_key_made_seconds_ago_is_unknown_for_a_while(serve: Serve, make_account: Make, clock: Any) -> None:
    _, caller = serve(make_account(fresh_for=30))
    assert await caller.code(INFO) == "40037"
    clock.ms += 29_999
    assert await caller.code(INFO) == "40037"
    clock.ms += 1
    assert await caller.code(INFO) == "00000"


async def test_a_key_made_seconds_ago_is_unknown_for_some_calls(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(fresh_calls=2))
    assert [await caller.code(INFO) for _ in range(3)] == ["40037", "40037", "00000"]


async def test_an_account_changes_after_calls_and_after_seconds(serve: Serve, make_account: Make, clock: Any) -> None:
    steps = [{"calls": 2, "set": {"mode": "switching"}}, {"seconds": 60, "set": {"mode": "classic"}}]
    exchange, caller = serve(make_account(later=steps))
    assert [await caller.code(INFO) for _ in range(3)] == ["00000"] * 3
    assert exchange.named("one").mode == "switching"
    clock.ms += 60_000
    assert await caller.code(INFO) == "40084"
    assert await caller.code(CLASSIC_INFO) == "00000"


def test_what_comes_later_survives_writing_and_reading(make_account: Make) -> None:
    account = make_account(
        state="frozen",
        fresh_calls=3,
        later=[{"calls": 1, "set": {"state": ""}}, {"seconds": 2.5, "set": {"ips": ["203.0.113.1"]}}],
    )
    again = config.account(config.document(account))
    assert config.document(again) == config.document(account)
    assert again.later is not None
    assert (again.later.becomes.state, again.later.calls) == ("", 1)


@pytest.mark.parametrize("state", STATES)
async def test_each_state_has_its_code_once_the_key_is_proven(serve: Serve, make_account: Make, state: str) -> None:
    _, caller = serve(make_account(state=state))
    code, text = STATES[state]
    body = (await caller.call(INFO)).json()
    assert (body["code"], body["msg"]) == (code, text)
    assert await caller.code(INFO, {"ACCESS-SIGN": "AAAA"}) == "40009"
    assert await caller.code(INFO, {"ACCESS-PASSPHRASE": "Wrong0Pass"}) == "40012"


async def test_an_elite_traders_key_is_refused_on_v2_only(serve: Serve, make_account: Make) -> None:
    _, unified = serve(make_account(state="elite_trader"))
    _, classic = serve(make_account(state="elite_trader", mode="classic"))
    assert await unified.code(INFO) == "00000"
    assert [await classic.code(INFO), await classic.code(CLASSIC_INFO)] == ["40084", "40731"]


async def test_coin_futures_can_be_delisted_in_two_ways(serve: Serve, make_account: Make) -> None:
    funded = {"mode": "classic", "balances": {"futures": {"BTC": "1"}}}
    _, offered = serve(make_account(**funded))
    _, empty = serve(make_account(**funded, style={"coin_futures": "empty"}))
    _, error = serve(make_account(**funded, style={"coin_futures": "error"}))
    assert [row["marginCoin"] for row in (await offered.call(COIN_FUTURES)).json()["data"]] == ["BTC"]
    assert (await empty.call(COIN_FUTURES)).json()["data"] == []
    assert await error.code(COIN_FUTURES) == "40034"
    assert await error.code(COIN_FUTURES.replace("COIN", "USDT")) == "00000"


async def test_an_address_list_is_shown_as_given_and_only_whole_ipv4_addresses_count(
    serve: Serve, make_account: Make
) -> None:
    listed = ["2001:db8::1", "198.51.100.0/24", "198.51.100.1-198.51.100.9"]
    _, caller = serve(make_account(ips=listed))
    assert await caller.code(INFO) == "40018"
    _, listed_too = serve(make_account(ips=[*listed, "198.51.100.4"]))
    assert (await listed_too.call(INFO)).json()["data"]["ips"] == ",".join([*listed, "198.51.100.4"])


async def test_a_refused_address_is_named(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(ips=["203.0.113.7"]))
    assert (await caller.call(INFO)).json()["msg"] == "Invalid IP, current request ip 198.51.100.4"


async def test_account_info_may_need_the_management_right(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(permissions=["uta_trade"], style={"info": "manage"}))
    assert await caller.code(INFO) == "40014"


@pytest.mark.parametrize(("wallets", "data"), [("null", None), ("wrapped", {"list": []})])
async def test_lists_come_in_odd_shapes(serve: Serve, make_account: Make, wallets: str, data: Any) -> None:
    _, classic = serve(make_account(mode="classic", style={"wallets": wallets}))
    _, unified = serve(make_account(style={"wallets": wallets}))
    assert (await classic.call("/api/v2/spot/account/assets")).json()["data"] == data
    assert (await unified.call("/api/v3/account/assets")).json()["data"]["assets"] == data
