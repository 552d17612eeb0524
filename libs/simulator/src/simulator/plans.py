"""Orders that wait for a price, as the three families of calls know them: spot and futures of v2, strategies of v3. The
market's price stands still, so they wait until they are changed or cancelled, and tie up nothing."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from simulator.amounts import fits
from simulator.book import Book, Plan
from simulator.calls import (
    FUTURES_READ,
    FUTURES_WRITE,
    SPOT_READ,
    SPOT_WRITE,
    Call,
    Fields,
    Private,
    Table,
    chosen,
    objects,
    positive,
    required,
    text,
)
from simulator.codes import Refusal
from simulator.market import PRODUCTS
from simulator.symbols import SPOT, Symbol
from simulator.tickets import client_oid, each, market, named, page

_SIDES: Final = frozenset(("BUY", "SELL"))
_KINDS: Final = frozenset(("LIMIT", "MARKET"))
_SPOT_TERMS: Final = ("side", "orderType", "size", "triggerPrice", "executePrice", "triggerType")
_FUTURES_TERMS: Final = (
    *(
        "side",
        "tradeSide",
        "orderType",
        "size",
        "price",
        "triggerPrice",
        "executePrice",
        "triggerType",
        "callbackRatio",
    ),
    *("stopSurplusTriggerPrice", "stopSurplusExecutePrice", "stopSurplusTriggerType", "holdSide", "reduceOnly"),
    *("stopLossTriggerPrice", "stopLossExecutePrice", "stopLossTriggerType", "marginMode"),
)
_RENAMED: Final = {"newSize": "size", "newPrice": "price", "newTriggerPrice": "triggerPrice"}
_LOSS_OR_PROFIT: Final = frozenset(("PROFIT_PLAN", "LOSS_PLAN", "MOVING_PLAN", "POS_PROFIT", "POS_LOSS"))


def take(call: Call, what: tuple[str, str], symbol: Symbol, fields: Fields, terms: Sequence[str]) -> dict[str, str]:
    """Keep an order that waits for a price, of a family and a kind; refuse a client id that the family has seen."""
    line, kind = what
    book, now, number = call.exchange.book(call.account.uid), call.exchange.clock(), call.exchange.next_id()
    oid = client_oid(fields, "clientOid") or number
    if book.plan(line, "", oid) is not None:
        raise Refusal({"spot": "43118", "futures": "40786"}.get(line, "25212"))
    asked = {name: text(fields, name) for name in terms}
    book.waiting(Plan(number, oid, line, symbol, kind, asked, now, now))
    return {"orderId": number, "clientOid": oid}


def live(book: Book, line: str, fields: Fields, unknown: str) -> Plan:
    """Return a waiting order; refused when there is none."""
    plan = book.plan(line, *named(fields))
    if plan is None or not plan.live:
        raise Refusal(unknown)
    return plan


def change(call: Call, plan: Plan, terms: dict[str, str]) -> dict[str, str]:
    """Give a waiting order other terms."""
    plan.terms |= terms
    plan.updated_ms = call.exchange.clock()
    return {"orderId": plan.id, "clientOid": plan.client_oid}


def end(call: Call, plan: Plan) -> dict[str, str]:
    """Cancel a waiting order."""
    plan.live, plan.updated_ms = False, call.exchange.clock()
    return {"orderId": plan.id, "clientOid": plan.client_oid}


def priced(symbol: Symbol, fields: Fields, name: str, code: str = "40808") -> Decimal:
    """Return a required price of a market; refused when it is finer than the market's."""
    price = positive(fields, name)
    if not fits(price, symbol.price_places):
        raise Refusal(code, name)
    return price


def held(book: Book, symbol: Symbol, side: str, code: str) -> None:
    """Refuse an order that protects a position which is not there."""
    sides = {"buy": "long", "sell": "short"}
    if not any(one.symbol == symbol and one.side == sides.get(side, side) for one in book.positions.values()):
        raise Refusal(code)


def _book(call: Call) -> Book:
    return call.exchange.book(call.account.uid)


def _ordered(symbol: Symbol, fields: Fields, price: str) -> None:
    """Refuse an order whose side, kind, size or prices are none."""
    chosen(fields, "side", _SIDES)
    if chosen(fields, "orderType", _KINDS) == "LIMIT":
        priced(symbol, fields, price)
    positive(fields, "size")
    priced(symbol, fields, "triggerPrice")


