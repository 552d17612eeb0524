"""What was held, the margin that an owner adds to what is held, and the sub-accounts of a main one."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

from simulator import funds
from simulator.amounts import ZERO, plain
from simulator.book import Position
from simulator.calls import (
    ANY_READ,
    HOLDING_READ,
    HOLDING_WRITE,
    MANAGE_READ,
    MANAGE_WRITE,
    TRADE_READ,
    Call,
    Fields,
    Private,
    Table,
    chosen,
    positive,
    required,
    text,
)
from simulator.codes import Refusal
from simulator.market import CATEGORIES, PRODUCTS
from simulator.symbols import Symbol
from simulator.tickets import market, page, within

_OPERATIONS: Final = frozenset(("ADD", "REMOVE"))


def classic_history(call: Call) -> dict[str, Any]:
    product = text(call.params, "productType").upper()
    found = _closed(call, product, "idLessThan")
    rows = [
        {
            **_common(one),
            "holdSide": one.side,
            "openAvgPrice": plain(one.average),
            "closeAvgPrice": plain(one.closed_value / one.closed_size),
            "pnl": plain(one.realised),
            "openFee": plain(-one.open_fee),
            "closeFee": plain(-one.close_fee),
            "ctime": str(one.opened_ms),
            "utime": str(one.updated_ms),
        }
        for one in found
    ]
    return {"list": rows, "endId": _number(found[-1]) if found else None}


def unified_history(call: Call) -> dict[str, Any]:
    found = _closed(call, call.chosen("category", CATEGORIES), "cursor")
    rows = [
        {
            **_common(one),
            "category": one.symbol.category,
            "holdMode": "hedge_mode" if one.hedged else "one_way_mode",
            "posSide": one.side,
            "openPriceAvg": plain(one.average),
            "closePriceAvg": plain(one.closed_value / one.closed_size),
            "cumRealisedPnl": plain(one.realised),
            "openFeeTotal": plain(-one.open_fee),
            "closeFeeTotal": plain(-one.close_fee),
            "createdTime": str(one.opened_ms),
            "updatedTime": str(one.updated_ms),
        }
        for one in found
    ]
    return {"list": rows, "cursor": _number(found[-1]) if found else None}


def classic_margin(call: Call) -> str:
    """Add margin to a position, or with a negative amount take of what was added."""
    fields = call.fields()
    symbol = _contract(fields, "productType", "40034")
    try:
        amount = Decimal(required(fields, "amount"))
    except InvalidOperation:
        raise Refusal("40020", "amount") from None
    if not amount.is_finite() or not amount:
        raise Refusal("40020", "amount")
    _add(call, symbol, text(fields, "holdSide"), amount, ("22002", "40762", "40020"))
    return ""


def unified_margin(call: Call) -> str:
    fields = call.fields()
    symbol = _contract(fields, "category", "25100")
    amount = positive(fields, "amount") * (1 if chosen(fields, "operation", _OPERATIONS) == "ADD" else -1)
    _add(call, symbol, text(fields, "posSide"), amount, ("25227", "25203", "25200"))
    return "success"


def classic_subs(call: Call) -> dict[str, Any]:
    rows = [
        {"subAccountUid": uid, "subAccountName": name, "status": "normal", "permList": [], "label": "", "cTime": "0"}
        for uid, name in _subs(call)
    ]
    return {"endId": None, "subAccountList": rows}


def unified_subs(call: Call) -> dict[str, Any]:
    rows = [{"subUid": uid, "username": name, "status": "normal", "createdTime": "0"} for uid, name in _subs(call)]
    return {"list": rows, "hasNext": False, "cursor": None}


def _subs(call: Call) -> list[tuple[str, str]]:
    """Return uid and name of each sub-account; a sub-account has none."""
    found = {one.uid: one.name for one in call.exchange.accounts.values() if one.parent_id == call.account.uid}
    return sorted(found.items())


def _closed(call: Call, category: str, before: str) -> list[Position]:
    wanted = text(call.params, "symbol")
    rows = (
        one
        for one in call.exchange.book(call.account.uid).closed
        if category in ("", one.symbol.category) and wanted in ("", one.symbol.name) and within(call, one.updated_ms)
    )
    return page(call, rows, _number, before)


def _number(one: Position) -> str:
    return str(one.updated_ms)


def _common(one: Position) -> dict[str, str]:
    return {
        "positionId": _number(one),
        "symbol": one.symbol.name,
        "marginCoin": one.symbol.quote,
        "marginMode": one.margin_mode,
        "openTotalPos": plain(one.closed_size),
        "closeTotalPos": plain(one.closed_size),
        "netProfit": plain(one.realised - one.open_fee - one.close_fee),
        "totalFunding": "0",
    }


def _contract(fields: Fields, name: str, missing: str) -> Symbol:
    return market(chosen(fields, name, PRODUCTS | CATEGORIES), required(fields, "symbol"), missing)


def _add(call: Call, symbol: Symbol, side: str, amount: Decimal, codes: tuple[str, str, str]) -> None:
    """Move margin to or from a position; `codes` are for no position, too little money, too much taken."""
    book = call.exchange.book(call.account.uid)
    found = [one for one in book.positions.values() if one.symbol == symbol and side in ("", one.side)]
    if not found:
        raise Refusal(codes[0])
    if amount > funds.available(call.account, "futures", symbol.quote):
        raise Refusal(codes[1])
    if found[0].added + amount < ZERO:
        raise Refusal(codes[2], "amount")
    found[0].added += amount


CALLS: Final[Table] = {
    ("GET", b"/api/v2/mix/position/history-position"): Private(20, HOLDING_READ, classic_history),
    ("POST", b"/api/v2/mix/account/set-margin"): Private(5, HOLDING_WRITE, classic_margin),
    ("GET", b"/api/v3/position/history-position"): Private(20, TRADE_READ, unified_history),
    ("POST", b"/api/v3/account/set-margin"): Private(10, MANAGE_WRITE, unified_margin),
    ("GET", b"/api/v2/user/virtual-subaccount-list"): Private(1, ANY_READ, classic_subs),
    ("GET", b"/api/v3/user/sub-list"): Private(10, MANAGE_READ, unified_subs),
}
