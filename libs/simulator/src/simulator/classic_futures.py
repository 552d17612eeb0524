"""Classic USDT futures orders (v2): place, modify, cancel, batches, closing, and what became of the orders. In hedge
mode `side` names the position and `tradeSide` opens or closes it."""

from typing import Any, Final

from simulator.amounts import plain
from simulator.book import Fill, Order, Position
from simulator.calls import FUTURES_READ, FUTURES_WRITE, Call, Private, Table, chosen, objects, required, text
from simulator.codes import Refusal
from simulator.market import PRODUCTS
from simulator.matching import FUTURES_CODES, Desk
from simulator.tickets import (
    BATCH,
    Direction,
    batch,
    changed,
    client_oid,
    each,
    ids,
    market,
    named,
    page,
    ticket,
    within,
)

_ENDED: Final = {"live": "live", "filled": "filled", "cancelled": "canceled"}


def place(call: Call) -> dict[str, str]:
    return _place(call, call.fields())


def batch_place(call: Call) -> dict[str, Any]:
    fields = call.fields()
    shared = {name: value for name, value in fields.items() if name != "orderList"}
    rows = batch(objects(fields.get("orderList"), "orderList"), BATCH)
    return each(rows, lambda row: _place(call, {**shared, **row}))


def modify(call: Call) -> dict[str, str]:
    """Cancel an order and place it anew with a new client id."""
    fields, desk = call.fields(), _desk(call)
    order = _live(desk, fields)
    new_oid = client_oid(fields, "newClientOid")
    if not new_oid:
        raise Refusal("40019", "newClientOid")
    if desk.book.known(order.symbol, new_oid):
        raise Refusal(desk.codes.duplicate)
    price, size = changed(fields, "newPrice", order.price), changed(fields, "newSize", order.size)
    return ids(desk.amend(order, price, size, new_id=call.exchange.next_id(), new_oid=new_oid))


def cancel(call: Call) -> dict[str, str]:
    return _cancel(call, call.fields())


def batch_cancel(call: Call) -> dict[str, Any]:
    """End the orders of a list, or without one every order of the product or symbol."""
    fields = call.fields()
    if fields.get("orderIdList") is None:
        return _cancel_all(call, fields)
    shared = {name: value for name, value in fields.items() if name != "orderIdList"}
    rows = batch(objects(fields["orderIdList"], "orderIdList"), BATCH)
    return each(rows, lambda row: _cancel(call, {**shared, **row}))


def cancel_all(call: Call) -> dict[str, Any]:
    return _cancel_all(call, call.fields())


def close(call: Call) -> dict[str, Any]:
    """Close positions at the market: all of a product, or those of a symbol and side."""
    fields, desk = call.fields(), _desk(call)
    product, symbol, side = chosen(fields, "productType", PRODUCTS), text(fields, "symbol"), text(fields, "holdSide")
    found = [one for one in desk.book.positions.values() if one.symbol.category == product]
    found = [one for one in found if symbol in ("", one.symbol.name) and side in ("", one.side, _way(one))]
    if not found:
        raise Refusal(desk.codes.no_position)
    return {"successList": [ids(order) for order in desk.close(found)], "failureList": [], "result": False}


def detail(call: Call) -> dict[str, Any]:
    chosen(call.params, "productType", PRODUCTS)
    order = _desk(call).book.find(True, *named(call.params))
    if order is None or order.symbol.name != required(call.params, "symbol"):
        raise Refusal("40109")
    return {**_shown(order), "state": _ENDED[order.status]}


def pending(call: Call) -> dict[str, Any]:
    return _listed(call, [one for one in _desk(call).book.live.values() if _asked(call, one)])


def history(call: Call) -> dict[str, Any]:
    return _listed(
        call, [one for one in _desk(call).book.orders.values() if one.status != "live" and _asked(call, one)]
    )


def fills(call: Call) -> dict[str, Any]:
    found = page(call, (one for one in _desk(call).book.fills if _asked(call, one.order)), lambda fill: fill.id)
    return {"fillList": [_fill(fill) for fill in found] or None, "endId": found[-1].id if found else None}


def _desk(call: Call) -> Desk:
    return Desk(call.exchange, call.account, FUTURES_CODES)


