"""What a person reads: of a binding, in a table, and of texts that somebody else wrote."""

import io
from types import SimpleNamespace
from typing import Any

from cli.screen import Screen
from rich.console import Console
from strongroom_client.resources import Balances, CoinBalance, CredentialInfo


def screen() -> tuple[Screen, io.StringIO]:
    out = io.StringIO()
    return Screen(Console(file=out, highlight=False, soft_wrap=True)), out


def _shown(total: str | None) -> str:
    shown, out = screen()
    credential = CredentialInfo(1, "hmac", "bg_12…3456", None, None, None, True)
    balances = Balances(total, (CoinBalance("BTC", None, None, "1"),), (), "2026-11-28T00:00:00Z")
    binding: Any = SimpleNamespace(credential=credential, balances=balances, strategies=(), findings=(), rotation=None)
    shown.details(binding)
    return out.getvalue()


def test_a_total_is_printed_and_an_unknown_one_is_said_to_be_unknown() -> None:
    assert "12.5 USDT" in _shown("12.5")
    assert "not known" in _shown(None)
    assert "None" not in _shown(None)


def test_a_table_is_as_wide_as_its_cells_and_nothing_is_cut() -> None:
    shown, out = screen()
    shown.table(["ID", "STATUS"], [["a" * 90, "connected"], ["b", "rejected (invalid_secret)"]], status=1)
    assert out.getvalue().splitlines() == [
        "ID" + " " * 90 + "STATUS",
        "a" * 90 + "  connected",
        "b" + " " * 91 + "rejected (invalid_secret)",
    ]


def test_what_a_terminal_would_obey_is_never_printed() -> None:
    shown, out = screen()
    shown.table(["LABEL"], [["\x1b[2Jmine\u202e\r"]])
    shown.line("\x1b]0;title\x07")
    assert not any(sign in out.getvalue() for sign in "\x1b\u202e\r\x07")
    assert "mine" in out.getvalue()
