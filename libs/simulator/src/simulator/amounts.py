"""Amounts as the exchange writes them: decimal text without an exponent and without empty decimals. Never a float."""

from decimal import ROUND_DOWN, Decimal
from typing import Final

ZERO: Final = Decimal(0)
FINEST: Final = Decimal("1e-12")


def plain(amount: Decimal) -> str:
    """Return an amount as text, to twelve decimals."""
    return format(amount.quantize(FINEST).normalize() + 0, "f") if amount else "0"


def floored(amount: Decimal, places: int) -> Decimal:
    """Return an amount cut to so many decimals, towards zero."""
    return amount.quantize(Decimal(1).scaleb(-places), ROUND_DOWN)


def fits(amount: Decimal, places: int) -> bool:
    """Tell whether an amount has no more than so many decimals."""
    return amount == floored(amount, places)