def place_spot(call: Call) -> dict[str, str]:
    fields = call.fields()
    symbol = market(SPOT, required(fields, "symbol"), "40034")
    _ordered(symbol, fields, "executePrice")
    return take(call, ("spot", text(fields, "planType") or "amount"), symbol, fields, _SPOT_TERMS)


def modify_spot(call: Call) -> dict[str, str]:
    fields = call.fields()
    plan = live(_book(call), "spot", fields, "43001")
    priced(plan.symbol, fields, "triggerPrice")
    return change(call, plan, {name: text(fields, name) for name in _SPOT_TERMS if text(fields, name)})


def cancel_spot(call: Call) -> dict[str, str]:
    end(call, live(_book(call), "spot", call.fields(), "43001"))
    return {"result": "success"}


def cancel_spot_all(call: Call) -> dict[str, Any]:
    """End every waiting order of the given markets, or of all."""
    names = call.fields().get("symbolList") or []
    found = [one for one in _book(call).plans.values() if one.line == "spot" and one.live]
    return {
        "successList": [end(call, one) for one in found if not names or one.symbol.name in names],
        "failureList": [],
    }


def listed_spot(alive: bool) -> Callable[[Call], dict[str, Any]]:
    """Return the call that lists spot orders that wait, or that have ended."""

    def listed(call: Call) -> dict[str, Any]:
        wanted = required(call.params, "symbol") if not alive else text(call.params, "symbol")
        rows = [one for one in _book(call).plans.values() if one.line == "spot" and one.live == alive]
        found = page(call, (one for one in rows if wanted in ("", one.symbol.name)), lambda one: one.id)
        return {
            "nextFlag": False,
            "idLessThan": found[-1].id if found else None,
            "orderList": [_shown(one) | {"planType": one.kind.upper(), "status": _state(one)} for one in found],
        }

    return listed


def place_futures(call: Call) -> dict[str, str]:
    fields = call.fields()
    symbol, kind = _contract(fields), required(fields, "planType")
    _ordered(symbol, fields, "price")
    if kind not in ("normal_plan", "track_plan"):
        raise Refusal("40020", "planType")
    return take(call, ("futures", kind), symbol, fields, _FUTURES_TERMS)


def place_tpsl(call: Call) -> dict[str, str]:
    fields = call.fields()
    symbol, kind = _contract(fields), chosen(fields, "planType", _LOSS_OR_PROFIT).lower()
    priced(symbol, fields, "triggerPrice")
    if not kind.startswith("pos_"):
        positive(fields, "size")
    held(_book(call), symbol, required(fields, "holdSide"), "22002")
    return take(call, ("futures", kind), symbol, fields, _FUTURES_TERMS)


def place_position_tpsl(call: Call) -> list[dict[str, str]]:
    """Protect a whole position against loss, for profit, or both."""
    fields, made = call.fields(), []
    symbol = _contract(fields)
    held(_book(call), symbol, required(fields, "holdSide"), "22002")
    for word, kind in (("stopSurplus", "pos_profit"), ("stopLoss", "pos_loss")):
        if text(fields, f"{word}TriggerPrice"):
            price = priced(symbol, fields, f"{word}TriggerPrice")
            terms = {"holdSide": text(fields, "holdSide"), "triggerPrice": str(price)}
            made.append(take(call, ("futures", kind), symbol, terms, _FUTURES_TERMS))
    if not made:
        raise Refusal("40019", "stopLossTriggerPrice")
    return made


def modify_futures(call: Call) -> dict[str, str]:
    fields = call.fields()
    plan = live(_book(call), "futures", fields, "40768")
    if plan.symbol != _contract(fields | {"symbol": text(fields, "symbol") or plan.symbol.name}):
        raise Refusal("40768")
    given = {name: text(fields, name) for name in (*_RENAMED, *_FUTURES_TERMS) if text(fields, name)}
    for name in (one for one in given if one.lower().endswith("price")):
        priced(plan.symbol, fields, name)
    return change(call, plan, {_RENAMED.get(name, name): value for name, value in given.items()})


