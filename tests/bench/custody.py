"""`make bench-custody`: revocations under load, binds beside the same writes made bare, the audit's cost, a neighbour.

It asserts no time; it only says whether a goal was met.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from common.errors import StrongroomError
from common.rpc import client as rpc
from common.rpc.tls import Identity
from strongroom.types.v1.binding_pb2 import STATUS_PENDING
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from tests.bench import audit_cost, binds, figures, neighbour, verify
from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.floor import Bare
from tests.bench.records import record, stored
from tests.bench.world import World, running

BEGIN, END = "<!-- bench-custody -->", "<!-- /bench-custody -->"
PARTS = ("revoke", "binds", "audit", "neighbour")
CALLERS = 4  # channels of their own, as four verifier processes would have
SIGNERS = 16
BINDS_AT_ONCE = 8
DELETE_GOAL_MS = 250.0
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")


class Signatures:
    """Have signatures made all the time, and remember of each binding when its last good one was begun."""

    def __init__(self, world: World, tenant: str, bindings: Sequence[str]) -> None:
        folder = world.stack.home / "pki"
        identity = Identity(folder / "worker.pem", folder / "worker.key", folder / "ca.pem")
        target = world.facts["vault_target"]
        self._channels = [rpc.channel(target, "vault", identity) for _ in range(CALLERS)]
        self._tenant = tenant
        self._bindings = bindings
        self.made = 0
        self.begun: dict[str, float] = {}

    async def until(self, count: int, ended: asyncio.Event) -> None:
        """Sign by turns until `count` signatures were made and `ended`."""
        await asyncio.gather(*(self._one(number, count, ended) for number in range(SIGNERS)))
        for channel in self._channels:
            await channel.close()

    async def _one(self, number: int, count: int, ended: asyncio.Event) -> None:
        stub, turn = SignerStub(self._channels[number % CALLERS]), number
        while self.made < count or not ended.is_set():
            binding = self._bindings[turn % len(self._bindings)]
            turn += SIGNERS + 1
            began = time.monotonic()
            request = SignRequest(tenant_id=self._tenant, binding_id=binding, requests=[INFO])
            try:
                await rpc.call(stub.Sign, request, timeout_s=10)
            except StrongroomError:
                continue
            self.made += 1
            self.begun[binding] = max(began, self.begun.get(binding, 0.0))


async def revoke(world: World, owned: Sequence[Account], count: int) -> list[Row]:
    """Revoke each account's binding while `count` signatures are made; half of the bindings stay to be signed for."""
    async with aiohttp.ClientSession() as session:
        client = Client(session, world, "acme")
        bound = [binding["id"] for binding in await _bound(client, owned)]
        doomed, ended = bound[: len(bound) // 2], asyncio.Event()
        signatures = Signatures(world, client.tenant, bound)
        signing = asyncio.create_task(signatures.until(count, ended))
        acknowledged, took = {}, []
        for binding in doomed:
            while signatures.made < count * len(acknowledged) // len(doomed):
                await asyncio.sleep(0.01)  # spread over the signatures
            started = time.perf_counter()
            await _delete(session, client, binding)
            acknowledged[binding] = time.monotonic()
            took.append((time.perf_counter() - started) * 1000)
        ended.set()
        await signing
    late = sum(signatures.begun.get(binding, 0.0) > moment for binding, moment in acknowledged.items())
    middle, slow = figures.percentile(took, 0.5), figures.percentile(took, 0.99)
    return [
        Row(
            f"{signatures.made:,} signatures around {len(doomed)} revocations, {CALLERS} callers",
            f"{late} bindings signed for after 204",
            "",
            "",
            "0",
            late == 0,
        ),
        Row(
            "DELETE meanwhile",
            f"p50 {middle:.0f} ms, p99 {slow:.0f} ms",
            "",
            "",
            f"p99 ≤ {DELETE_GOAL_MS:.0f} ms",
            slow <= DELETE_GOAL_MS,
        ),
    ]


async def throughput(world: World, owned: Sequence[Account]) -> list[Row]:
    """Bind half of the accounts, many at once, without waiting for verdicts; write the same bare for the rest."""
    mine, others = owned[: len(owned) // 2], owned[len(owned) // 2 :]
    async with aiohttp.ClientSession() as session, Bare(binds.places(world)) as bare:
        client = Client(session, world, "acme")
        pending = stored(record(client.tenant, 0, time.time(), STATUS_PENDING))
        started = time.monotonic()
        await _bound(client, mine)
        ours = len(mine) / (time.monotonic() - started)
        gate, started = asyncio.Semaphore(BINDS_AT_ONCE), time.monotonic()

        async def write(account: Account) -> None:
            async with gate:
                await bare.bind(account, None, pending, None)

        await asyncio.gather(*map(write, others))
        floor = len(others) / (time.monotonic() - started)
    _, text = figures.ratio([ours], [floor])
    what = f"binds, {BINDS_AT_ONCE} at once, no worker"
    return [Row(what, figures.spread([ours], "/s"), figures.spread([floor], "/s"), text)]


async def _bound(client: Client, owned: Sequence[Account]) -> list[Any]:
    gate = asyncio.Semaphore(BINDS_AT_ONCE)

    async def one(account: Account) -> Any:
        async with gate:
            return await client.bind(account, wait=0)

    return await asyncio.gather(*map(one, owned))


async def _delete(session: aiohttp.ClientSession, client: Client, binding: str) -> None:
    async with session.delete(f"{client.url}/bindings/{binding}", headers=client.headers) as answer:
        if answer.status != 204:
            raise SystemExit(f"DELETE answered {answer.status}")


def measure(home: Path, options: argparse.Namespace) -> list[Row]:
    """Run the parts asked for and return their rows."""
    owned = accounts(2 * options.revocations + 2 * options.binds, "unified")
    rows: list[Row] = []
    if {"revoke", "binds"} & set(options.parts):
        with running(home / "stack", owned) as world:
            world.workers(0)
            if "binds" in options.parts:
                rows += uvloop.run(throughput(world, owned[: 2 * options.binds]))
            if "revoke" in options.parts:
                rows += uvloop.run(revoke(world, owned[2 * options.binds :], options.signatures))
    if "audit" in options.parts:
        rows += uvloop.run(audit_cost.measure(home, rounds=options.rounds, seconds=options.seconds))
    if "neighbour" in options.parts:
        rows += neighbour.rows(neighbour.measure(home / "neighbour", options.rounds, 5 * options.seconds))
    return rows


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the options; `--short` makes everything small, to see that it runs."""
    parser = argparse.ArgumentParser(prog="make bench-custody", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--signatures", type=int, help="made around the revocations (10000)")
    parser.add_argument("--revocations", type=int, help="(100)")
    parser.add_argument("--binds", type=int, help="of ours, and as many bare (200)")
    parser.add_argument("--rounds", type=int, help="of the audit's cost (3)")
    parser.add_argument(
        "--seconds", type=float, help="of one of these rounds, five times as many beside a noisy neighbour (4)"
    )
    parser.add_argument("--short", action="store_true", help="small numbers for all of these")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    usual: dict[str, Any] = {"signatures": 10_000, "revocations": 100, "binds": 200, "rounds": 3, "seconds": 4}
    small: dict[str, Any] = {"signatures": 100, "revocations": 5, "binds": 5, "rounds": 1, "seconds": 0.2}
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
    text = verify.report(rows, f"python -m tests.bench.custody {' '.join(arguments)}".strip(), before)
    verify.said("\n" + text)
    if options.write:
        verify.write(text, BEGIN, END)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
