"""The shapes of docs/bitget.md 2.2-2.4, in both spellings where its sources differ."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

BALANCES = {
    "spot": {"USDT": "100", "BTC": {"available": "0.5", "frozen": "0.1"}, "DOGE": "0"},
    "futures": {"USDT": "50.5", "ETH": "2"},
    "funding": {"USDT": "7"},
}


async def _data(caller: Any, target: str) -> Any:
    body = (await caller.call(target)).json()
    assert body["code"] == "00000", body
    return body["data"]


@pytest.mark.parametrize(
    ("style", "ips", "shown"),
    [
        ("text", [], ""),
        ("text", ["198.51.100.4", "203.0.113.1"], "198.51.100.4,203.0.113.1"),
        ("list", ["198.51.100.4"], ["198.51.100.4"]),
        ("list", [], []),
        ("null", [], None),
        ("null", ["198.51.100.4"], "198.51.100.4"),
    ],
)
async def test_the_address_list_comes_as_text_as_a_list_or_as_null(
    serve: Serve, make_account: Make, style: str, ips: list[str], shown: Any
) -> None:
    _, unified = serve(make_account(ips=ips, style={"ips": style}))
    _, classic = serve(make_account(ips=ips, style={"ips": style}, mode="classic"))
    assert (await _data(unified, "/api/v3/account/info"))["ips"] == shown
    assert (await _data(classic, "/api/v2/spot/account/info"))["ips"] == shown


@pytest.mark.parametrize(
    ("style", "kind", "shown"),
    [
        ("underscore", "read_only", "read_only"),
        ("hyphen", "read_only", "read-only"),
        ("hyphen", "read_and_write", "read-and-write"),
    ],
)
async def test_the_key_type_comes_with_underscores_or_hyphens(
    serve: Serve, make_account: Make, style: str, kind: str, shown: str
) -> None:
    _, caller = serve(make_account(perm_type=kind, style={"perm_type": style}))
    assert (await _data(caller, "/api/v3/account/info"))["permType"] == shown


@pytest.mark.parametrize(
    ("style", "parent", "shown"),
    [
        ("text", "", ""),
        ("text", "99", "99"),
        ("number", "99", 99),
        ("number", "", 0),
        ("null", "", None),
        ("null", "99", "99"),
    ],
)
async def test_the_parent_comes_as_text_number_or_null(
    serve: Serve, make_account: Make, style: str, parent: str, shown: Any
) -> None:
    _, caller = serve(make_account(parent_id=parent, style={"parent_id": style}))
    assert (await _data(caller, "/api/v3/account/info"))["parentId"] == shown


async def test_info_gives_the_tokens_as_they_were_set_known_or_not(serve: Serve, make_account: Make) -> None:
    _, unified = serve(make_account(permissions=["uta_trade", "something_new"]))
    _, classic = serve(make_account(mode="classic", authorities=["stor", "zzzr"]))
    assert (await _data(unified, "/api/v3/account/info"))["permissions"] == ["uta_trade", "something_new"]
    assert (await _data(classic, "/api/v2/spot/account/info"))["authorities"] == ["stor", "zzzr"]


async def test_only_classic_success_may_be_spelled_message(serve: Serve, make_account: Make) -> None:
    style = {"success": "message"}
    _, classic = serve(make_account(mode="classic", style=style))
    _, unified = serve(make_account(style=style))
    assert (await classic.call("/api/v2/spot/account/assets")).json()["message"] == "success"
    assert (await unified.call("/api/v3/account/assets")).json()["msg"] == "success"


async def test_unified_assets_are_one_pool_of_the_non_zero_coins(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(balances=BALANCES))
    data = await _data(caller, "/api/v3/account/assets")
    by_coin = {asset["coin"]: asset for asset in data["assets"]}
    assert by_coin.keys() == {"USDT", "BTC", "ETH"}
    assert by_coin["USDT"]["equity"] == "150.5"
    assert (by_coin["BTC"]["available"], by_coin["BTC"]["locked"], by_coin["BTC"]["balance"]) == ("0.5", "0.1", "0.6")
    usd = Decimal("150.5") + Decimal("0.6") * 65000 + Decimal(2) * 3200
    assert Decimal(data["accountEquity"]) == Decimal(data["usdtEquity"]) == usd


async def test_every_amount_is_text_in_plain_notation(serve: Serve, make_account: Make) -> None:
    tiny = {"spot": {"BTC": "0.00000001", "USDT": "1000000"}}
    _, caller = serve(make_account(balances=tiny))
    amounts = [asset["equity"] for asset in (await _data(caller, "/api/v3/account/assets"))["assets"]]
    assert amounts == ["0.00000001", "1000000"]


async def test_classic_spot_hides_empty_coins_unless_all_are_asked_for(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(mode="classic", balances=BALANCES))
    path = "/api/v2/spot/account/assets"
    assert [item["coin"] for item in await _data(caller, path)] == ["USDT", "BTC"]
    assert [item["coin"] for item in await _data(caller, path + "?assetType=all")] == ["USDT", "BTC", "DOGE"]
    assert [item["coin"] for item in await _data(caller, path + "?coin=BTC")] == ["BTC"]


async def test_classic_futures_answer_by_product(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(mode="classic", balances=BALANCES))
    path = "/api/v2/mix/account/accounts?productType="
    (usdt,) = await _data(caller, path + "USDT-FUTURES")
    (usdc,) = await _data(caller, path + "usdc-futures")
    (coin,) = await _data(caller, path + "COIN-FUTURES")
    assert (usdt["marginCoin"], usdt["accountEquity"], usdt["usdtEquity"]) == ("USDT", "50.5", "50.5")
    assert (usdc["marginCoin"], usdc["accountEquity"]) == ("USDC", "0")
    assert (coin["marginCoin"], coin["accountEquity"], coin["usdtEquity"]) == ("ETH", "2", "6400")


@pytest.mark.parametrize(
    ("query", "code"), [("", "40019"), ("?productType=SPOT", "40020"), ("?productType=a&productType=a", "40020")]
)
async def test_a_missing_wrong_or_doubled_parameter_is_refused(
    serve: Serve, make_account: Make, query: str, code: str
) -> None:
    _, caller = serve(make_account(mode="classic"))
    assert await caller.code("/api/v2/mix/account/accounts" + query) == code


async def test_the_classic_overview_values_each_wallet(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(mode="classic", balances=BALANCES))
    rows = {
        row["accountType"]: row["usdtBalance"] for row in await _data(caller, "/api/v2/account/all-account-balance")
    }
    assert rows == {
        "spot": "39100",
        "futures": "6450.5",
        "funding": "7",
        "earn": "0",
        "bots": "0",
        "margin": "0",
    }


async def test_both_families_show_the_funding_wallet(serve: Serve, make_account: Make) -> None:
    _, unified = serve(make_account(balances=BALANCES))
    _, classic = serve(make_account(mode="classic", balances=BALANCES))
    assert await _data(unified, "/api/v3/account/funding-assets") == [
        {"coin": "USDT", "balance": "7", "available": "7", "frozen": "0"}
    ]
    assert (await _data(classic, "/api/v2/account/funding-assets"))[0]["available"] == "7"


@pytest.mark.parametrize(("style", "shown"), [("null", None), ("empty", [])])
async def test_an_empty_list_may_be_null(serve: Serve, make_account: Make, style: str, shown: Any) -> None:
    _, caller = serve(make_account(style={"lists": style}))
    assert await _data(caller, "/api/v3/position/current-position?category=USDT-FUTURES") == {"list": shown}


async def test_amounts_are_the_accounts_own_after_a_mode_switch(serve: Serve, make_account: Make) -> None:
    unified = make_account(balances=BALANCES)
    exchange, caller = serve(unified)
    exchange.accounts[unified.api_key] = make_account(balances=BALANCES, mode="classic")
    assert (await _data(caller, "/api/v2/spot/account/assets"))[0]["available"] == "100"
