"""Positions and futures settings of both families: what is held, leverage, margin mode, one-way or hedge mode."""

from typing import Any, Final

from simulator.accounts import NOTHING
from simulator.amounts import ZERO, plain
from simulator.book import DEFAULT_LEVERAGE, Book, Position
from simulator.calls import (
    FUTURES_READ,
    HOLDING_READ,
    HOLDING_WRITE,
    MANAGE_WRITE,
    TRADE_READ,
    Call,
    Private,
    Table,
    chosen,
    positive,
    required,
    text,
)
from simulator.codes import Refusal
from simulator.market import CATEGORIES, PRODUCTS
from simulator.replies import futures_account
from simulator.symbols import Symbol
from simulator.tickets import market

_MODES: Final = frozenset(("ONE_WAY_MODE", "HEDGE_MODE"))
_MARGIN: Final = frozenset(("CROSSED", "ISOLATED"))


def classic_all(call: Call) -> list[dict[str, Any]]:
    product = chosen(call.params, "productType", PRODUCTS)
    return [_classic(call, one) for one in _book(call).positions.values() if one.symbol.category == product]


def classic_one(call: Call) -> list[dict[str, Any]]:
    symbol = required(call.params, "symbol")
    return [row for row in classic_all(call) if row["symbol"] == symbol]


def unified_current(call: Call) -> dict[str, Any]:
    category, symbol = call.chosen("category", CATEGORIES), text(call.params, "symbol")
    held = _book(call).positions.values()
    rows = [_unified(call, one) for one in held if one.symbol.category == category and symbol in ("", one.symbol.name)]
    return {"list": rows or (None if call.account.style.lists == "null" else [])}


def classic_account(call: Call) -> dict[str, Any]:
    symbol, book = _contract(call.params, "productType", "40034"), _book(call)
    leverage = book.leverages.get(symbol.name, DEFAULT_LEVERAGE)
    return {
        **futures_account(symbol.quote, call.account.futures.get(symbol.quote, NOTHING), call.exchange.prices),
        "crossedMarginLeverage": leverage,
        "isolatedLongLever": leverage,
        "isolatedShortLever": leverage,
        "marginMode": book.margin_modes.get(symbol.name, "crossed"),
        "posMode": "hedge_mode" if book.hedged else "one_way_mode",
    }


def set_leverage(call: Call) -> dict[str, str]:
    fields = call.fields()
    symbol = _contract(fields, "productType", "40034")
    name = next((one for one in ("leverage", "longLeverage", "shortLeverage") if text(fields, one)), "leverage")
    leverage = str(_lever(call, symbol, fields, name, "40797"))
    return {
        "symbol": symbol.name,
        "marginCoin": symbol.quote,
        **dict.fromkeys(("longLeverage", "shortLeverage", "crossMarginLeverage"), leverage),
        "marginMode": _book(call).margin_modes.get(symbol.name, "crossed"),
    }


def unified_leverage(call: Call) -> str:
    fields = call.fields()
    _lever(call, _contract(fields, "category", "25100"), fields, "leverage", "25223")
    return "success"


def set_margin_mode(call: Call) -> dict[str, str]:
    fields, book = call.fields(), _book(call)
    symbol = _contract(fields, "productType", "40034")
    mode = chosen(fields, "marginMode", _MARGIN).lower()
    if _busy(book, symbol) and mode != book.margin_modes.get(symbol.name, "crossed"):
        raise Refusal("45117")
    book.margin_modes[symbol.name] = mode
    leverage = str(book.leverages.get(symbol.name, DEFAULT_LEVERAGE))
    return {
        "symbol": symbol.name,
        "marginCoin": symbol.quote,
        "longLeverage": leverage,
        "shortLeverage": leverage,
        "marginMode": mode,
    }


def set_position_mode(call: Call) -> dict[str, str]:
    fields = call.fields()
    chosen(fields, "productType", PRODUCTS)
    return {"posMode": _switch(call, chosen(fields, "posMode", _MODES), "40920")}


def set_hold_mode(call: Call) -> str:
    _switch(call, chosen(call.fields(), "holdMode", _MODES), "25107")
    return "success"


def _switch(call: Call, mode: str, busy: str) -> str:
    book, hedged = _book(call), mode == "HEDGE_MODE"
    if hedged != book.hedged and _busy(book, None):
        raise Refusal(busy)
    book.hedged = hedged
    return mode.lower()


