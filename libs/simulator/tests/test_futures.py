"""Futures and unified orders: margin, positions, and what the two families refuse."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]
Start = Callable[..., tuple[Exchange, Any]]

MIX, TRADE = "/api/v2/mix/order", "/api/v3/trade"
CLASSIC = {
    **{"symbol": "BTCUSDT", "productType": "USDT-FUTURES", "marginMode": "crossed", "marginCoin": "USDT"},
    **{"side": "buy", "orderType": "limit", "price": "60000", "size": "0.02"},
}
UNIFIED = {
    **{"category": "USDT-FUTURES", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit"},
    **{"price": "60000", "qty": "0.02"},
}
ALL = "productType=USDT-FUTURES"


@pytest.fixture
def start(serve: Serve, make_account: Make) -> Start:
    def begin(**changed: Any) -> tuple[Exchange, Any]:
        rights = {"authorities": ["stow", "coow", "cpow"], "balances": {"futures": {"USDT": "1000"}}}
        exchange, caller = serve(make_account(**{"mode": "classic", **rights, **changed}))
        exchange.limits.enforced = False
        return exchange, caller

    return begin


async def _available(caller: Any) -> str:
    (row,) = await caller.ask(f"/api/v2/mix/account/accounts?{ALL}")
    return str(row["available"])


async def test_a_resting_order_ties_up_margin_and_a_cancel_frees_it(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{MIX}/place-order", CLASSIC)
    assert await _available(caller) == "940"  # 0.02 at 60000, a twentieth
    listed = await caller.ask(f"{MIX}/orders-pending?{ALL}")
    assert [row["orderId"] for row in listed["entrustedList"]] == [placed["orderId"]]
    await caller.ask(f"{MIX}/cancel-order", {**ALL_FIELDS, "orderId": placed["orderId"]})
    assert await _available(caller) == "1000"
    assert (await caller.ask(f"{MIX}/orders-pending?{ALL}"))["entrustedList"] is None


ALL_FIELDS = {"symbol": "BTCUSDT", "productType": "USDT-FUTURES"}


async def test_an_opposite_order_reduces_turns_and_pays_fees_only(start: Start) -> None:
    _, caller = start()
    market = {**CLASSIC, "orderType": "market"}
    await caller.ask(f"{MIX}/place-order", {**market, "size": "0.02"})
    assert await _available(caller) == "934.22"  # margin 65, fee 0.78
    await caller.ask(f"{MIX}/place-order", {**market, "side": "sell", "size": "0.03"})
    (row,) = await caller.ask(f"/api/v2/mix/position/all-position?{ALL}")
    assert (row["holdSide"], row["total"], row["marginSize"]) == ("short", "0.01", "32.5")
    done = await caller.ask(f"{MIX}/close-positions", {"productType": "USDT-FUTURES"})
    assert len(done["successList"]) == 1
    assert await _available(caller) == "997.66"  # 0.06 traded at 65000, 0.06 % each
    assert await caller.refusal(f"{MIX}/close-positions", {"productType": "USDT-FUTURES"}) == "22002"


async def test_profit_is_paid_out_when_a_position_closes(start: Start) -> None:
    exchange, caller = start()
    market = {**CLASSIC, "orderType": "market", "size": "0.02"}
    await caller.ask(f"{MIX}/place-order", market)
    exchange.prices = {**exchange.prices, "BTC": exchange.prices["BTC"] + 1000}
    (row,) = await caller.ask(f"/api/v2/mix/position/single-position?{ALL}&symbol=BTCUSDT&marginCoin=USDT")
    assert row["unrealizedPL"] == "20"
    await caller.ask(f"{MIX}/place-order", {**market, "side": "sell", "reduceOnly": "YES"})
    assert await _available(caller) == "1018.428"  # 20 less fees of 0.78 and 0.792


async def test_a_modified_order_has_new_ids_and_its_old_client_id_stays_taken(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{MIX}/place-order", {**CLASSIC, "clientOid": "first"})
    change = {**ALL_FIELDS, "orderId": placed["orderId"], "newClientOid": "second", "newPrice": "59000"}
    new = await caller.ask(f"{MIX}/modify-order", {**change, "newSize": "0.02"})
    assert (new["clientOid"], new["orderId"] != placed["orderId"]) == ("second", True)
    assert await _available(caller) == "941"
    assert await caller.refusal(f"{MIX}/modify-order", {**change, "clientOid": "second"}) == "40768"
    for used in ("first", "second"):
        assert await caller.refusal(f"{MIX}/place-order", {**CLASSIC, "clientOid": used}) == "40786"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"size": "10"}, "40762"),
        ({"price": "60000.01"}, "40808"),
        ({"size": "0.00001"}, "40808"),
        ({"symbol": "NOUSDT"}, "40034"),
        ({"productType": "OPTIONS"}, "40020"),
        ({"marginCoin": "BTC"}, "40020"),
        ({"reduceOnly": "YES"}, "22002"),
    ],
)
async def test_a_wrong_classic_order_is_refused(start: Start, changed: dict[str, Any], code: str) -> None:
    _, caller = start()
    assert await caller.refusal(f"{MIX}/place-order", {**CLASSIC, **changed}) == code
    assert await _available(caller) == "1000"


async def test_orders_and_holdings_are_two_rights(start: Start) -> None:
    _, orders = start(authorities=["coow"])
    await orders.ask(f"{MIX}/place-order", CLASSIC)
    assert await orders.code(f"/api/v2/mix/position/all-position?{ALL}") == "40014"
    assert await orders.refusal("/api/v2/mix/account/set-leverage", {**ALL_FIELDS, "leverage": "5"}) == "40014"
    _, holdings = start(authorities=["coor", "cpow"])
    assert await holdings.refusal(f"{MIX}/place-order", CLASSIC) == "40014"
    await holdings.ask("/api/v2/mix/account/set-leverage", {**ALL_FIELDS, "leverage": "5"})


async def test_modes_do_not_change_under_an_order(start: Start) -> None:
    _, caller = start()
    placed = await caller.ask(f"{MIX}/place-order", CLASSIC)
    hedge = {"productType": "USDT-FUTURES", "posMode": "hedge_mode"}
    isolated = {**ALL_FIELDS, "marginCoin": "USDT", "marginMode": "isolated"}
    assert await caller.refusal("/api/v2/mix/account/set-position-mode", hedge) == "40920"
    assert await caller.refusal("/api/v2/mix/account/set-margin-mode", isolated) == "45117"
    await caller.ask(f"{MIX}/cancel-order", {**ALL_FIELDS, "orderId": placed["orderId"]})
    await caller.ask("/api/v2/mix/account/set-position-mode", hedge)
    assert await caller.refusal(f"{MIX}/place-order", CLASSIC) == "40774"  # says neither open nor close
    assert await caller.refusal("/api/v2/mix/account/set-leverage", {**ALL_FIELDS, "leverage": "126"}) == "40797"


async def test_unified_orders_share_one_pool_and_one_list_of_client_ids(start: Start) -> None:
    _, caller = start(mode="unified", balances={"spot": {"USDT": "100"}, "futures": {"USDT": "1000"}})
    spot = {**UNIFIED, "category": "spot", "qty": "0.01", "clientOid": "x"}
    await caller.ask(f"{TRADE}/place-order", spot)
    (row,) = (await caller.ask("/api/v3/account/assets"))["assets"]
    assert (row["available"], row["locked"]) == ("500", "600")
    assert await caller.refusal(f"{TRADE}/place-order", {**UNIFIED, "clientOid": "x"}) == "25212"
    assert await caller.refusal(f"{TRADE}/place-order", spot) == "25212"


async def test_unified_cancel_and_modify_need_no_category(start: Start) -> None:
    _, caller = start(mode="unified")
    placed = await caller.ask(f"{TRADE}/place-order", UNIFIED)
    assert await caller.ask(f"{TRADE}/modify-order", {"orderId": placed["orderId"], "price": "59000"}) == placed
    assert (await caller.ask(f"{TRADE}/order-info?orderId={placed['orderId']}"))["price"] == "59000"
    wrong = {"orderId": placed["orderId"], "category": "SPOT"}
    assert await caller.refusal(f"{TRADE}/cancel-order", wrong) == "25204"
    assert await caller.ask(f"{TRADE}/cancel-order", {"orderId": placed["orderId"]}) == placed


async def test_unified_batches_are_of_one_category_and_answer_row_by_row(start: Start) -> None:
    _, caller = start(mode="unified")
    mixed = [UNIFIED, {**UNIFIED, "category": "SPOT"}]
    assert await caller.refusal(f"{TRADE}/place-batch", mixed) == "25200"
    assert await caller.refusal(f"{TRADE}/place-batch", [UNIFIED] * 21) == "25241"
    rows = await caller.ask(f"{TRADE}/place-batch", [{**UNIFIED, "clientOid": "a"}, {**UNIFIED, "qty": "9"}])
    assert (rows[0]["clientOid"], rows[1]["code"]) == ("a", "25202")
    named = {"category": "USDT-FUTURES", "symbol": "BTCUSDT"}
    ended = await caller.ask(f"{TRADE}/cancel-batch", [{**named, "clientOid": "a"}, {**named, "orderId": "1"}])
    assert (ended[0], ended[1]["code"]) == ({"orderId": rows[0]["orderId"], "clientOid": "a"}, "25204")


@pytest.mark.parametrize(("style", "nothing"), [("null", None), ("empty", [])])
async def test_no_orders_are_an_empty_list_or_null(start: Start, style: str, nothing: Any) -> None:
    _, caller = start(mode="unified", style={"lists": style})
    assert (await caller.ask(f"{TRADE}/unfilled-orders"))["list"] == nothing


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"perm_type": "read_only"}, "uta trade write"), ({"permissions": ["uta_mgt"]}, "uta trade write")],
)
async def test_a_unified_key_trades_only_with_the_right_to_write(
    start: Start, changed: dict[str, Any], words: str
) -> None:
    _, caller = start(mode="unified", **changed)
    reply = (await caller.post(f"{TRADE}/place-order", UNIFIED)).json()
    assert (reply["code"], reply["msg"]) == ("40014", f"Incorrect permissions, need {words} permissions")


async def test_the_mode_gate_stands_before_orders_too(start: Start) -> None:
    _, classic = start()
    _, unified = start(mode="unified")
    assert await classic.refusal(f"{TRADE}/place-order", UNIFIED) == "40084"
    assert await unified.refusal(f"{MIX}/place-order", CLASSIC) == "40085"
