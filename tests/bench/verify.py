"""`make bench-verify`: measure verification beside its floors in one run, and print or write the table.

It asserts no time; it only says whether a goal was met. What the numbers depend on is printed with them.
"""

import argparse
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import binds, crowd, figures, pool
from tests.bench.accounts import accounts
from tests.bench.figures import Row
from tests.bench.world import World, running

PARTS = ("binds", "workers", "crowd")
BEGIN, END = "<!-- bench-verify -->", "<!-- /bench-verify -->"
DOCUMENT = Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def measure(home: Path, options: argparse.Namespace) -> list[Row]:
    """Run the parts asked for, the crowd on a stack of its own, and return their rows."""
    each, rounds = options.each, options.rounds
    owned = accounts(2 * (1 + 2 * rounds * each) + options.accounts, "unified", "classic")
    shared, single = owned[: options.accounts], owned[options.accounts :]
    rows: list[Row] = []
    if {"binds", "workers"} & set(options.parts):
        with running(home / "few", owned) as world:
            if "binds" in options.parts:
                rows += _run(binds.bind_to_verdict(world, single, rounds, each))
            if "workers" in options.parts:
                rows += _run(_workers(world, shared, options))
    if "crowd" in options.parts:
        with running(options.home or home / "many", []) as world:
            rows += _run(_crowd(world, options))
    return rows


async def _workers(world: World, shared: Any, options: argparse.Namespace) -> list[Row]:
    bound = await pool.prepare(world, shared)
    rows = await pool.by_processor(world, bound, options.workers, options.rounds, options.seconds)
    return rows + await pool.by_limits(world, bound, options.workers, options.rate_seconds)


async def _crowd(world: World, options: argparse.Namespace) -> list[Row]:
    written, took = await crowd.seed(world, options.bindings)
    said(f"seeded {written:,} records in {took:.0f} s")
    rows = await crowd.rebuild(world, options.bindings)
    return rows + await crowd.pages(world, options.bindings, options.pages)


def _run(part: Coroutine[Any, Any, list[Row]]) -> list[Row]:
    rows = uvloop.run(part)
    for row in rows:
        said("  ".join(cell for cell in row.cells() if cell))
    return rows


def said(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the options; `--short` makes everything small, to see that it runs."""
    parser = argparse.ArgumentParser(prog="make bench-verify", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, help="how often ours and the floor take turns (3)")
    parser.add_argument("--each", type=int, help="binds in a round (12)")
    parser.add_argument("--accounts", type=int, help="accounts that are verified over and over (120)")
    parser.add_argument("--workers", type=int, nargs="+", help="numbers of workers (1 2 4)")
    parser.add_argument("--seconds", type=float, help="of one round without limits (6)")
    parser.add_argument("--rate-seconds", type=float, help="of one run under the real limits (65)")
    parser.add_argument("--bindings", type=int, help="records to list and rebuild (100000)")
    parser.add_argument("--pages", type=int, help="pages to read of each kind (300)")
    parser.add_argument("--short", action="store_true", help="small numbers for all of these")
    parser.add_argument("--home", type=Path, help="keep the many records here, and use those that are there")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"rounds": 3, "each": 12, "accounts": 120, "workers": [1, 2, 4], "seconds": 6}
    usual |= {"rate_seconds": 65, "bindings": 100_000, "pages": 300}
    small: dict[str, Any] = {"rounds": 1, "each": 2, "accounts": 8, "workers": [1], "seconds": 2}
    small |= {"rate_seconds": 3, "bindings": 2000, "pages": 20}
    for name, value in (small if options.short else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def report(rows: list[Row], command: str, before: str) -> str:
    """Return the table with what it depends on."""
    return f"{figures.today()}, {before}, {figures.load()} at the end. `{command}`\n\n{figures.markdown(rows)}\n"


def write(text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what an earlier run has left in the document between its marks."""
    head, _, rest = DOCUMENT.read_text().partition(begin)
    DOCUMENT.write_text(f"{head}{begin}\n\n{text}\n{end}{rest.partition(end)[2]}")


def main(arguments: list[str]) -> int:
    """Measure what the command line asks for."""
    options = parsed(arguments)
    before = figures.machine()
    said(before)
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as home:
        rows = measure(Path(home), options)
    text = report(rows, f"python -m tests.bench.verify {' '.join(arguments)}".strip(), before)
    said("\n" + text)
    if options.write:
        write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
