"""The one rule by which orders meet: a limit order that reaches the market's price, and any market order, fills whole
at that price as taker; others rest. Money and positions move here; a refusal comes before anything moves."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from simulator import funds
from simulator.accounts import Account
from simulator.amounts import ZERO, fits, floored, plain
from simulator.book import Book, Fill, HoldSide, Order, Position, hold
from simulator.codes import Refusal
from simulator.exchange import Exchange
from simulator.symbols import Symbol


@dataclass(frozen=True, slots=True)
class Codes:
    """How one family of calls names its refusals."""

    duplicate: str
    balance: str
    price: str
    size: str
    least: str
    unknown: str
    no_position: str
    position: str


SPOT_CODES: Final = Codes("43118", "43012", "40808", "40808", "45110", "43001", "22002", "40757")
FUTURES_CODES: Final = Codes("40786", "40762", "40808", "40808", "45110", "40768", "22002", "40757")
UNIFIED_CODES: Final = Codes("25212", "25202", "25244", "25610", "25207", "25204", "25227", "25231")


class Desk:
    """Where one user's orders are handled; `account` shows the money as it was when the call came."""

    def __init__(self, exchange: Exchange, account: Account, codes: Codes) -> None:
        self._exchange = exchange
        self._key = account.api_key
        self._account = account
        self.book: Book = exchange.book(account.uid)
        self.codes = codes

    def place(self, order: Order) -> Order:
        """Take an order, and fill it or let it rest; raise Refusal and change nothing when it cannot be."""
        if self.book.known(order.symbol, order.client_oid):
            raise Refusal(self.codes.duplicate)
        self.check(order)
        self._check_funds(order)
        self.book.add(order)
        self._match(order)
        return order

    def live(self, futures: bool, order_id: str, client_oid: str) -> Order:
        """Return a live order; refused when there is none."""
        order = self.book.find(futures, order_id, client_oid)
        if order is None or order.status != "live":
            raise Refusal(self.codes.unknown)
        return order

    def cancel(self, order: Order) -> None:
        """End a live order; what it tied up is free again."""
        order.status, order.updated_ms = "cancelled", self._exchange.clock()
        self.book.live.pop(order.id, None)

    def cancel_all(self, chosen: Callable[[Order], bool]) -> list[Order]:
        """End every live order that is chosen."""
        ended = [order for order in self.book.live.values() if chosen(order)]
        for order in ended:
            self.cancel(order)
        return ended

    def close(self, positions: list[Position]) -> list[Order]:
        """Close whole positions at the market; orders that would have closed them end."""
        return [self._close(position) for position in positions]

    def amend(self, order: Order, price: Decimal, size: Decimal, new_id: str = "", new_oid: str = "") -> Order:
        """Change a live order in its place, or end it for another of a new id; refused, it stays as it was."""
        wanted = replace(order, price=price, size=size)
        self.check(wanted)
        del self.book.live[order.id]
        try:
            self._check_funds(wanted)
        except Refusal:
            self.book.live[order.id] = order
            raise
        now = self._exchange.clock()
        if new_id:
            self.cancel(order)
            order = replace(wanted, id=new_id, client_oid=new_oid, created_ms=now, updated_ms=now)
            self.book.add(order)
        else:
            order.price, order.size, order.updated_ms = price, size, now
            self.book.live[order.id] = order
        self._match(order)
        return order

    def check(self, order: Order) -> None:
        """Refuse what does not fit the market's precision or least amount."""
        symbol, codes = order.symbol, self.codes
        if order.kind == "limit" and not fits(order.price, symbol.price_places):
            raise Refusal(codes.price, _scale(codes.price, "price", order.price, symbol.price_places, symbol.tick))
        places = 8 if order.in_quote else symbol.size_places
        if not fits(order.size, places):
            raise Refusal(codes.size, _scale(codes.size, "size", order.size, places, symbol.step))
        value = order.size if order.in_quote else order.size * (order.price or self._price(symbol))
        if value < symbol.least and order.opens:
            raise Refusal(codes.least, f"{plain(symbol.least)} {symbol.quote}")

    def _check_funds(self, order: Order) -> None:
        if order.symbol.futures and not order.opens:
            self._check_position(order)
            return
        wanted, free = order, self._account_now()
        if order.symbol.futures and not order.hedged:  # what only reduces the other side needs no margin
            other = self.book.positions.get((order.symbol.name, _opposite(order.hold_side)))
            wanted = replace(order, size=max(ZERO, order.size - (other.size if other else ZERO)))
        price = order.price or self._price(order.symbol)
        coin, needed = hold(wanted, price)
        fee = wanted.size * price * order.symbol.taker if order.symbol.futures else ZERO
        if needed + fee > funds.available(free, "futures" if order.symbol.futures else "spot", coin):
            raise Refusal(self.codes.balance)

    def _check_position(self, order: Order) -> None:
        side = order.hold_side or "long"
        position = self.book.positions.get((order.symbol.name, side))
        if position is None:
            raise Refusal(self.codes.no_position)
        if order.size > position.size - self.book.closing(order.symbol, side):
            raise Refusal(self.codes.position)

    def _close(self, position: Position) -> Order:
        symbol, side, now = position.symbol, position.side, self._exchange.clock()
        self.cancel_all(lambda one: one.symbol == symbol and one.hold_side == side and not one.opens)
        number = self._exchange.next_id()
        return self.place(
            Order(
                id=number,
                client_oid=number,
                symbol=symbol,
                side="sell" if side == "long" else "buy",
                kind="market",
                force="gtc",
                price=ZERO,
                size=position.size,
                created_ms=now,
                updated_ms=now,
                hold_side=side,
                opens=False,
                reduce_only=not position.hedged,
                hedged=position.hedged,
                margin_mode=position.margin_mode,
                leverage=position.leverage,
            )
        )

    def _account_now(self) -> Account:
        known = self._exchange.accounts.get(self._key, self._account)
        return funds.usable(known, self.book)

    def _price(self, symbol: Symbol) -> Decimal:
        return symbol.price(self._exchange.prices)

    def _match(self, order: Order) -> None:
        price = self._price(order.symbol)
        meets = order.kind == "market" or (order.price >= price if order.side == "buy" else order.price <= price)
        if meets and order.force == "post_only":
            self.cancel(order)
        elif meets:
            self._fill(order, price)
        elif order.force in ("ioc", "fok"):
            self.cancel(order)

    def _fill(self, order: Order, price: Decimal) -> None:
        size = floored(order.size / price, order.symbol.size_places) if order.in_quote else order.size
        now = self._exchange.clock()
        order.status, order.updated_ms = "filled", now
        order.filled, order.value = size, size * price
        del self.book.live[order.id]
        if order.symbol.futures:
            self._settle_futures(order, price, now)
        else:
            self._settle_spot(order)
        self.book.fills.append(
            Fill(
                id=self._exchange.next_id(),
                order=order,
                price=price,
                size=size,
                value=order.value,
                fee=order.fee,
                fee_coin=order.fee_coin,
                profit=order.profit,
                at_ms=now,
            )
        )

    def _settle_spot(self, order: Order) -> None:
        symbol, book = order.symbol, self.book
        if order.side == "buy":
            order.fee, order.fee_coin = order.filled * symbol.taker, symbol.base
            book.move("spot", symbol.base, order.filled - order.fee)
            book.move("spot", symbol.quote, -order.value)
        else:
            order.fee, order.fee_coin = order.value * symbol.taker, symbol.quote
            book.move("spot", symbol.base, -order.filled)
            book.move("spot", symbol.quote, order.value - order.fee)

    def _settle_futures(self, order: Order, price: Decimal, now: int) -> None:
        side = order.hold_side or "long"
        left, other = order.filled, _opposite(order.hold_side)
        order.fee, order.fee_coin = order.value * order.symbol.taker, order.symbol.quote
        if not order.opens:
            self._reduce(order, side, left, price, now)
            left = ZERO
        elif not order.hedged and (held := self.book.positions.get((order.symbol.name, other))) is not None:
            part = min(left, held.size)
            self._reduce(order, other, part, price, now)
            left -= part
        if left:
            self._open(order, side, left, price, now)
        self.book.move("futures", order.symbol.quote, order.profit - order.fee)

    def _reduce(self, order: Order, side: HoldSide, size: Decimal, price: Decimal, now: int) -> None:
        position = self.book.positions[order.symbol.name, side]
        profit = replace(position, size=size).unrealised(price)
        order.profit += profit
        position.realised += profit
        position.close_fee += size * price * order.symbol.taker
        position.closed_size += size
        position.closed_value += size * price
        position.size -= size
        position.updated_ms = now
        if not position.size:
            self.book.closed.append(self.book.positions.pop((order.symbol.name, side)))

    def _open(self, order: Order, side: HoldSide, size: Decimal, price: Decimal, now: int) -> None:
        position = self.book.positions.setdefault(
            (order.symbol.name, side),
            Position(order.symbol, side, ZERO, ZERO, order.leverage, order.margin_mode, order.hedged, now, now),
        )
        cost = position.average * position.size + price * size
        position.size += size
        position.average = cost / position.size
        position.open_fee += size * price * order.symbol.taker
        position.updated_ms = now


def _opposite(side: HoldSide | None) -> HoldSide:
    return "short" if side != "short" else "long"


def _scale(code: str, name: str, amount: Decimal, places: int, step: Decimal) -> str:
    if code == "40808":
        return f"{name} checkBDScale error value={plain(amount)} checkScale={places}"
    return plain(step)
