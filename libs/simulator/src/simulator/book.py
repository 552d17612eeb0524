"""What one user has done at the exchange: orders, fills, positions, settings, and the money that moved because of them.
Keys of one uid share it. Pure state and arithmetic: who may do what, and at which price, is decided elsewhere."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from simulator.amounts import ZERO
from simulator.symbols import Symbol

Side = Literal["buy", "sell"]
HoldSide = Literal["long", "short"]
Status = Literal["live", "filled", "cancelled"]
WalletName = Literal["spot", "futures", "funding"]

KEPT_ORDERS: Final = 10_000  # the oldest finished ones are forgotten beyond, with their client ids
KEPT_RECORDS: Final = 1000
DEFAULT_LEVERAGE: Final = 20


@dataclass(slots=True)
class Order:
    """One order. `size` is in the base coin, or in the quote coin for a market buy of spot (`in_quote`). A futures
    order has a direction: `hold_side`, and `opens` or closes it."""

    id: str
    client_oid: str
    symbol: Symbol
    side: Side
    kind: Literal["limit", "market"]
    force: str
    price: Decimal
    size: Decimal
    created_ms: int
    updated_ms: int
    in_quote: bool = False
    hold_side: HoldSide | None = None
    opens: bool = True
    reduce_only: bool = False
    hedged: bool = False
    margin_mode: str = "crossed"
    leverage: int = DEFAULT_LEVERAGE
    status: Status = "live"
    filled: Decimal = ZERO
    value: Decimal = ZERO
    fee: Decimal = ZERO
    fee_coin: str = ""
    profit: Decimal = ZERO

    @property
    def average(self) -> Decimal:
        return self.value / self.filled if self.filled else ZERO


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution; `fee` is what was paid."""

    id: str
    order: Order
    price: Decimal
    size: Decimal
    value: Decimal
    fee: Decimal
    fee_coin: str
    profit: Decimal
    at_ms: int


@dataclass(slots=True)
class Position:
    """What is held of one contract in one direction."""

    symbol: Symbol
    side: HoldSide
    size: Decimal
    average: Decimal
    leverage: int
    margin_mode: str
    hedged: bool
    opened_ms: int
    updated_ms: int
    realised: Decimal = ZERO
    open_fee: Decimal = ZERO
    close_fee: Decimal = ZERO
    closed_size: Decimal = ZERO
    closed_value: Decimal = ZERO
    added: Decimal = ZERO

    @property
    def margin(self) -> Decimal:
        return self.size * self.average / self.leverage + self.added

    def unrealised(self, price: Decimal) -> Decimal:
        """Return the profit that closing at `price` would make, without fees."""
        return (price - self.average) * self.size * (1 if self.side == "long" else -1)


@dataclass(slots=True)
class Plan:
    """An order that waits for a price; `line` is the family of calls that knows it, `terms` what was asked for."""

    id: str
    client_oid: str
    line: str
    symbol: Symbol
    kind: str
    terms: dict[str, str]
    created_ms: int
    updated_ms: int
    live: bool = True


@dataclass(frozen=True, slots=True)
class Movement:
    """One transfer or withdrawal."""

    id: str
    client_oid: str
    coin: str
    amount: Decimal
    source: str
    target: str
    at_ms: int


@dataclass(slots=True)
class Book:
    """Everything of one user. Times are Unix milliseconds."""

    orders: dict[str, Order] = field(default_factory=dict)
    live: dict[str, Order] = field(default_factory=dict)
    client_oids: dict[tuple[str, str], Order] = field(default_factory=dict)
    fills: deque[Fill] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    positions: dict[tuple[str, HoldSide], Position] = field(default_factory=dict)
    closed: deque[Position] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    moved: dict[tuple[WalletName, str], Decimal] = field(default_factory=dict)
    transfers: deque[Movement] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    withdrawals: deque[Movement] = field(default_factory=lambda: deque(maxlen=KEPT_RECORDS))
    leverages: dict[str, int] = field(default_factory=dict)
    margin_modes: dict[str, str] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    hedged: bool = False
    cancel_at_ms: int | None = None  # when every order ends, unless it is put off

    def plan(self, line: str, order_id: str, client_oid: str) -> Plan | None:
        """Return an order that waits for a price by its id, or its client id when no id is given."""
        found = (one for one in self.plans.values() if one.line == line)
        return next((one for one in found if (one.id == order_id if order_id else one.client_oid == client_oid)), None)

    def waiting(self, plan: Plan) -> None:
        """Keep an order that waits for a price; the oldest one that has ended is forgotten beyond what is kept."""
        self.plans[plan.id] = plan
        if len(self.plans) > KEPT_RECORDS and (
            ended := next((one for one in self.plans.values() if not one.live), None)
        ):
            del self.plans[ended.id]

    def elapse(self, now_ms: int) -> None:
        """End every order if the countdown is over."""
        if self.cancel_at_ms is None or now_ms < self.cancel_at_ms:
            return
        for order in self.live.values():
            order.status, order.updated_ms = "cancelled", self.cancel_at_ms
        self.live.clear()
        self.cancel_at_ms = None

    def add(self, order: Order) -> None:
        """Keep a new order as live."""
        self.orders[order.id] = self.live[order.id] = order
        self.client_oids[_line(order.symbol), order.client_oid] = order
        while len(self.orders) > KEPT_ORDERS + len(self.live):
            self._forget(next(one for one in self.orders.values() if one.status != "live"))

    def find(self, futures: bool, order_id: str, client_oid: str) -> Order | None:
        """Return an order by its id, or its client id when no id is given."""
        order = self.orders.get(order_id) if order_id else self.client_oids.get((_name(futures), client_oid))
        return order if order is None or order.symbol.futures == futures else None

    def known(self, symbol: Symbol, client_oid: str) -> bool:
        """Tell whether an order with this client id was taken before."""
        return (_line(symbol), client_oid) in self.client_oids

    def move(self, wallet: WalletName, coin: str, amount: Decimal) -> None:
        """Add an amount, negative to take, to what is owned."""
        self.moved[wallet, coin] = self.moved.get((wallet, coin), ZERO) + amount

    def held(self) -> Iterator[tuple[WalletName, str, Decimal]]:
        """Return what live orders and open positions tie up: wallet, coin and amount."""
        for order in self.live.values():
            coin, amount = hold(order, order.price)
            if amount:
                yield ("futures" if order.symbol.futures else "spot"), coin, amount
        for position in self.positions.values():
            yield "futures", position.symbol.quote, position.margin

    def closing(self, symbol: Symbol, side: HoldSide) -> Decimal:
        """Return how much live orders already close of a position."""
        return sum(
            (
                one.size
                for one in self.live.values()
                if one.symbol == symbol and one.hold_side == side and not one.opens
            ),
            ZERO,
        )

    def _forget(self, order: Order) -> None:
        del self.orders[order.id]
        self.client_oids.pop((_line(order.symbol), order.client_oid), None)


def hold(order: Order, price: Decimal) -> tuple[str, Decimal]:
    """Return the coin and amount that an order ties up at a price."""
    symbol = order.symbol
    if symbol.futures:
        return symbol.quote, order.size * price / order.leverage if order.opens else ZERO
    if order.side == "sell":
        return symbol.base, order.size
    return symbol.quote, order.size if order.in_quote else order.size * price


def _line(symbol: Symbol) -> str:
    return _name(symbol.futures)


def _name(futures: bool) -> str:
    return "futures" if futures else "spot"
