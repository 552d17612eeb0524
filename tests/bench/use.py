"""`make bench-use`: what it costs to use a key through Strongroom, beside its floors, in one run.

It asserts no time; it only says whether a goal was met.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import added, figures, signatures, verify
from tests.bench.accounts import accounts
from tests.bench.figures import Row
from tests.bench.world import running

BEGIN, END = "<!-- bench-use -->", "<!-- /bench-use -->"
PARTS = ("signatures", "requests")
ACCOUNTS = 24


def measure(home: Path, options: argparse.Namespace) -> list[Row]:
    """Run the parts asked for and return their rows."""
    owned = accounts(1 + ACCOUNTS, "unified")
    rows: list[Row] = []
    with running(home / "stack", owned) as world:
        world.limits(enforced=False)
        if "signatures" in options.parts:
            python = signatures.ccxt_python()
            rows += uvloop.run(signatures.measure(world, owned[0], options.rounds, options.seconds, python))
        if "requests" in options.parts:
            rows += uvloop.run(added.measure(world, owned[1:], options.calls))
    return rows


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the options; `--short` makes everything small, to see that it runs."""
    parser = argparse.ArgumentParser(prog="make bench-use", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, help="how often ours and the floor take turns (3)")
    parser.add_argument("--seconds", type=float, help="of one round (4)")
    parser.add_argument("--calls", type=int, help="of each way to ask the exchange (300)")
    parser.add_argument("--short", action="store_true", help="small numbers for all of these")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"rounds": 3, "seconds": 4, "calls": 300}
    small: dict[str, Any] = {"rounds": 1, "seconds": 0.5, "calls": 5}
    for name, value in (small if options.short else usual).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    return options


def main(arguments: list[str]) -> int:
    """Measure what the command line asks for."""
    options = parsed(arguments)
    before = figures.machine()
    verify.said(before)
    with tempfile.TemporaryDirectory(prefix="strongroom-bench-") as home:
        rows = measure(Path(home), options)
    text = verify.report(rows, f"python -m tests.bench.use {' '.join(arguments)}".strip(), before)
    verify.said("\n" + text)
    if options.write:
        verify.write(text, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
