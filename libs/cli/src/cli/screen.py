"""What a person sees: progress, statuses as they arrive, tables, and what is known of a binding.

Colour and a spinner on a terminal, plain lines elsewhere and with NO_COLOR. It is never given a token or a credential.
"""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from cli.room import printable

if TYPE_CHECKING:
    from strongroom_client import Binding, StatusEvent

COLOURS = {"connected": "green", "limited": "yellow", "pending": "cyan", "rejected": "red", "disconnected": "red"}
WIDTH = 14


class Screen:
    """Lines on standard output, or with `err` on standard error."""

    def __init__(self, console: Console | None = None, *, err: bool = False) -> None:
        colours: Any = None if os.environ.get("NO_COLOR") else "auto"
        self._console = console or Console(highlight=False, soft_wrap=True, stderr=err, color_system=colours)
        self._spinner: Any = None

    @property
    def is_terminal(self) -> bool:
        """Whether a person looks at it."""
        return self._console.is_terminal

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something goes on: a spinner whose text `progress` changes, or one plain line."""
        if not self.is_terminal:
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
        """Print one line as it is, without markup and without what a terminal would obey."""
        self._console.print(Text(printable(text), style=style))

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]], status: int | None = None) -> None:
        """Print rows below their heads, each column as wide as it must be; the column `status` gives the colour."""
        cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for number, row in enumerate(cells):
            line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            colour = COLOURS.get(row[status].split(" ")[0], "") if number and status is not None else ""
            self.line(line, colour if number else "bold")

    def status(self, name: str, binding: "Binding") -> None:
        """Print the status of a binding."""
        self.line(f"{name:<{WIDTH}}  {said(binding)}", COLOURS.get(binding.status, ""))

    def facts(self, rows: Sequence[tuple[str, str]]) -> None:
        """Print names and what they are."""
        width = max([WIDTH, *(len(name) + 2 for name, _ in rows)])
        for name, value in rows:
            self.line(f"  {name:<{width}}{value}")

    def details(self, binding: "Binding") -> None:
        """Print the credential, balances, strategies and findings of a binding."""
        self.facts([*_credential(binding), *_balances(binding), *_strategies(binding)])
        rotation = binding.rotation.findings if binding.rotation else ()
        for finding in (*binding.findings, *rotation):
            self.line(f"  {finding.severity:<{WIDTH}}{finding.title} [{finding.code}]")
            if finding.remedy:
                self.line(f"  {'':<{WIDTH}}{finding.remedy}", "dim")


def waiting(really: bool, what: str) -> AbstractContextManager[None]:
    """Show on a terminal's standard error that something is waited for; programs see nothing of it."""
    screen = Screen(err=True)
    return screen.busy(what) if really and screen.is_terminal else nullcontext()


def dumped(resource: Any) -> str:
    """Return a resource as one line of JSON."""
    return json.dumps(asdict(resource))


def said(binding: "Binding | StatusEvent") -> str:
    """Return status and reason in a few words."""
    reason = f" ({binding.reason})" if binding.reason else ""
    return f"{binding.status}{reason}{' (stale)' if binding.stale else ''}"


def _credential(binding: "Binding") -> Iterator[tuple[str, str]]:
    how = "sealed: nobody here saw the secret" if binding.credential.sealed else "not sealed"
    yield "credential", f"{binding.credential.api_key_hint} ({how})"
    if binding.rotation:
        reason = f" ({binding.rotation.reason})" if binding.rotation.reason else ""
        yield "rotation", f"{binding.rotation.state}{reason} {binding.rotation.api_key_hint}"


def _balances(binding: "Binding") -> Iterator[tuple[str, str]]:
    balances = binding.balances
    if balances:
        yield "total", f"{balances.total_usdt} USDT" if balances.total_usdt else "not known"
        yield "spot", ", ".join(f"{one.total} {one.coin}" for one in balances.spot) or "nothing"
        futures = (f"{one.equity} {one.coin} ({one.product})" for one in balances.futures)
        yield "futures", ", ".join(futures) or "nothing"


def _strategies(binding: "Binding") -> Iterator[tuple[str, str]]:
    for strategy in binding.strategies:
        reasons = ", ".join(strategy.reasons)
        yield strategy.id, "available" if strategy.available else f"not available: {reasons}"
