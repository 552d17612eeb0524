"""Classic spot orders: what they do to the wallet, and what is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]
Start = Callable[..., tuple[Exchange, Any]]

TRADE = "/api/v2/spot/trade"
ORDER = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "force": "gtc", "price": "60000", "size": "0.01"}


@pytest.fixture
def start(serve: Serve, make_account: Make) -> Start:
    def begin(**changed: Any) -> tuple[Exchange, Any]:
        balances = {"spot": {"USDT": "1000", "BTC": "0.5"}}
        exchange, caller = serve(make_account(mode="classic", **{"balances": balances, **changed}))
        exchange.limits.enforced = False
        return exchange, caller

    return begin


async def _wallet(caller: Any) -> dict[str, tuple[str, str]]:
    rows = await caller.ask("/api/v2/spot/account/assets")
    return {row["coin"]: (row["available"], row["frozen"]) for row in rows}


async def test_an_order_away_from_the_price_rests_and_ties_up_its_cost(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", {**ORDER, "clientOid": "mine-1"})
    assert placed["clientOid"] == "mine-1"
    assert await _wallet(caller) == {"USDT": ("400", "600"), "BTC": ("0.5", "0")}
    (row,) = await caller.ask(f"{TRADE}/unfilled-orders?symbol=BTCUSDT")
    assert (row["orderId"], row["status"], row["priceAvg"], row["basePrice"]) == (
        *(placed["orderId"], "live", "60000", "0"),
    )


async def test_an_order_that_reaches_the_price_fills_whole_at_it(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", {**ORDER, "price": "66000"})
    assert await _wallet(caller) == {"USDT": ("350", "0"), "BTC": ("0.50999", "0")}  # 0.01 less a fee of 0.1 %
    (row,) = await caller.ask(f"{TRADE}/orderInfo?orderId={placed['orderId']}")
    assert (row["status"], row["priceAvg"], row["baseVolume"], row["quoteVolume"]) == ("filled", "65000", "0.01", "650")
    (fill,) = await caller.ask(f"{TRADE}/fills?symbol=BTCUSDT")
    assert (fill["orderId"], fill["feeDetail"]["totalFee"]) == (placed["orderId"], "-0.00001")


async def test_a_market_buy_spends_quote_coins_and_a_market_sell_gives_base_coins(start: Start) -> None:
    _, caller = start()
    market = {"symbol": "BTCUSDT", "orderType": "market"}
    await caller.ask(f"{TRADE}/place-order", {**market, "side": "buy", "size": "100"})
    assert (await _wallet(caller))["USDT"] == ("900.03", "0")  # 0.001538 BTC at 65000, what is left stays
    await caller.ask(f"{TRADE}/place-order", {**market, "side": "sell", "size": "0.1"})
    assert (await _wallet(caller))["USDT"] == ("7393.53", "0")


async def test_a_cancelled_order_frees_what_it_tied_up_and_is_cancelled_once(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", ORDER)
    named = {"symbol": "BTCUSDT", "orderId": placed["orderId"]}
    assert await caller.ask(f"{TRADE}/cancel-order", named) == placed
    assert (await _wallet(caller))["USDT"] == ("1000", "0")
    assert await caller.refusal(f"{TRADE}/cancel-order", named) == "43001"
    (row,) = await caller.ask(f"{TRADE}/history-orders")
    assert row["status"] == "cancelled"


async def test_a_client_order_id_has_one_effect(start: Start) -> None:
    _, caller = start()
    mine = {**ORDER, "clientOid": "once"}
    await caller.ask(f"{TRADE}/place-order", mine)
    assert await caller.refusal(f"{TRADE}/place-order", mine) == "43118"
    assert len(await caller.ask(f"{TRADE}/unfilled-orders")) == 1
    await caller.ask(f"{TRADE}/cancel-order", {"symbol": "BTCUSDT", "clientOid": "once"})
    assert await caller.refusal(f"{TRADE}/place-order", mine) == "43118"


async def test_a_replaced_order_has_a_new_id_and_the_new_terms(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", ORDER)
    new = await caller.ask(
        f"{TRADE}/cancel-replace-order",
        {"symbol": "BTCUSDT", "orderId": placed["orderId"], "price": "50000", "size": "0.01", "newClientOid": "next"},
    )
    assert (new["success"], new["clientOid"]) == ("success", "next")
    assert new["orderId"] != placed["orderId"]
    assert (await _wallet(caller))["USDT"] == ("500", "500")


async def test_a_replacement_that_fails_has_cancelled_the_order_all_the_same(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", ORDER)
    new = await caller.ask(
        f"{TRADE}/cancel-replace-order", {"symbol": "BTCUSDT", "orderId": placed["orderId"], "size": "9"}
    )
    assert (new["success"], new["msg"]) == ("failure", "Insufficient balance")
    assert await caller.ask(f"{TRADE}/unfilled-orders") == []


async def test_batches_succeed_and_fail_row_by_row(start: Start) -> None:
    _, caller = start()
    rows = [{**ORDER, "clientOid": "a"}, {**ORDER, "clientOid": "a"}, {**ORDER, "clientOid": "b", "size": "9"}]
    placed = await caller.ask(f"{TRADE}/batch-orders", {"symbol": "BTCUSDT", "orderList": rows})
    assert [row["clientOid"] for row in placed["successList"]] == ["a"]
    assert [(row["clientOid"], row["errorCode"]) for row in placed["failureList"]] == [("a", "43118"), ("b", "43012")]
    ended = await caller.ask(
        f"{TRADE}/batch-cancel-order",
        {"symbol": "BTCUSDT", "orderList": [{"clientOid": "a"}, {"orderId": "1"}]},
    )
    assert ([row["clientOid"] for row in ended["successList"]], len(ended["failureList"])) == (["a"], 1)


async def test_a_symbols_orders_end_together_and_others_stay(start: Start) -> None:
    _, caller = start()
    await caller.ask(f"{TRADE}/place-order", {**ORDER, "size": "0.005"})
    eth = {**ORDER, "symbol": "ETHUSDT", "price": "3000", "size": "0.1"}
    await caller.ask(f"{TRADE}/place-order", eth)
    assert await caller.ask(f"{TRADE}/cancel-symbol-order", {"symbol": "BTCUSDT"}) == {"symbol": "BTCUSDT"}
    assert [row["symbol"] for row in await caller.ask(f"{TRADE}/unfilled-orders")] == ["ETHUSDT"]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"symbol": "NOUSDT"}, "40034"),
        ({"size": "9"}, "43012"),
        ({"side": "sell", "price": "70000", "size": "0.6"}, "43012"),
        ({"price": "60000.001"}, "40808"),
        ({"size": "0.0100001"}, "40808"),
        ({"size": "0.000001"}, "45110"),
        ({"size": "-1"}, "40020"),
        ({"size": "NaN"}, "40020"),
        ({"size": None}, "40019"),
        ({"side": "hold"}, "40020"),
        ({"clientOid": "a b"}, "43011"),
        ({"clientOid": ["a"]}, "40017"),
    ],
)
async def test_a_wrong_order_is_refused_and_changes_nothing(start: Start, changed: dict[str, Any], code: str) -> None:
    _, caller = start()
    before = await _wallet(caller)
    assert await caller.refusal(f"{TRADE}/place-order", {**ORDER, **changed}) == code
    assert await _wallet(caller) == before
    assert await caller.ask(f"{TRADE}/history-orders") == []


@pytest.mark.parametrize(("force", "price"), [("post_only", "66000"), ("ioc", "60000"), ("fok", "60000")])
async def test_what_may_not_rest_or_may_not_fill_is_cancelled(start: Start, force: str, price: str) -> None:
    _, caller = start()
    placed = await caller.ask(f"{TRADE}/place-order", {**ORDER, "force": force, "price": price})
    (row,) = await caller.ask(f"{TRADE}/orderInfo?orderId={placed['orderId']}")
    assert row["status"] == "cancelled"
    assert (await _wallet(caller))["USDT"] == ("1000", "0")


@pytest.mark.parametrize(
    ("authorities", "reads", "trades"), [(["stow"], True, True), (["stor"], True, False), (["coow"], False, False)]
)
async def test_trading_needs_the_right_to_write(
    start: Start, authorities: list[str], reads: bool, trades: bool
) -> None:
    _, caller = start(authorities=authorities)
    assert (await caller.code(f"{TRADE}/unfilled-orders") == "00000") == reads
    reply = (await caller.post(f"{TRADE}/place-order", ORDER)).json()
    assert (reply["code"] == "00000") == trades
    assert trades or reply["msg"] == "Incorrect permissions, need spot order write permissions"


async def test_keys_of_one_user_see_the_same_orders_and_reset_forgets_them(serve: Serve, make_account: Make) -> None:
    balances = {"spot": {"USDT": "1000"}}
    first = make_account(mode="classic", balances=balances)
    second = make_account(mode="classic", balances=balances, name="two", api_key="bg_two")
    exchange, caller = serve(first, second)
    await caller.ask(f"{TRADE}/place-order", ORDER)
    assert len((await caller.call(f"{TRADE}/unfilled-orders", {"ACCESS-KEY": "bg_two"})).json()["data"]) == 1
    exchange.reset()
    assert await caller.ask(f"{TRADE}/unfilled-orders") == []
    assert (await _wallet(caller))["USDT"] == ("1000", "0")
