"""Orders of unified accounts (v3): one set of calls for spot and USDT futures, told apart by `category`, which cancel
and modify may omit."""

from typing import Any, Final

from simulator.amounts import plain
from simulator.book import Fill, Order, Position
from simulator.calls import TRADE_READ, TRADE_WRITE, Call, Private, Table, chosen, required, text
from simulator.classic_futures import one_way
from simulator.codes import Refusal
from simulator.market import CATEGORIES
from simulator.matching import UNIFIED_CODES, Desk
from simulator.symbols import SPOT
from simulator.tickets import Direction, batch, changed, ids, market, named, page, ticket, within

BATCH: Final = 20


def place(call: Call) -> dict[str, str]:
    return _place(call, call.fields())


def place_batch(call: Call) -> list[dict[str, Any]]:
    return [_or_refusal(call, row, _place) for row in _batch(call)]


def modify(call: Call) -> dict[str, str]:
    return _modify(call, call.fields())


def modify_batch(call: Call) -> list[dict[str, Any]]:
    return [_or_refusal(call, row, _modify) for row in batch(call.rows(), BATCH, "25241")]


def cancel(call: Call) -> dict[str, str]:
    return _cancel(call, call.fields())


def cancel_batch(call: Call) -> list[dict[str, Any]]:
    return [_or_refusal(call, row, _cancel) for row in _batch(call)]


def cancel_symbol(call: Call) -> dict[str, Any]:
    fields = call.fields()
    category, symbol = chosen(fields, "category", CATEGORIES), text(fields, "symbol")
    ended = _desk(call).cancel_all(lambda one: one.symbol.category == category and symbol in ("", one.symbol.name))
    return {"list": [ids(order) for order in ended] or _nothing(call)}


def close(call: Call) -> dict[str, Any]:
    fields, desk = call.fields(), _desk(call)
    category, symbol, side = chosen(fields, "category", CATEGORIES), text(fields, "symbol"), text(fields, "posSide")
    found = [one for one in desk.book.positions.values() if _of(one, category, symbol, side)]
    if not found:
        raise Refusal(desk.codes.no_position)
    return {"list": [ids(order) for order in desk.close(found)]}


def order_info(call: Call) -> dict[str, Any]:
    return _shown(_find(_desk(call), *named(call.params)))


def unfilled(call: Call) -> dict[str, Any]:
    return _listed(call, [one for one in _desk(call).book.live.values() if _asked(call, one)])


def history(call: Call) -> dict[str, Any]:
    required(call.params, "category")
    ended = [one for one in _desk(call).book.orders.values() if one.status != "live"]
    return _listed(call, [one for one in ended if _asked(call, one)])


def fills(call: Call) -> dict[str, Any]:
    found = [one for one in _desk(call).book.fills if _asked(call, one.order)]
    shown = page(call, found, lambda fill: fill.id, before="cursor")
    return {"list": [_fill(fill) for fill in shown] or _nothing(call), "cursor": shown[-1].id if shown else None}


def _desk(call: Call) -> Desk:
    return Desk(call.exchange, call.account, UNIFIED_CODES)


def _batch(call: Call) -> list[dict[str, Any]]:
    """Return the rows of a batch, which must all be of one category."""
    rows = batch(call.rows(), BATCH, "25241")
    if len({chosen(row, "category", CATEGORIES) for row in rows}) > 1:
        raise Refusal("25200", "category")
    return rows


def _or_refusal(call: Call, row: dict[str, Any], act: Any) -> dict[str, Any]:
    try:
        done: dict[str, Any] = act(call, row)
    except Refusal as refusal:
        named_ids = {name: text(row, name) for name in ("orderId", "clientOid")}
        return {**named_ids, "code": refusal.code, "msg": refusal.text}
    return done


