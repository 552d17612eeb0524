"""Reads orders out of calls, and lists them into replies, where both families agree. What a field is called differs,
and is told by the family."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

from simulator.amounts import ZERO
from simulator.book import DEFAULT_LEVERAGE, Book, HoldSide, Order
from simulator.calls import Call, Fields, chosen, positive, text
from simulator.codes import Refusal
from simulator.exchange import Exchange
from simulator.symbols import MARKETS, Symbol

T = TypeVar("T")
BATCH: Final = 50
PAGE: Final = 100
_CLIENT_OID: Final = re.compile(r"[!-~]{1,64}")
_SIDES: Final = frozenset(("BUY", "SELL"))
_KINDS: Final = frozenset(("LIMIT", "MARKET"))
_FORCES: Final = frozenset(("GTC", "IOC", "FOK", "POST_ONLY"))


@dataclass(frozen=True, slots=True)
class Direction:
    """Where a futures order leads: which side it opens or closes."""

    hold_side: HoldSide
    opens: bool
    reduce_only: bool = False


def market(category: str, name: str, missing: str) -> Symbol:
    """Return a market; refused with `missing` when there is none."""
    symbol = MARKETS.get((category, name))
    if symbol is None:
        raise Refusal(missing, name)
    return symbol


def ticket(
    exchange: Exchange, book: Book, symbol: Symbol, fields: Fields, *, size: str, force: str, way: Direction | None
) -> Order:
    """Return the order that `fields` ask for, not placed yet; `size` and `force` are those fields' names."""
    side: Literal["buy", "sell"] = "buy" if chosen(fields, "side", _SIDES) == "BUY" else "sell"
    kind: Literal["limit", "market"] = "limit" if chosen(fields, "orderType", _KINDS) == "LIMIT" else "market"
    now, number = exchange.clock(), exchange.next_id()
    return Order(
        id=number,
        client_oid=client_oid(fields, "clientOid") or number,
        symbol=symbol,
        side=side,
        kind=kind,
        force=_force(fields, force) if kind == "limit" else "gtc",
        price=positive(fields, "price") if kind == "limit" else ZERO,
        size=positive(fields, size),
        created_ms=now,
        updated_ms=now,
        in_quote=kind == "market" and side == "buy" and not symbol.futures,
        hold_side=way.hold_side if way else None,
        opens=way.opens if way else True,
        reduce_only=way.reduce_only if way else False,
        hedged=book.hedged,
        margin_mode=book.margin_modes.get(symbol.name, "crossed"),
        leverage=book.leverages.get(symbol.name, DEFAULT_LEVERAGE),
    )


def client_oid(fields: Fields, name: str) -> str:
    """Return a client order id, empty when there is none; 43011 when it is too long or holds odd characters."""
    value = text(fields, name)
    if value and not _CLIENT_OID.fullmatch(value):
        raise Refusal("43011", name)
    return value


def named(fields: Fields) -> tuple[str, str]:
    """Return `orderId` and `clientOid`, at least one of them given."""
    order_id, oid = text(fields, "orderId"), text(fields, "clientOid")
    if not order_id and not oid:
        raise Refusal("40019", "orderId")
    return order_id, oid


def changed(fields: Fields, name: str, before: Decimal) -> Decimal:
    """Return an amount's new value, the old one when none is given."""
    return positive(fields, name) if text(fields, name) else before


def batch(rows: list[dict[str, Any]], most: int, code: str = "40306") -> list[dict[str, Any]]:
    """Return the rows of a batch; refused when there is none or are more than `most`."""
    if not rows:
        raise Refusal("40019", "orderList")
    if len(rows) > most:
        raise Refusal(code, str(most))
    return rows


def page(call: Call, rows: Iterable[T], number: Callable[[T], str], before: str = "idLessThan") -> list[T]:
    """Return the newest rows first, as many as `limit` says (at most 100) of those with a lower id than `before`."""
    limit = text(call.params, "limit") or str(PAGE)
    if not (limit.isascii() and limit.isdigit()) or not 1 <= int(limit) <= PAGE:
        raise Refusal("40020", "limit")
    below = text(call.params, before)
    if below and not (below.isascii() and below.isdigit()):
        raise Refusal("40020", before)
    newest = sorted(rows, key=lambda row: int(number(row)), reverse=True)
    return [row for row in newest if not below or int(number(row)) < int(below)][: int(limit)]


def within(call: Call, at_ms: int) -> bool:
    """Tell whether a time lies between `startTime` and `endTime`, as far as they are given."""
    start, end = text(call.params, "startTime"), text(call.params, "endTime")
    if not all(one.isascii() and one.isdigit() for one in (start, end) if one):
        raise Refusal("40020", "startTime")
    return (not start or at_ms >= int(start)) and (not end or at_ms <= int(end))


def ids(order: Order) -> dict[str, str]:
    """Return how a call that acted on an order answers."""
    return {"orderId": order.id, "clientOid": order.client_oid}


def each(rows: list[dict[str, Any]], act: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """Act on every row by itself; return what succeeded and what was refused, as classic batches answer."""
    good: list[dict[str, Any]] = []
    bad: list[dict[str, Any]] = []
    for row in rows:
        try:
            good.append(act(row))
        except Refusal as refusal:
            named_ids = {name: text(row, name) for name in ("orderId", "clientOid")}
            bad.append({**named_ids, "errorMsg": refusal.text, "errorCode": refusal.code})
    return {"successList": good, "failureList": bad}


def _force(fields: Fields, name: str) -> str:
    return chosen(fields, name, _FORCES).lower() if text(fields, name) else "gtc"
