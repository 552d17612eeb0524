"""Runs the simulator from the command line: two listeners, a ready file, a prompt stop on SIGTERM. Prints addresses
only."""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from simulator import handbook, scenarios
from simulator.config import load
from simulator.exchange import Exchange
from simulator.listen import running
from simulator.values import ConfigError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; return 0, or 2 with one line on stderr when the configuration or a port cannot
    be used."""
    options = _parser().parse_args(argv)
    if options.what == "scenarios":
        return _show(markdown=options.markdown)
    try:
        exchange = load(options.config, limits=not options.no_limits)
        uvloop.run(_serve(exchange, options))
    except (ConfigError, OSError) as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 2
    return 0


def _show(*, markdown: bool) -> int:
    """Print the packaged scenarios, as docs/scenarios.md or one line each."""
    book = scenarios.read()
    text = handbook.markdown(book) if markdown else "".join(f"{one.name}: {one.says}\n" for one in book.table)
    sys.stdout.write(text)
    return 0


async def _serve(exchange: Exchange, options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    where = {"host": options.host, "control_host": options.control_host}
    async with running(exchange, port=options.port, control_port=options.control_port, **where) as addresses:
        ready = json.dumps({"url": addresses.url, "control_url": addresses.control_url, "pid": os.getpid()})
        if options.ready_file:
            _write_whole(options.ready_file, ready)
        sys.stdout.write(ready + "\n")
        sys.stdout.flush()
        await stop.wait()


def _write_whole(path: Path, text: str) -> None:
    """Write so that a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="simulator", description="A Bitget that checks signatures.")
    listed = parser.add_subparsers(dest="what", metavar="[scenarios]").add_parser(
        "scenarios", help="print the packaged scenarios instead of serving them"
    )
    listed.add_argument("--markdown", action="store_true", help="as the page docs/scenarios.md")
    parser.add_argument("--host", default="127.0.0.1", help="address of the exchange")
    parser.add_argument("--port", type=int, default=0, help="port of the exchange; 0 takes a free one")
    parser.add_argument(
        "--control-host", default="127.0.0.1", help="address of the control port; it has no authentication"
    )
    parser.add_argument("--control-port", type=int, default=0, help="control port; 0 takes a free one")
    parser.add_argument("--config", type=Path, help="YAML file with accounts and faults; default: the packaged sample")
    parser.add_argument("--no-limits", action="store_true", help="do not enforce request limits")
    parser.add_argument("--ready-file", type=Path, help="write the addresses here, as JSON, once listening")
    return parser


if __name__ == "__main__":
    sys.exit(main())
