"""What unified accounts (v3) have beside plain orders: orders that wait for a price, and the countdown after which
every order ends."""

from typing import Any, Final

from simulator import plans
from simulator.book import Plan
from simulator.calls import TRADE_READ, TRADE_WRITE, Call, Private, Table, chosen, positive, required, text
from simulator.codes import Refusal
from simulator.market import CATEGORIES
from simulator.tickets import market, page

LINE: Final = "unified"
SHORTEST_S, LONGEST_S = 5, 60
_TYPES: Final = ("tpsl", "trigger")
_PRICES: Final = ("takeProfit", "stopLoss", "tpLimitPrice", "slLimitPrice", "triggerPrice", "triggerOrderPrice")
_TERMS: Final = (
    *("qty", "side", "posSide", "reduceOnly", "tpslMode", "tpTriggerBy", "slTriggerBy", "tpOrderType", "slOrderType"),
    *("triggerBy", "triggerOrderType", *_PRICES),
)


def place(call: Call) -> dict[str, str]:
    fields, book = call.fields(), call.exchange.book(call.account.uid)
    symbol = market(chosen(fields, "category", CATEGORIES), required(fields, "symbol"), "25100")
    kind = text(fields, "type") or "tpsl"
    if kind not in _TYPES:
        raise Refusal("25200", "type")
    given = [name for name in _PRICES if text(fields, name)]
    if not set(given) & ({"triggerPrice"} if kind == "trigger" else {"takeProfit", "stopLoss"}):
        raise Refusal("25200", "triggerPrice" if kind == "trigger" else "stopLoss")
    for name in given:
        plans.priced(symbol, fields, name, "25244")
    if kind == "trigger":
        positive(fields, "qty")
    elif symbol.futures:
        closes = {"sell": "long", "buy": "short"}
        side = text(fields, "posSide") or closes.get(text(fields, "side").lower(), "")
        plans.held(book, symbol, side, "25227")
    return plans.take(call, (LINE, kind), symbol, fields, _TERMS)


def modify(call: Call) -> dict[str, str]:
    fields = call.fields()
    plan = plans.live(call.exchange.book(call.account.uid), LINE, fields, "25204")
    given = {name: text(fields, name) for name in _TERMS if text(fields, name)}
    for name in set(given) & set(_PRICES):
        plans.priced(plan.symbol, fields, name, "25244")
    return plans.change(call, plan, given)


def cancel(call: Call) -> None:
    plans.end(call, plans.live(call.exchange.book(call.account.uid), LINE, call.fields(), "25204"))


def unfilled(call: Call) -> list[dict[str, Any]]:
    return [_shown(one) for one in _asked(call, alive=True)]


def history(call: Call) -> dict[str, Any]:
    found = page(call, _asked(call, alive=False), lambda one: one.id, before="cursor")
    return {"list": [_shown(one) for one in found], "cursor": found[-1].id if found else None}


def countdown(call: Call) -> str:
    """End every order after so many seconds, unless that is put off before; 0 ends the countdown."""
    seconds, book = required(call.fields(), "countdown"), call.exchange.book(call.account.uid)
    if not (seconds.isascii() and seconds.isdigit()) or not (
        int(seconds) == 0 or SHORTEST_S <= int(seconds) <= LONGEST_S
    ):
        raise Refusal("25200", "countdown")
    book.cancel_at_ms = call.exchange.clock() + int(seconds) * 1000 if int(seconds) else None
    return "success"


def _asked(call: Call, *, alive: bool) -> list[Plan]:
    category, kind = call.chosen("category", CATEGORIES), text(call.params, "type")
    rows = [
        one for one in call.exchange.book(call.account.uid).plans.values() if one.line == LINE and one.live == alive
    ]
    return [one for one in rows if one.symbol.category == category and kind in ("", one.kind)]


def _shown(plan: Plan) -> dict[str, Any]:
    return {
        "orderId": plan.id,
        "clientOid": plan.client_oid,
        "symbol": plan.symbol.name,
        "category": plan.symbol.category,
        "type": plan.kind,
        "status": "live" if plan.live else "cancelled",
        **plan.terms,
        "createdTime": str(plan.created_ms),
        "updatedTime": str(plan.updated_ms),
    }


CALLS: Final[Table] = {
    ("POST", b"/api/v3/trade/place-strategy-order"): Private(10, TRADE_WRITE, place),
    ("POST", b"/api/v3/trade/modify-strategy-order"): Private(10, TRADE_WRITE, modify),
    ("POST", b"/api/v3/trade/cancel-strategy-order"): Private(10, TRADE_WRITE, cancel),
    ("GET", b"/api/v3/trade/unfilled-strategy-orders"): Private(20, TRADE_READ, unfilled),
    ("GET", b"/api/v3/trade/history-strategy-orders"): Private(20, TRADE_READ, history),
    ("POST", b"/api/v3/trade/countdown-cancel-all"): Private(1, TRADE_WRITE, countdown),
}
