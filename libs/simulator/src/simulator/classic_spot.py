"""Classic spot trading (v2): place, replace, cancel, batches, and what became of the orders."""

import json
from typing import Any, Final

from simulator.amounts import plain
from simulator.book import Fill, Order
from simulator.calls import SPOT_READ, SPOT_WRITE, Call, Private, Table, objects, required, text
from simulator.codes import Refusal
from simulator.matching import SPOT_CODES, Desk
from simulator.symbols import SPOT
from simulator.tickets import BATCH, batch, changed, client_oid, each, ids, market, named, page, ticket, within


def place(call: Call) -> dict[str, str]:
    return _place(call, call.fields())


def replace_order(call: Call) -> dict[str, Any]:
    """Cancel an order and place another; only the second half may fail, and says so."""
    return _replace(call, call.fields())


def batch_replace(call: Call) -> list[dict[str, Any]]:
    rows = batch(objects(call.fields().get("orderList"), "orderList"), BATCH)
    return [_replace_or_say(call, row) for row in rows]


def batch_place(call: Call) -> dict[str, Any]:
    fields = call.fields()
    symbol = text(fields, "symbol")
    rows = batch(objects(fields.get("orderList"), "orderList"), BATCH)
    return each(rows, lambda row: _place(call, {**row, "symbol": text(row, "symbol") or symbol}))


def cancel(call: Call) -> dict[str, str]:
    return _cancel(call, call.fields())


def batch_cancel(call: Call) -> dict[str, Any]:
    fields = call.fields()
    symbol = text(fields, "symbol")
    rows = batch(objects(fields.get("orderList"), "orderList"), BATCH)
    return each(rows, lambda row: _cancel(call, {**row, "symbol": text(row, "symbol") or symbol}))


def cancel_symbol(call: Call) -> dict[str, str]:
    symbol = market(SPOT, required(call.fields(), "symbol"), "40034")
    _desk(call).cancel_all(lambda order: order.symbol == symbol)
    return {"symbol": symbol.name}


def order_info(call: Call) -> list[dict[str, Any]]:
    order = _desk(call).book.find(False, *named(call.params))
    return [] if order is None else [_shown(call, order) | _ended(order)]


def unfilled(call: Call) -> list[dict[str, Any]]:
    found = (one for one in _desk(call).book.live.values() if _asked(call, one))
    return [
        {**_shown(call, order), "priceAvg": plain(order.price), "basePrice": plain(order.average)}
        for order in page(call, found, lambda order: order.id)
    ]


def history(call: Call) -> list[dict[str, Any]]:
    ended = (one for one in _desk(call).book.orders.values() if one.status != "live" and _asked(call, one))
    return [_shown(call, order) | _ended(order) for order in page(call, ended, lambda order: order.id)]


def fills(call: Call) -> list[dict[str, Any]]:
    found = (one for one in _desk(call).book.fills if _asked(call, one.order))
    return [_fill(call, fill) for fill in page(call, found, lambda fill: fill.id)]


def _desk(call: Call) -> Desk:
    return Desk(call.exchange, call.account, SPOT_CODES)


