"""Own what a tenant denies its own services beyond the table of calls: capabilities, calls, symbols that are not on a
list, and orders that are worth more than it lets them be.

It only ever takes away. Reads are free of symbols and caps, and so is what only cancels: it lowers what is at stake.
Pure.
"""

import difflib
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from common import strict_json

from vault import trading, worth
from vault.canonical import Canonical, refuse
from vault.trading import BY_BODY, BY_PATH

MOST: Final = 256  # of each list
CAPABILITIES: Final = BY_PATH.keys() | BY_BODY
MOVES_NOTHING: Final = frozenset(["read", "public"])
SETTINGS: Final = "futures_settings"  # they have a symbol, and are worth nothing
CALL: Final = re.compile(r"(GET|POST) /api/v[0-9]+(/[A-Za-z0-9-]+)+")
SYMBOL: Final = re.compile(r"[A-Z0-9]{1,32}")
CAP: Final = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,8})?")


@dataclass(frozen=True, slots=True)
class Denials:
    """Capabilities and calls (`METHOD PATH`) that are never signed, the symbols that may be traded (none: all), and
    what an order, and all that are signed on a day, may be worth at most, in USDT (empty: whatever it is)."""

    denied_capabilities: tuple[str, ...] = ()
    denied_calls: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    max_order_notional: str = ""
    max_daily_notional: str = ""

    def document(self) -> dict[str, Any]:
        """Return what the registry keeps: the parts that say something."""
        said = ((name, value) for name, value in asdict(self).items() if value)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in said}

    def check(self, request: Canonical, rule: str, *, cancels: bool) -> int:
        """Return what `request`, which the table allows by the capability `rule`, counts on the tenant's day, in units.

        Raises PolicyRefused when the tenant denies it.
        """
        if rule in self.denied_capabilities or f"{request.method} {request.path}" in self.denied_calls:
            raise refuse("tenant_denied")
        if self.symbols and rule not in MOVES_NOTHING and not cancels:
            self._check_symbols(request.body)
        worths = self.worths(request, rule)
        if max(worths, default=0) > _units(self.max_order_notional):
            raise refuse("tenant_order_notional")
        if sum(worths) > _units(self.max_daily_notional):
            raise refuse("tenant_daily_notional")
        return sum(worths) if self.max_daily_notional else 0

    def check_login(self) -> None:
        """Raise PolicyRefused for a private socket, on which nobody looks at orders, where anything is denied."""
        if self != NONE:
            raise refuse("tenant_denied")

    def _check_symbols(self, body: bytes) -> None:
        parsed = strict_json.loads(body) if body else {}
        elements = parsed if isinstance(parsed, list) else [parsed]
        named = [symbol for element in elements for symbol in _symbols(element)]
        if not all(isinstance(one, str) and one.isascii() and one.upper() in self.symbols for one in named):
            raise refuse("tenant_symbol")

    def worths(self, request: Canonical, rule: str) -> list[int]:
        """Return what each order of a request is worth, in units, where there is a cap to hold it against.

        Raises PolicyRefused when one of them cannot be valued.
        """
        counts = self.capped() and rule not in MOVES_NOTHING and rule != SETTINGS
        return worth.worths(request) if counts else []

    def capped(self) -> bool:
        """Tell whether there is a cap that orders are valued for."""
        return bool(self.max_order_notional or self.max_daily_notional)


NONE: Final = Denials()
EVERYTHING: Final = Denials(denied_capabilities=tuple(sorted(CAPABILITIES)))
NAMES: Final = frozenset(one.name for one in fields(Denials))


def denials_of(value: dict[str, Any]) -> Denials:
    """Return the denials among a tenant's rules, any of which may be left out; raise ValueError for another form."""
    capabilities = _texts(value, "denied_capabilities")
    if not set(capabilities) <= CAPABILITIES:
        raise ValueError(f"denied_capabilities are of {', '.join(sorted(CAPABILITIES))}")
    calls = _texts(value, "denied_calls")
    if not all(map(CALL.fullmatch, calls)):
        raise ValueError("denied_calls are written METHOD PATH, as POST /api/v2/spot/trade/place-order")
    symbols = _texts(value, "symbols")
    if not all(map(SYMBOL.fullmatch, symbols)):
        raise ValueError("symbols are written as the exchange does, BTCUSDT")
    return Denials(capabilities, calls, symbols, _cap(value, "max_order_notional"), _cap(value, "max_daily_notional"))


def unknown_call(denials: Denials) -> tuple[str, str] | None:
    """Return the first denied call that is not in the table of calls, and the known one that looks most like it.

    None when all are known. A call that was known once stays denied: this is asked when rules are written, not read.
    """
    known = [f"{method} {path}" for method, path in trading.load().calls]
    strange = next((call for call in denials.denied_calls if call not in known), None)
    return (strange, difflib.get_close_matches(strange, known, 1, 0)[0]) if strange else None


def _texts(value: dict[str, Any], name: str) -> tuple[str, ...]:
    given = value.get(name, [])
    if not isinstance(given, list) or len(given) > MOST or not all(isinstance(one, str) for one in given):
        raise ValueError(f"{name} is a list of at most {MOST} texts")
    return tuple(sorted(set(given)))


def _cap(value: dict[str, Any], name: str) -> str:
    given = value.get(name, "")
    if given != "" and not (isinstance(given, str) and CAP.fullmatch(given) and given.strip("0.")):
        raise ValueError(f"{name} is an amount of USDT above 0, written as a text: 1000 or 1000.50")
    return str(given)


def _units(cap: str) -> float:
    """Return a cap in units: without one, whatever there is."""
    return worth.units(cap) if cap else math.inf


def _symbols(element: dict[str, Any]) -> Iterator[Any]:
    """Yield every symbol that one element names; None stands for an order that names none, and so could be of any.

    The orders of a batch of the second API stand in a list within it, and name their own or share the batch's.
    """
    lists = [value for value in element.values() if isinstance(value, list)]
    orders = [order for value in lists for order in value if isinstance(order, dict)]
    yield from _named(element)
    for order in orders:
        yield from _named(order)
        if not _named(order) and not _named(element):
            yield None
    if not orders and not _named(element):
        yield None


def _named(order: dict[str, Any]) -> list[Any]:
    """Return what an order says its symbol is; None, which is no symbol, for the name written in another case."""
    return [value if name == "symbol" else None for name, value in order.items() if name.casefold() == "symbol"]
