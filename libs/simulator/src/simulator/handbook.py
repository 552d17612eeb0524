"""Makes the scenarios into a page for people: one table for each group, in the file's order. Pure text."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any, Final

from simulator import expectation
from simulator.scenarios import Book, Expectation, Scenario, Step

TITLES: Final = {
    "guide": "The binding guide",
    "pasted": "What was pasted",
    "rsa": "User-generated (RSA) keys",
    "unified": "Unified accounts",
    "classic": "Classic accounts",
    "ip": "The IP list",
    "account": "What Bitget holds against an account",
    "key": "Other codes about the key",
    "trouble": "Trouble at the exchange",
    "fresh": "Keys made seconds ago",
    "several": "Several keys",
    "rules": "The tenant's rules",
    "then": "What changes later",
    "everybody": "What concerns everybody",
}
HEADER: Final = (
    "scenario",
    "what is so",
    "status",
    "reason",
    "findings (severity, actor, Bitget's code)",
    "strategies",
)


def markdown(book: Book) -> str:
    """Return the page."""
    parts = [_introduction(book)]
    for group, found in groupby(book.table, key=lambda one: one.name.partition("-")[0]):
        rows = [row for scenario in found for row in _rows(book, scenario)]
        parts.append("\n".join([f"## {TITLES[group]}\n", _line(HEADER), _line(["---"] * len(HEADER)), *rows]) + "\n")
    return "\n".join(parts)


def _introduction(book: Book) -> str:
    return f"""# Scenarios

Made by `python -m simulator scenarios --markdown` from
[scenarios.yaml](../libs/simulator/src/simulator/scenarios.yaml), which says what Bitget does and what must be said
of it. The integration suite binds each of these {len(book.table)} through REST and compares the whole verdict: status,
reason, `stale`, environment, account, permissions and tokens, IP list, findings, strategies with reasons, total, and
for what changes later the event with before and after. Here is the part that people ask for first.

A binding asks for spot and futures, our addresses are {" and ".join(book.egress)}, the key's IP list has both, and the
tenant has no rules of its own, unless said otherwise. `strict` makes an error of every finding that rules may decide,
`lenient` of none.
"""


def _rows(book: Book, scenario: Scenario) -> list[str]:
    says = scenario.says if scenario.tenant == "plain" else f"{scenario.says} Tenant `{scenario.tenant}`."
    rows = [_row(book, f"`{scenario.name}`", says, scenario.expect)]
    return rows + [_step(book, step) for step in scenario.then]


def _step(book: Book, step: Step) -> str:
    return _row(book, "… then", step.says, step.expect)


def _row(book: Book, name: str, says: str, expect: Expectation) -> str:
    if "turned_away" in expect:
        return _line([name, says, "none", "", _turned_away(expect["turned_away"]), ""])
    status = expect["status"] + (", stale" if expect["stale"] else "")
    findings = ", ".join(_finding(book, item) for item in expect["findings"]) or "none"
    return _line([name, says, status, expect["reason"] or "", findings, _strategies(expect)])


def _turned_away(problem: Mapping[str, Any]) -> str:
    faults = ", ".join(f"`{item}`" for item in problem["errors"])
    return f"{problem['status']} `{problem['code']}`" + (f": {faults}" if faults else "")


def _finding(book: Book, item: str) -> str:
    code, *words = expectation.finding(book, item).split()
    return f"`{code}` ({', '.join(words)})"


def _strategies(expect: Expectation) -> str:
    available = expect["available"]
    if not available:
        return "none"
    return "all" if len(available) == 4 else ", ".join(available)


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"