def _place(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk, symbol = _desk(call), market(SPOT, required(fields, "symbol"), "40034")
    return ids(desk.place(ticket(call.exchange, desk.book, symbol, fields, size="size", force="force", way=None)))


def _replace(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    desk, symbol = _desk(call), market(SPOT, required(fields, "symbol"), "40034")
    old = desk.live(False, *named(fields))
    if old.symbol != symbol:
        raise Refusal(desk.codes.unknown)
    new = {
        "side": old.side,
        "orderType": "limit",
        "force": old.force,
        "price": plain(changed(fields, "price", old.price)),
        "size": plain(changed(fields, "size", old.size)),
        "clientOid": client_oid(fields, "newClientOid"),
    }
    order = ticket(call.exchange, desk.book, symbol, new, size="size", force="force", way=None)
    desk.check(order)
    desk.cancel(old)
    try:
        desk.place(order)
    except Refusal as refusal:
        return {"orderId": None, "clientOid": None, "success": "failure", "msg": refusal.text}
    return {**ids(order), "success": "success", "msg": None}


def _replace_or_say(call: Call, fields: dict[str, Any]) -> dict[str, Any]:
    try:
        return _replace(call, fields)
    except Refusal as refusal:
        return {"orderId": text(fields, "orderId"), "clientOid": None, "success": "failure", "msg": refusal.text}


def _cancel(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk, symbol = _desk(call), market(SPOT, required(fields, "symbol"), "40034")
    order = desk.live(False, *named(fields))
    if order.symbol != symbol:
        raise Refusal(desk.codes.unknown)
    desk.cancel(order)
    return ids(order)


def _asked(call: Call, order: Order) -> bool:
    symbol, order_id = text(call.params, "symbol"), text(call.params, "orderId")
    return (
        not order.symbol.futures
        and symbol in ("", order.symbol.name)
        and order_id in ("", order.id)
        and within(call, order.created_ms)
    )


def _shown(call: Call, order: Order) -> dict[str, Any]:
    return {
        "userId": call.account.uid,
        "symbol": order.symbol.name,
        **ids(order),
        "size": plain(order.size),
        "orderType": order.kind,
        "side": order.side,
        "status": order.status,
        "priceAvg": plain(order.average),
        "baseVolume": plain(order.filled),
        "quoteVolume": plain(order.value),
        "enterPointSource": "API",
        "orderSource": "normal",
        "cTime": str(order.created_ms),
        "uTime": str(order.updated_ms),
        "triggerPrice": None,
        "tpslType": "normal",
    }


def _ended(order: Order) -> dict[str, Any]:
    return {
        "price": plain(order.price),
        "quoteCoin": order.symbol.quote,
        "baseCoin": order.symbol.base,
        "cancelReason": "",
        "feeDetail": _fee_text(order) if order.filled else "",
    }


def _fee_text(order: Order) -> str:
    paid = -float(order.fee)  # a number inside a text, as Bitget has it
    one = {"deduction": False, "feeCoinCode": order.fee_coin, "totalDeductionFee": 0, "totalFee": paid}
    sums = {"c": 0, "d": 0, "deduction": False, "r": paid, "t": paid, "totalDeductionFee": 0}
    return json.dumps({"newFees": sums, order.fee_coin: one}, separators=(",", ":"))


def _fill(call: Call, fill: Fill) -> dict[str, Any]:
    return {
        "userId": call.account.uid,
        "symbol": fill.order.symbol.name,
        "orderId": fill.order.id,
        "tradeId": fill.id,
        "orderType": fill.order.kind,
        "side": fill.order.side,
        "priceAvg": plain(fill.price),
        "size": plain(fill.size),
        "amount": plain(fill.value),
        "feeDetail": {
            "deduction": "no",
            "feeCoin": fill.fee_coin,
            "totalDeductionFee": "",
            "totalFee": plain(-fill.fee),
        },
        "tradeScope": "taker",
        "cTime": str(fill.at_ms),
        "uTime": str(fill.at_ms),
    }


CALLS: Final[Table] = {
    ("POST", b"/api/v2/spot/trade/place-order"): Private(10, SPOT_WRITE, place),
    ("POST", b"/api/v2/spot/trade/cancel-replace-order"): Private(5, SPOT_WRITE, replace_order),
    ("POST", b"/api/v2/spot/trade/batch-cancel-replace-order"): Private(5, SPOT_WRITE, batch_replace),
    ("POST", b"/api/v2/spot/trade/batch-orders"): Private(1, SPOT_WRITE, batch_place),
    ("POST", b"/api/v2/spot/trade/cancel-order"): Private(10, SPOT_WRITE, cancel),
    ("POST", b"/api/v2/spot/trade/batch-cancel-order"): Private(10, SPOT_WRITE, batch_cancel),
    ("POST", b"/api/v2/spot/trade/cancel-symbol-order"): Private(5, SPOT_WRITE, cancel_symbol),
    ("GET", b"/api/v2/spot/trade/orderInfo"): Private(20, SPOT_READ, order_info),
    ("GET", b"/api/v2/spot/trade/unfilled-orders"): Private(20, SPOT_READ, unfilled),
    ("GET", b"/api/v2/spot/trade/history-orders"): Private(20, SPOT_READ, history),
    ("GET", b"/api/v2/spot/trade/fills"): Private(10, SPOT_READ, fills),
}