def cancel_futures(call: Call) -> dict[str, Any]:
    """End the orders of a list, or every one of a product, market or kind."""
    fields, book = call.fields(), _book(call)
    product = chosen(fields, "productType", PRODUCTS)
    if fields.get("orderIdList"):
        rows = objects(fields["orderIdList"], "orderIdList")
        return each(rows, lambda row: end(call, live(book, "futures", row, "40768")))
    symbol, kind = text(fields, "symbol"), text(fields, "planType")
    found = [
        one for one in book.plans.values() if one.live and one.line == "futures" and _of(one, product, symbol, kind)
    ]
    return {"successList": [end(call, one) for one in found], "failureList": []}


def listed_futures(alive: bool) -> Callable[[Call], dict[str, Any]]:
    """Return the call that lists futures orders that wait, or that have ended."""

    def listed(call: Call) -> dict[str, Any]:
        product = chosen(call.params, "productType", PRODUCTS)
        symbol, kind = text(call.params, "symbol"), required(call.params, "planType")
        rows = [one for one in _book(call).plans.values() if one.line == "futures" and one.live == alive]
        found = page(call, (one for one in rows if _of(one, product, symbol, kind)), lambda one: one.id)
        shown = [_shown(one) | {"planType": one.kind, "planStatus": _state(one)} | _settings(one) for one in found]
        return {"entrustedList": shown or None, "endId": found[-1].id if found else None}

    return listed


def _of(plan: Plan, product: str, symbol: str, kind: str) -> bool:
    """Tell whether a futures order is asked for; `profit_loss` means every one that protects a position."""
    protects = plan.kind.upper() in _LOSS_OR_PROFIT
    fits_kind = kind in ("", plan.kind) or (kind == "profit_loss" and protects)
    return plan.symbol.category == product and symbol in ("", plan.symbol.name) and fits_kind


def _contract(fields: Fields) -> Symbol:
    return market(chosen(fields, "productType", PRODUCTS), required(fields, "symbol"), "40034")


def _state(plan: Plan) -> str:
    return "live" if plan.live else "cancelled"


def _settings(plan: Plan) -> dict[str, str]:
    return {"marginCoin": plan.symbol.quote, "posSide": plan.terms.get("holdSide", ""), "posMode": "one_way_mode"}


def _shown(plan: Plan) -> dict[str, Any]:
    return {
        "orderId": plan.id,
        "clientOid": plan.client_oid,
        "symbol": plan.symbol.name,
        **plan.terms,
        "enterPointSource": "API",
        "cTime": str(plan.created_ms),
        "uTime": str(plan.updated_ms),
    }


CALLS: Final[Table] = {
    ("POST", b"/api/v2/spot/trade/place-plan-order"): Private(20, SPOT_WRITE, place_spot),
    ("POST", b"/api/v2/spot/trade/modify-plan-order"): Private(20, SPOT_WRITE, modify_spot),
    ("POST", b"/api/v2/spot/trade/cancel-plan-order"): Private(20, SPOT_WRITE, cancel_spot),
    ("POST", b"/api/v2/spot/trade/batch-cancel-plan-order"): Private(5, SPOT_WRITE, cancel_spot_all),
    ("GET", b"/api/v2/spot/trade/current-plan-order"): Private(20, SPOT_READ, listed_spot(alive=True)),
    ("GET", b"/api/v2/spot/trade/history-plan-order"): Private(20, SPOT_READ, listed_spot(alive=False)),
    ("POST", b"/api/v2/mix/order/place-plan-order"): Private(10, FUTURES_WRITE, place_futures),
    ("POST", b"/api/v2/mix/order/place-tpsl-order"): Private(10, FUTURES_WRITE, place_tpsl),
    ("POST", b"/api/v2/mix/order/place-pos-tpsl"): Private(10, FUTURES_WRITE, place_position_tpsl),
    ("POST", b"/api/v2/mix/order/modify-plan-order"): Private(10, FUTURES_WRITE, modify_futures),
    ("POST", b"/api/v2/mix/order/modify-tpsl-order"): Private(10, FUTURES_WRITE, modify_futures),
    ("POST", b"/api/v2/mix/order/cancel-plan-order"): Private(10, FUTURES_WRITE, cancel_futures),
    ("GET", b"/api/v2/mix/order/orders-plan-pending"): Private(10, FUTURES_READ, listed_futures(alive=True)),
    ("GET", b"/api/v2/mix/order/orders-plan-history"): Private(10, FUTURES_READ, listed_futures(alive=False)),
}
