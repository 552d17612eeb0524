"""What a person sees: progress, each status as it arrives, a binding's balances, strategies and findings.

Colour and a spinner on a terminal, plain lines elsewhere. It is never given a token or a credential.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.text import Text

COLOURS = {"connected": "green", "limited": "yellow", "pending": "cyan", "rejected": "red", "disconnected": "red"}
WIDTH = 14


class Screen:
    """Lines on standard output."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._spinner: Any = None

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something goes on: a spinner whose text `progress` changes, or one plain line."""
        if not self._console.is_terminal:
            self.line(what)
            yield
            return
        with self._console.status(what) as self._spinner:
            yield
        self._spinner = None

    def progress(self, what: str) -> None:
        """Say what happens now."""
        if self._spinner is not None:
            self._spinner.update(what)
        else:
            self.line(what)

    def line(self, text: str, style: str = "") -> None:
        """Print one line as it is, without markup."""
        self._console.print(Text(text, style=style))

    def status(self, name: str, binding: Mapping[str, Any]) -> None:
        """Print the status of a binding."""
        status, reason = str(binding["status"]), binding.get("reason")
        words = f"{status}{f' ({reason})' if reason else ''}{' (stale)' if binding.get('stale') else ''}"
        self.line(f"{name:<{WIDTH}}  {words}", COLOURS.get(status, ""))

    def details(self, binding: Mapping[str, Any]) -> None:
        """Print the balances, strategies and findings of a binding."""
        for label, values in (*_balances(binding), *_strategies(binding)):
            self.line(f"  {label:<{WIDTH}}{values}")
        for finding in binding.get("findings", []):
            self.line(f"  {finding['severity']:<{WIDTH}}{finding['title']} [{finding['code']}]")
            if finding.get("remedy"):
                self.line(f"  {'':<{WIDTH}}{finding['remedy']}", "dim")


def _balances(binding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    balances = binding.get("balances")
    if balances:
        yield "total", f"{balances['total_usdt']} USDT" if balances["total_usdt"] else "not known"
        yield "spot", ", ".join(f"{one['total']} {one['coin']}" for one in balances["spot"]) or "nothing"
        futures = (f"{one['equity']} {one['coin']} ({one['product']})" for one in balances["futures"])
        yield "futures", ", ".join(futures) or "nothing"


def _strategies(binding: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for strategy in binding.get("strategies", []):
        reasons = ", ".join(strategy["reasons"])
        yield strategy["id"], "available" if strategy["available"] else f"not available: {reasons}"
