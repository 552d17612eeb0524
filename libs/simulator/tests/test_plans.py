"""Orders that wait for a price, the countdown, added margin, what was held, and a main account's sub-accounts."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]
Start = Callable[..., tuple[Exchange, Any]]

SPOT, MIX, TRADE = "/api/v2/spot/trade", "/api/v2/mix/order", "/api/v3/trade"
ALL = "productType=USDT-FUTURES"
PRODUCT = {"symbol": "BTCUSDT", "productType": "USDT-FUTURES"}
CONTRACT = {**PRODUCT, "marginMode": "crossed", "marginCoin": "USDT"}
LATER = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "size": "0.001", "triggerPrice": "60000"}
PLAN = {**CONTRACT, **LATER, "planType": "normal_plan", "price": "60000", "size": "0.01"}
OPEN = {**CONTRACT, "side": "buy", "orderType": "market", "size": "0.02"}
UNIFIED = {"category": "USDT-FUTURES", "symbol": "BTCUSDT", "side": "buy"}


@pytest.fixture
def classic(serve: Serve, make_account: Make) -> Start:
    def begin(**changed: Any) -> tuple[Exchange, Any]:
        money = {"spot": {"USDT": "1000"}, "futures": {"USDT": "1000"}}
        rights = {"authorities": ["stow", "coow", "cpow"], "balances": money}
        exchange, caller = serve(make_account(**{"mode": "classic", **rights, **changed}))
        exchange.limits.enforced = False
        return exchange, caller

    return begin


@pytest.fixture
def unified(serve: Serve, make_account: Make) -> Start:
    def begin(**changed: Any) -> tuple[Exchange, Any]:
        exchange, caller = serve(make_account(**{"balances": {"futures": {"USDT": "1000"}}, **changed}))
        exchange.limits.enforced = False
        return exchange, caller

    return begin


async def test_a_spot_order_waits_until_it_is_changed_and_cancelled(classic: Start) -> None:
    _, caller = classic()
    placed = await caller.ask(f"{SPOT}/place-plan-order", {**LATER, "executePrice": "60000", "clientOid": "mine"})
    assert placed["clientOid"] == "mine"
    changed = {"orderId": placed["orderId"], "triggerPrice": "59000", "executePrice": "59000", "size": "0.002"}
    await caller.ask(f"{SPOT}/modify-plan-order", changed)
    (row,) = (await caller.ask(f"{SPOT}/current-plan-order"))["orderList"]
    assert (row["triggerPrice"], row["size"], row["planType"], row["status"]) == ("59000", "0.002", "AMOUNT", "live")
    assert await caller.ask(f"{SPOT}/unfilled-orders") == []
    assert await caller.ask(f"{SPOT}/cancel-plan-order", {"clientOid": "mine"}) == {"result": "success"}
    assert (await caller.ask(f"{SPOT}/current-plan-order"))["orderList"] == []
    (ended,) = (await caller.ask(f"{SPOT}/history-plan-order?symbol=BTCUSDT"))["orderList"]
    assert (ended["orderId"], ended["status"]) == (placed["orderId"], "cancelled")


async def test_waiting_spot_orders_end_by_their_markets(classic: Start) -> None:
    _, caller = classic()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        await caller.ask(f"{SPOT}/place-plan-order", {**LATER, "symbol": symbol, "orderType": "market"})
    ended = await caller.ask(f"{SPOT}/batch-cancel-plan-order", {"symbolList": ["BTCUSDT"]})
    assert len(ended["successList"]) == 1
    (row,) = (await caller.ask(f"{SPOT}/current-plan-order"))["orderList"]
    assert row["symbol"] == "ETHUSDT"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"triggerPrice": ""}, "40019"),
        ({"triggerPrice": "1.123456"}, "40808"),
        ({"size": "0"}, "40020"),
        ({"symbol": "NONEUSDT"}, "40034"),
        ({"side": "up"}, "40020"),
        ({"executePrice": ""}, "40019"),
    ],
)
async def test_what_is_no_order_is_refused_and_does_not_wait(classic: Start, wrong: Any, code: str) -> None:
    _, caller = classic()
    order = {**LATER, "executePrice": "60000"}
    assert await caller.refusal(f"{SPOT}/place-plan-order", {**order, **wrong}) == code
    assert (await caller.ask(f"{SPOT}/current-plan-order"))["orderList"] == []


async def test_a_client_id_is_taken_once_in_each_family(classic: Start) -> None:
    _, caller = classic()
    await caller.ask(f"{MIX}/place-plan-order", {**PLAN, "clientOid": "one"})
    assert await caller.refusal(f"{MIX}/place-plan-order", {**PLAN, "clientOid": "one"}) == "40786"
    await caller.ask(f"{SPOT}/place-plan-order", {**LATER, "executePrice": "60000", "clientOid": "one"})


async def test_a_futures_order_waits_is_listed_by_its_kind_and_ends(classic: Start) -> None:
    _, caller = classic()
    placed = await caller.ask(f"{MIX}/place-plan-order", PLAN)
    changed = {**PRODUCT, "orderId": placed["orderId"], "newTriggerPrice": "61000", "newPrice": "61000"}
    await caller.ask(f"{MIX}/modify-plan-order", changed)
    (row,) = (await caller.ask(f"{MIX}/orders-plan-pending?{ALL}&planType=normal_plan"))["entrustedList"]
    assert (row["triggerPrice"], row["price"], row["planStatus"]) == ("61000", "61000", "live")
    assert (await caller.ask(f"{MIX}/orders-plan-pending?{ALL}&planType=profit_loss"))["entrustedList"] is None
    ended = await caller.ask(f"{MIX}/cancel-plan-order", {**PRODUCT, "orderIdList": [placed, {"orderId": "1"}]})
    assert [one["orderId"] for one in ended["successList"]] == [placed["orderId"]]
    assert [one["errorCode"] for one in ended["failureList"]] == ["40768"]
    history = await caller.ask(f"{MIX}/orders-plan-history?{ALL}&planType=normal_plan")
    assert [one["planStatus"] for one in history["entrustedList"]] == ["cancelled"]


async def test_a_position_is_protected_only_while_there_is_one(classic: Start) -> None:
    _, caller = classic()
    loss = {**CONTRACT, "planType": "pos_loss", "triggerPrice": "60000", "holdSide": "long"}
    assert await caller.refusal(f"{MIX}/place-tpsl-order", loss) == "22002"
    await caller.ask(f"{MIX}/place-order", OPEN)
    await caller.ask(f"{MIX}/place-tpsl-order", {**loss, "holdSide": "buy"})
    both = {**CONTRACT, "holdSide": "long", "stopSurplusTriggerPrice": "70000", "stopLossTriggerPrice": "50000"}
    assert len(await caller.ask(f"{MIX}/place-pos-tpsl", both)) == 2
    rows = (await caller.ask(f"{MIX}/orders-plan-pending?{ALL}&planType=profit_loss"))["entrustedList"]
    assert sorted(row["planType"] for row in rows) == ["pos_loss", "pos_loss", "pos_profit"]
    ended = await caller.ask(f"{MIX}/cancel-plan-order", {**PRODUCT, "planType": "profit_loss"})
    assert len(ended["successList"]) == 3


async def test_margin_is_added_to_a_position_and_taken_again_up_to_what_was_added(classic: Start) -> None:
    _, caller = classic()
    change = {**PRODUCT, "marginCoin": "USDT", "holdSide": "long", "amount": "100"}
    assert await caller.refusal("/api/v2/mix/account/set-margin", change) == "22002"
    await caller.ask(f"{MIX}/place-order", OPEN)
    assert await caller.ask("/api/v2/mix/account/set-margin", change) == ""
    (row,) = await caller.ask(f"/api/v2/mix/position/all-position?{ALL}")
    assert row["marginSize"] == "165"  # 65 of the position, and what was added
    assert await caller.refusal("/api/v2/mix/account/set-margin", {**change, "amount": "5000"}) == "40762"
    assert await caller.refusal("/api/v2/mix/account/set-margin", {**change, "amount": "-101"}) == "40020"
    await caller.ask("/api/v2/mix/account/set-margin", {**change, "amount": "-100"})
    (row,) = await caller.ask(f"/api/v2/mix/position/all-position?{ALL}")
    assert row["marginSize"] == "65"


async def test_a_closed_position_is_history(classic: Start) -> None:
    _, caller = classic()
    assert (await caller.ask(f"/api/v2/mix/position/history-position?{ALL}"))["list"] == []
    await caller.ask(f"{MIX}/place-order", OPEN)
    await caller.ask(f"{MIX}/close-positions", PRODUCT)
    (row,) = (await caller.ask(f"/api/v2/mix/position/history-position?{ALL}&symbol=BTCUSDT"))["list"]
    assert (row["holdSide"], row["openAvgPrice"], row["closeAvgPrice"]) == ("long", "65000", "65000")
    assert (row["pnl"], row["netProfit"], row["closeTotalPos"]) == ("0", "-1.56", "0.02")


async def test_a_unified_account_has_strategies(unified: Start) -> None:
    _, caller = unified()
    trigger = {**UNIFIED, "type": "trigger", "qty": "0.01", "triggerPrice": "60000", "triggerOrderType": "market"}
    placed = await caller.ask(f"{TRADE}/place-strategy-order", trigger)
    stop = {**UNIFIED, "side": "sell", "qty": "0.01", "stopLoss": "60000"}
    assert await caller.refusal(f"{TRADE}/place-strategy-order", stop) == "25227"
    market = {**UNIFIED, "orderType": "market", "qty": "0.01"}
    await caller.ask(f"{TRADE}/place-order", market)
    await caller.ask(f"{TRADE}/place-strategy-order", stop)
    await caller.ask(f"{TRADE}/modify-strategy-order", {"orderId": placed["orderId"], "qty": "0.02"})
    rows = await caller.ask(f"{TRADE}/unfilled-strategy-orders?category=USDT-FUTURES")
    assert {row["type"]: row["qty"] for row in rows} == {"trigger": "0.02", "tpsl": "0.01"}
    assert await caller.ask(f"{TRADE}/cancel-strategy-order", {"orderId": placed["orderId"]}) is None
    assert await caller.refusal(f"{TRADE}/cancel-strategy-order", {"orderId": placed["orderId"]}) == "25204"
    ended = await caller.ask(f"{TRADE}/history-strategy-orders?category=USDT-FUTURES")
    assert [row["orderId"] for row in ended["list"]] == [placed["orderId"]]
    assert await caller.refusal(f"{TRADE}/place-strategy-order", {**UNIFIED, "type": "trigger"}) == "25200"


async def test_a_countdown_that_is_not_put_off_ends_every_order(unified: Start, clock: Any) -> None:
    _, caller = unified()
    order = {**UNIFIED, "orderType": "limit", "price": "60000", "qty": "0.01"}
    await caller.ask(f"{TRADE}/place-order", order)
    assert await caller.refusal(f"{TRADE}/countdown-cancel-all", {"countdown": "4"}) == "25200"
    for seconds in ("30", "30", "0"):
        await caller.ask(f"{TRADE}/countdown-cancel-all", {"countdown": seconds})
        clock.ms += 29_000
    clock.ms += 60_000
    assert len((await caller.ask(f"{TRADE}/unfilled-orders?category=USDT-FUTURES"))["list"]) == 1
    await caller.ask(f"{TRADE}/countdown-cancel-all", {"countdown": "5"})
    clock.ms += 5_000
    assert not (await caller.ask(f"{TRADE}/unfilled-orders?category=USDT-FUTURES"))["list"]
    (row,) = (await caller.ask(f"{TRADE}/history-orders?category=USDT-FUTURES"))["list"]
    assert row["orderStatus"] == "cancelled"


async def test_a_unified_position_takes_margin_and_becomes_history(unified: Start) -> None:
    _, caller = unified()
    await caller.ask(f"{TRADE}/place-order", {**UNIFIED, "orderType": "market", "qty": "0.02"})
    change = {"category": "USDT-FUTURES", "symbol": "BTCUSDT", "posSide": "long", "operation": "add", "amount": "50"}
    assert await caller.ask("/api/v3/account/set-margin", change) == "success"
    (row,) = (await caller.ask("/api/v3/position/current-position?category=USDT-FUTURES"))["list"]
    assert row["positionBalance"] == "115"
    assert (
        await caller.refusal("/api/v3/account/set-margin", {**change, "operation": "remove", "amount": "51"}) == "25200"
    )
    await caller.ask(f"{TRADE}/close-positions", {"category": "USDT-FUTURES", "symbol": "BTCUSDT"})
    (row,) = (await caller.ask("/api/v3/position/history-position?category=USDT-FUTURES"))["list"]
    assert (row["posSide"], row["openPriceAvg"]) == ("long", "65000")


async def test_a_main_account_sees_its_sub_accounts_and_nobody_elses(serve: Serve, make_account: Make) -> None:
    sub = make_account(name="sub", api_key="bg_" + "2" * 32, uid="1002", parent_id="1001")
    other = make_account(name="other", api_key="bg_" + "3" * 32, uid="1003", parent_id="9")
    _, caller = serve(make_account(), sub, other)
    assert [row["subUid"] for row in (await caller.ask("/api/v3/user/sub-list"))["list"]] == ["1002"]
    _, caller = serve(make_account(mode="classic"), sub)
    rows = (await caller.ask("/api/v2/user/virtual-subaccount-list"))["subAccountList"]
    assert [row["subAccountName"] for row in rows] == ["sub"]