def _busy(book: Book, symbol: Symbol | None) -> bool:
    ordered = (one.symbol for one in book.live.values() if one.symbol.futures)
    return any(one == symbol or symbol is None for one in (*ordered, *(p.symbol for p in book.positions.values())))


def _lever(call: Call, symbol: Symbol, fields: dict[str, Any], name: str, too_much: str) -> int:
    book, wanted = _book(call), positive(fields, name)
    if wanted != wanted.to_integral_value():
        raise Refusal("40020", name)
    if wanted > symbol.lever:
        raise Refusal(too_much)
    book.leverages[symbol.name] = leverage = int(wanted)
    for position in book.positions.values():
        if position.symbol == symbol:
            position.leverage = leverage
    return leverage


def _contract(fields: Any, name: str, missing: str) -> Symbol:
    return market(chosen(fields, name, PRODUCTS | CATEGORIES), required(fields, "symbol"), missing)


def _book(call: Call) -> Book:
    return call.exchange.book(call.account.uid)


def _classic(call: Call, one: Position) -> dict[str, Any]:
    price, closing = one.symbol.price(call.exchange.prices), _book(call).closing(one.symbol, one.side)
    return {
        "marginCoin": one.symbol.quote,
        "symbol": one.symbol.name,
        "holdSide": one.side,
        "openDelegateSize": "0",
        "marginSize": plain(one.margin),
        "available": plain(one.size - closing),
        "locked": plain(closing),
        "total": plain(one.size),
        "leverage": str(one.leverage),
        "achievedProfits": plain(one.realised),
        "openPriceAvg": plain(one.average),
        "marginMode": one.margin_mode,
        "posMode": "hedge_mode" if one.hedged else "one_way_mode",
        "unrealizedPL": plain(one.unrealised(price)),
        "liquidationPrice": "0",
        "keepMarginRate": "0.004",
        "markPrice": plain(price),
        "marginRatio": "0",
        "breakEvenPrice": plain(one.average),
        "totalFee": "",
        "deductedFee": plain(one.open_fee),
        "cTime": str(one.opened_ms),
        "uTime": str(one.updated_ms),
    }


def _unified(call: Call, one: Position) -> dict[str, Any]:
    price, closing = one.symbol.price(call.exchange.prices), _book(call).closing(one.symbol, one.side)
    profit = one.unrealised(price)
    return {
        "category": one.symbol.category,
        "symbol": one.symbol.name,
        "marginCoin": one.symbol.quote,
        "holdMode": "hedge_mode" if one.hedged else "one_way_mode",
        "posSide": one.side,
        "marginMode": one.margin_mode,
        "positionBalance": plain(one.margin),
        "available": plain(one.size - closing),
        "frozen": plain(closing),
        "total": plain(one.size),
        "leverage": str(one.leverage),
        "curRealisedPnl": plain(one.realised),
        "avgPrice": plain(one.average),
        "positionStatus": "normal",
        "unrealisedPnl": plain(profit),
        "liquidationPrice": "0",
        "mmr": "0.004",
        "profitRate": plain(profit / one.margin if one.margin else ZERO),
        "markPrice": plain(price),
        "breakEvenPrice": plain(one.average),
        "totalFunding": "0",
        "openFeeTotal": plain(-one.open_fee),
        "closeFeeTotal": plain(-one.close_fee),
        "createdTime": str(one.opened_ms),
        "updatedTime": str(one.updated_ms),
    }


CALLS: Final[Table] = {
    ("GET", b"/api/v2/mix/position/all-position"): Private(5, HOLDING_READ, classic_all),
    ("GET", b"/api/v2/mix/position/single-position"): Private(10, HOLDING_READ, classic_one),
    ("GET", b"/api/v2/mix/account/account"): Private(10, FUTURES_READ, classic_account),
    ("POST", b"/api/v2/mix/account/set-leverage"): Private(5, HOLDING_WRITE, set_leverage),
    ("POST", b"/api/v2/mix/account/set-margin-mode"): Private(5, HOLDING_WRITE, set_margin_mode),
    ("POST", b"/api/v2/mix/account/set-position-mode"): Private(5, HOLDING_WRITE, set_position_mode),
    ("GET", b"/api/v3/position/current-position"): Private(20, TRADE_READ, unified_current),
    ("POST", b"/api/v3/account/set-leverage"): Private(10, MANAGE_WRITE, unified_leverage),
    ("POST", b"/api/v3/account/set-hold-mode"): Private(10, MANAGE_WRITE, set_hold_mode),
}
