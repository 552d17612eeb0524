"""The markets and coins there are, read once from symbols.yaml. Knows no price and no account."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.resources import files
from typing import Any, Final

import yaml

SPOT: Final = "SPOT"
USDT_FUTURES: Final = "USDT-FUTURES"
_FILES: Final = {SPOT: "spot", USDT_FUTURES: "usdt_futures"}


@dataclass(frozen=True, slots=True)
class Symbol:
    """One market; `least` is the smallest order in the quote coin, `lever` the largest leverage, 0 for spot."""

    name: str
    category: str
    base: str
    quote: str
    price_places: int
    size_places: int
    least: Decimal
    taker: Decimal
    maker: Decimal
    lever: int = 0

    @property
    def futures(self) -> bool:
        return self.category != SPOT

    @property
    def tick(self) -> Decimal:
        return Decimal(1).scaleb(-self.price_places)

    @property
    def step(self) -> Decimal:
        return Decimal(1).scaleb(-self.size_places)

    def price(self, prices: Mapping[str, Decimal]) -> Decimal:
        """Return the market's one price, from what each coin is worth."""
        worth = prices.get(self.base, Decimal(0)) / prices[self.quote]
        return worth.quantize(self.tick, ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Chain:
    """One network of a coin, with what a withdrawal costs and its smallest amount."""

    name: str
    fee: Decimal
    least: Decimal


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin."""

    name: str
    number: str
    chains: tuple[Chain, ...]


def _market(category: str, name: str, row: Mapping[str, Any]) -> Symbol:
    return Symbol(
        name=name,
        category=category,
        base=row["base"],
        quote=row["quote"],
        price_places=row["price_places"],
        size_places=row["size_places"],
        least=Decimal(row["least"]),
        taker=Decimal(row["taker"]),
        maker=Decimal(row["maker"]),
        lever=row.get("lever", 0),
    )


def _markets(document: Mapping[str, Any]) -> dict[tuple[str, str], Symbol]:
    return {
        (category, name): _market(category, name, row)
        for category, section in _FILES.items()
        for name, row in document[section].items()
    }


def _coins(document: Mapping[str, Any]) -> dict[str, Coin]:
    return {
        name: Coin(
            name,
            row["id"],
            tuple(Chain(one["chain"], Decimal(one["fee"]), Decimal(one["least"])) for one in row["chains"]),
        )
        for name, row in document["coins"].items()
    }


_DOCUMENT: Final = yaml.safe_load((files("simulator") / "symbols.yaml").read_text(encoding="utf-8"))
MARKETS: Final = _markets(_DOCUMENT)
COINS: Final = _coins(_DOCUMENT)


def of(category: str) -> list[Symbol]:
    """Return the markets of a category, none for one that only the real exchange has."""
    return [symbol for (kind, _), symbol in MARKETS.items() if kind == category]