def _place(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk = _desk(call)
    symbol = market(chosen(fields, "category", CATEGORIES), required(fields, "symbol"), "25100")
    way = _way(fields, desk.book.hedged) if symbol.futures else None
    order = ticket(call.exchange, desk.book, symbol, fields, size="qty", force="timeInForce", way=way)
    if desk.book.find(not symbol.futures, "", order.client_oid):  # one list of client ids for all categories
        raise Refusal(desk.codes.duplicate)
    return ids(desk.place(order))


def _way(fields: dict[str, Any], hedged: bool) -> Direction:
    reduces = text(fields, "reduceOnly").lower() == "yes"
    side, held = text(fields, "side").lower(), text(fields, "posSide").lower()
    if not hedged:
        return one_way(fields, reduces)
    if held not in ("long", "short"):
        raise Refusal("25236")
    return Direction("long" if held == "long" else "short", opens=(side == "buy") == (held == "long"))


def _modify(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk = _desk(call)
    order = _live(desk, fields)
    desk.amend(order, changed(fields, "price", order.price), changed(fields, "qty", order.size))
    return ids(order)


def _cancel(call: Call, fields: dict[str, Any]) -> dict[str, str]:
    desk = _desk(call)
    order = _live(desk, fields)
    desk.cancel(order)
    return ids(order)


def _live(desk: Desk, fields: dict[str, Any]) -> Order:
    order = _find(desk, *named(fields))
    if order.status != "live" or text(fields, "symbol") not in ("", order.symbol.name):
        raise Refusal(desk.codes.unknown)
    if text(fields, "category").upper() not in ("", order.symbol.category):
        raise Refusal(desk.codes.unknown)
    return order


def _find(desk: Desk, order_id: str, client_oid: str) -> Order:
    book = desk.book
    order = book.find(False, order_id, client_oid) or book.find(True, order_id, client_oid)
    if order is None:
        raise Refusal(desk.codes.unknown)
    return order


def _of(one: Position, category: str, symbol: str, side: str) -> bool:
    return one.symbol.category == category and symbol in ("", one.symbol.name) and side in ("", one.side)


def _asked(call: Call, order: Order) -> bool:
    category, symbol = text(call.params, "category").upper(), text(call.params, "symbol")
    return (
        category in ("", order.symbol.category)
        and symbol in ("", order.symbol.name)
        and text(call.params, "orderId") in ("", order.id)
        and within(call, order.created_ms)
    )


def _listed(call: Call, orders: list[Order]) -> dict[str, Any]:
    found = page(call, orders, lambda order: order.id, before="cursor")
    return {"list": [_shown(order) for order in found] or _nothing(call), "cursor": found[-1].id if found else None}


def _nothing(call: Call) -> list[Any] | None:
    return None if call.account.style.lists == "null" else []


def _shown(order: Order) -> dict[str, Any]:
    futures = order.symbol.category != SPOT
    unset = ("tpTriggerBy", "slTriggerBy", "takeProfit", "stopLoss")
    return {
        **ids(order),
        "category": order.symbol.category,
        "symbol": order.symbol.name,
        "orderType": order.kind,
        "side": order.side,
        "price": plain(order.price),
        "qty": plain(order.filled if order.in_quote else order.size),
        "amount": plain(order.size) if order.in_quote else "0",
        "cumExecQty": plain(order.filled),
        "cumExecValue": plain(order.value),
        "avgPrice": plain(order.average),
        "timeInForce": order.force,
        "orderStatus": order.status,
        "posSide": (order.hold_side or "") if futures and order.hedged else "",
        "holdMode": "hedge_mode" if order.hedged else "one_way_mode",
        "reduceOnly": "YES" if order.reduce_only else "NO",
        "feeDetail": [{"feeCoin": order.fee_coin, "fee": plain(order.fee) if order.filled else ""}],
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
        "cancelReason": "",
        "execType": "normal",
        "stpMode": "none",
        **dict.fromkeys((*unset, "tpOrderType", "slOrderType", "tpLimitPrice", "slLimitPrice"), None),
    }


def _fill(fill: Fill) -> dict[str, Any]:
    return {
        "execId": fill.id,
        "orderId": fill.order.id,
        "category": fill.order.symbol.category,
        "symbol": fill.order.symbol.name,
        "orderType": fill.order.kind,
        "side": fill.order.side,
        "execPrice": plain(fill.price),
        "execQty": plain(fill.size),
        "execValue": plain(fill.value),
        "tradeScope": "taker",
        "feeDetail": [{"feeCoin": fill.fee_coin, "fee": plain(fill.fee)}],
        "execPnl": plain(fill.profit),
        "createdTime": str(fill.at_ms),
        "updatedTime": str(fill.at_ms),
    }


CALLS: Final[Table] = {
    ("POST", b"/api/v3/trade/place-order"): Private(10, TRADE_WRITE, place),
    ("POST", b"/api/v3/trade/place-batch"): Private(5, TRADE_WRITE, place_batch),
    ("POST", b"/api/v3/trade/modify-order"): Private(10, TRADE_WRITE, modify),
    ("POST", b"/api/v3/trade/batch-modify-order"): Private(10, TRADE_WRITE, modify_batch),
    ("POST", b"/api/v3/trade/cancel-order"): Private(10, TRADE_WRITE, cancel),
    ("POST", b"/api/v3/trade/cancel-batch"): Private(5, TRADE_WRITE, cancel_batch),
    ("POST", b"/api/v3/trade/cancel-symbol-order"): Private(5, TRADE_WRITE, cancel_symbol),
    ("POST", b"/api/v3/trade/close-positions"): Private(5, TRADE_WRITE, close),
    ("GET", b"/api/v3/trade/order-info"): Private(20, TRADE_READ, order_info),
    ("GET", b"/api/v3/trade/unfilled-orders"): Private(20, TRADE_READ, unfilled),
    ("GET", b"/api/v3/trade/history-orders"): Private(20, TRADE_READ, history),
    ("GET", b"/api/v3/trade/fills"): Private(20, TRADE_READ, fills),
}
