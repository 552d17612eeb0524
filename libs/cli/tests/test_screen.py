"""What a person reads of a binding."""

import io

from cli.screen import Screen
from rich.console import Console


def _shown(total: str | None) -> str:
    out = io.StringIO()
    balances = {"total_usdt": total, "spot": [{"total": "1", "coin": "BTC"}], "futures": []}
    Screen(Console(file=out, highlight=False, soft_wrap=True)).details({"balances": balances})
    return out.getvalue()


def test_a_total_is_printed_and_an_unknown_one_is_said_to_be_unknown() -> None:
    assert "12.5 USDT" in _shown("12.5")
    assert "not known" in _shown(None)
    assert "None" not in _shown(None)