def _place(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk = _desk(call)
    symbol = market(chosen(fields, "productType", PRODUCTS), required(fields, "symbol"), "40034")
    if required(fields, "marginCoin").upper() != symbol.quote:
        raise Refusal("40020", "marginCoin")
    way = _hedged(fields) if desk.book.hedged else one_way(fields, text(fields, "reduceOnly").upper() == "YES")
    order = ticket(call.exchange, desk.book, symbol, fields, size="size", force="force", way=way)
    order.margin_mode = text(fields, "marginMode") or order.margin_mode
    return ids(desk.place(order))


def one_way(fields: dict[str, Any], reduces: bool) -> Direction:
    """Return where an order of one-way mode leads."""
    buys = text(fields, "side").lower() == "buy"
    return Direction("long" if buys != reduces else "short", opens=not reduces, reduce_only=reduces)


def _hedged(fields: dict[str, Any]) -> Direction:
    trade = text(fields, "tradeSide").lower()
    if trade not in ("open", "close"):
        raise Refusal("40774")
    return Direction("long" if text(fields, "side").lower() == "buy" else "short", opens=trade == "open")


def _live(desk: Desk, fields: dict[str, Any]) -> Order:
    symbol = market(chosen(fields, "productType", PRODUCTS), required(fields, "symbol"), "40034")
    order = desk.live(True, *named(fields))
    if order.symbol != symbol:
        raise Refusal(desk.codes.unknown)
    return order


def _cancel(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk = _desk(call)
    order = _live(desk, fields)
    desk.cancel(order)
    return ids(order)


def _cancel_all(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    product, symbol = chosen(fields, "productType", PRODUCTS), text(fields, "symbol")
    ended = _desk(call).cancel_all(lambda one: one.symbol.category == product and symbol in ("", one.symbol.name))
    return {"successList": [ids(order) for order in ended], "failureList": []}


def _asked(call: Call, order: Order) -> bool:
    product, symbol = chosen(call.params, "productType", PRODUCTS), text(call.params, "symbol")
    wanted = (text(call.params, "orderId"), text(call.params, "clientOid"))
    return (
        order.symbol.category == product
        and symbol in ("", order.symbol.name)
        and wanted[0] in ("", order.id)
        and wanted[1] in ("", order.client_oid)
        and within(call, order.created_ms)
    )


def _listed(call: Call, orders: list[Order]) -> dict[str, Any]:
    found = page(call, orders, lambda order: order.id)
    rows = [{**_shown(order), "status": _ENDED[order.status]} for order in found]
    return {"entrustedList": rows or None, "endId": found[-1].id if found else None}


def _shown(order: Order) -> dict[str, Any]:
    return {
        "symbol": order.symbol.name,
        "size": plain(order.size),
        **ids(order),
        "baseVolume": plain(order.filled),
        "fee": plain(-order.fee),
        "price": plain(order.price) if order.price else "",
        "priceAvg": plain(order.average) if order.filled else "",
        "side": order.side,
        "force": order.force,
        "totalProfits": plain(order.profit),
        "posSide": order.hold_side if order.hedged else "net",
        "marginCoin": order.symbol.quote,
        "quoteVolume": plain(order.value),
        "leverage": str(order.leverage),
        "marginMode": order.margin_mode,
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "enterPointSource": "API",
        "tradeSide": _trade_side(order),
        "posMode": "hedge_mode" if order.hedged else "one_way_mode",
        "orderType": order.kind,
        "orderSource": "normal",
        "presetStopSurplusPrice": "",
        "presetStopLossPrice": "",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
    }


def _trade_side(order: Order) -> str:
    if order.hedged:
        return "open" if order.opens else "close"
    return f"{order.side}_single"


def _fill(fill: Fill) -> dict[str, Any]:
    fee = {"deduction": "no", "feeCoin": fill.fee_coin, "totalDeductionFee": None, "totalFee": plain(-fill.fee)}
    return {
        "tradeId": fill.id,
        "symbol": fill.order.symbol.name,
        "orderId": fill.order.id,
        "price": plain(fill.price),
        "baseVolume": plain(fill.size),
        "feeDetail": [fee],
        "side": fill.order.side,
        "quoteVolume": plain(fill.value),
        "profit": plain(fill.profit),
        "enterPointSource": "api",
        "tradeSide": _trade_side(fill.order),
        "posMode": "hedge_mode" if fill.order.hedged else "one_way_mode",
        "tradeScope": "taker",
        "cTime": str(fill.at_ms),
    }


def _way(position: Position) -> str:
    return "buy" if position.side == "long" else "sell"


CALLS: Final[Table] = {
    ("POST", b"/api/v2/mix/order/place-order"): Private(10, FUTURES_WRITE, place),
    ("POST", b"/api/v2/mix/order/batch-place-order"): Private(1, FUTURES_WRITE, batch_place),
    ("POST", b"/api/v2/mix/order/modify-order"): Private(10, FUTURES_WRITE, modify),
    ("POST", b"/api/v2/mix/order/cancel-order"): Private(10, FUTURES_WRITE, cancel),
    ("POST", b"/api/v2/mix/order/batch-cancel-orders"): Private(10, FUTURES_WRITE, batch_cancel),
    ("POST", b"/api/v2/mix/order/cancel-all-orders"): Private(1, FUTURES_WRITE, cancel_all),
    ("POST", b"/api/v2/mix/order/close-positions"): Private(1, FUTURES_WRITE, close),
    ("GET", b"/api/v2/mix/order/detail"): Private(10, FUTURES_READ, detail),
    ("GET", b"/api/v2/mix/order/orders-pending"): Private(10, FUTURES_READ, pending),
    ("GET", b"/api/v2/mix/order/orders-history"): Private(10, FUTURES_READ, history),
    ("GET", b"/api/v2/mix/order/fills"): Private(10, FUTURES_READ, fills),
    ("GET", b"/api/v2/mix/order/fill-history"): Private(10, FUTURES_READ, fills),
}
