"""Own what orders are worth in USDT, as far as their bodies alone tell: how, is data (worth.csv), reviewed as data.

There is no price here. Whatever a body leaves open, or says in a way that could be read in two, cannot be valued, and
is refused to whoever has a cap. Pure.
"""

import csv
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any, Final

from common import strict_json

from vault.canonical import Canonical, refuse

PLACES: Final = 8  # a unit is a hundred-millionth of a USDT
AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,29})(?:\.([0-9]{1,30}))?")
EXACT: Final = 2**53  # below, whole numbers are the same to whoever reads them
SYMBOL: Final = re.compile(r"[A-Z0-9]{1,28}USDT|[a-z0-9]{1,28}usdt")
FREE, UNKNOWN, BASE, QUOTE = "free", "unknown", "base", "quote"
COLUMNS: Final = ["path", "list", "when", "unit", "size", "prices"]
ALL: Final = "*"  # the body itself is the list of orders
# What an order may say besides, for it changes neither how much of what is traded nor at which price. Anything that is
# neither here nor in its row could.
BESIDES: Final = frozenset[str](
    [
        *["symbol", "side", "posSide", "holdSide", "tradeSide", "reduceOnly", "marginMode", "marginCoin"],
        *["orderId", "clientOid", "newClientOid", "autoCancel", "force", "timeInForce", "stpMode"],
        *["requestTime", "receiveWindow", "triggerType", "triggerBy", "tpTriggerBy", "slTriggerBy"],
        *["tpOrderType", "slOrderType", "stopSurplusTriggerType", "stopLossTriggerType"],
    ]
)
Order = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Shape:
    """One form of an order that can be valued.

    `when` has the values that make it this one (None: it may be left out). In the base coin, the first of `prices` must
    be named and the highest named one counts; in the quote coin, `size` is what it is worth.
    """

    when: Mapping[str, frozenset[str | None]]
    unit: str
    size: str
    prices: tuple[str, ...]

    def fits(self, order: Order) -> bool:
        """Tell whether `order` has this form, and says nothing that this file does not know."""
        if not order.keys() <= BESIDES | self.when.keys() | {self.size, *self.prices}:
            return False
        return all(_text(order.get(name)) in values for name, values in self.when.items())

    def worth(self, order: Order) -> int:
        """Return what an order of this form is worth, in units, rounded up; raise ValueError when that is open."""
        size = _amount(order.get(self.size))
        if self.unit == QUOTE:
            return _units(size, (1, 0))
        first, *others = self.prices
        exits = [order[name] for name in others if order.get(name, "") != ""]
        return max(_units(size, _amount(price)) for price in [order.get(first), *exits])


@dataclass(frozen=True, slots=True)
class Call:
    """How a call names its orders, and the forms that they may have: none when they cannot be valued at all."""

    orders: str
    shapes: tuple[Shape, ...]
    free: bool = False


def _load(rows: Iterable[Mapping[str, str]]) -> Mapping[str, Call]:
    calls: dict[str, Call] = {}
    for row in rows:
        before = calls.get(row["path"], Call(row["list"], ()))
        made = (_shape(row),) if row["unit"] in (BASE, QUOTE) else ()
        calls[row["path"]] = Call(row["list"], before.shapes + made, row["unit"] == FREE)
    return calls


def _shape(row: Mapping[str, str]) -> Shape:
    conditions = [one.partition("=") for one in row["when"].split()]
    when = {name: _values(values) for name, _, values in conditions}
    return Shape(when, row["unit"], row["size"], tuple(row["prices"].split()))


def _values(text: str) -> frozenset[str | None]:
    named = frozenset[str | None](text.removesuffix("?").split("|"))
    return named | {None} if text.endswith("?") else named


def rows() -> list[dict[str, str]]:
    """Return the table shipped with this package, row by row."""
    with resources.files("vault").joinpath("worth.csv").open() as lines:
        return list(csv.DictReader(lines, strict=True))


CALLS: Final = _load(rows())


def worths(request: Canonical) -> list[int]:
    """Return what each order of a trading call is worth, in units; a call that places none has none.

    Raises PolicyRefused when one of them cannot be valued.
    """
    call = CALLS.get(request.path, Call("", ()))
    if call.free:
        return []
    try:
        return [_worth(order, call.shapes) for order in _orders(request.body, call.orders)]
    except ValueError:
        raise refuse("tenant_notional_unknown") from None


def units(text: str) -> int:
    """Return an amount of USDT in units, rounded up; raise ValueError unless it is a plain decimal above 0."""
    return _units(_amount(text), (1, 0))


def usdt(amount: int) -> str:
    """Return units as USDT, in decimals."""
    whole, rest = divmod(amount, 10**PLACES)
    return f"{whole}.{rest:0{PLACES}}".rstrip("0").rstrip(".")


def _orders(body: bytes, where: str) -> Iterator[Order]:
    """Yield the orders of a body, each with what it shares with the others; raise ValueError for another shape."""
    parsed = strict_json.loads(body)
    batch = parsed if where not in ("", ALL) and isinstance(parsed, dict) else {}
    elements = [parsed] if not where else parsed if where == ALL else batch.get(where)
    shared = {name: value for name, value in batch.items() if name != where}
    if not isinstance(elements, list) or not elements or not all(isinstance(one, dict) for one in elements):
        raise ValueError("not the orders of this call")
    for element in elements:
        if any(shared.get(name, value) != value for name, value in element.items()):
            raise ValueError("an order says otherwise than its batch")
        yield {**shared, **element}


def _worth(order: Order, shapes: Iterable[Shape]) -> int:
    if not SYMBOL.fullmatch(_text(order.get("symbol")) or ""):
        raise ValueError("not a symbol quoted in USDT")
    for shape in shapes:
        if shape.fits(order):
            return shape.worth(order)
    raise ValueError("no form that can be valued")


def _text(value: Any) -> str | None:
    """Return a text; None for what is not there, and a text that stands for nothing for any other value."""
    return value if value is None or isinstance(value, str) else ""


def _amount(value: Any) -> tuple[int, int]:
    """Return a plain decimal above 0 as (digits, places); raise ValueError for any other spelling and any other type.

    The exchange documents amounts as texts. Of a number of JSON with a fraction or exponent two readers may make two.
    """
    if type(value) is int and 0 < value < EXACT:
        value = str(value)
    found = AMOUNT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("not a plain decimal")
    whole, fraction = found[1], found[2] or ""
    digits = int(whole + fraction)
    if digits == 0:
        raise ValueError("nothing")
    return digits, len(fraction)


def _units(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Return the product of two amounts in units, rounded up."""
    digits, places = one[0] * other[0], one[1] + other[1]
    scale = Fraction(10) ** (PLACES - places)
    return math.ceil(digits * scale)
