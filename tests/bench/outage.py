"""The outage drill: the exchange fails in every way for as long as asked, then comes back.

Run it by `make drill-outage`; it needs the machine to itself. What must hold is in `outage_evidence`.
"""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from vault.records import Records

from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.exchange_log import ExchangeLog
from tests.bench.outage_evidence import Evidence, Json, Record, Seen, unix
from tests.bench.world import World, running

TENANTS = ("acme", "globex")
# What the exchange does, one after the other.
WAYS: dict[str, Json] = {
    "refused": {"kind": "refuse"},
    "status 503": {"kind": "error", "status": 503},
    "html page": {"kind": "html"},
    "cut json": {"kind": "cut_json"},
    "429 storm": {"kind": "storm"},
    "timeout": {"kind": "latency", "seconds": 30},
    "reset": {"kind": "reset"},
}
STORM = "429 storm"
WAY_S = 170.0  # about how long the exchange fails in one way before it fails in the next
SETTLE_S = 10.0  # after a storm ends, what was in flight may still be answered 429
BINDS_AT_ONCE = 8
CONNECTED_S = 120.0
Say = Callable[[str], None]


class Drill:
    """One drill on a running stack."""

    def __init__(self, world: World, session: aiohttp.ClientSession, say: Say) -> None:
        self._clients = [Client(session, world, name) for name in TENANTS]
        self._log = ExchangeLog(session, world.facts["simulator_control_url"])
        self._seen = Seen()
        self._way = ""
        self._world = world
        self._say = say

    async def run(self, owned: list[Account], minutes: float, recover_minutes: float) -> Json:
        """Bind, fail, recover, and return the summary with each rule and whether it was kept."""
        before = await self._bound(owned)
        found = Evidence(before, await self._records(before), self._seen, self._log)
        self._seen.status = {name: binding["status"] for name, binding in before.items()}
        self._world.control("DELETE", "/stats")
        await self._log.begin()
        duties = [asyncio.create_task(self._watch(client)) for client in self._clients]
        duties += [asyncio.create_task(self._log.follow()), asyncio.create_task(self._minutes())]
        found.began = time.time()
        await self._outage(found, minutes)
        found.ended, self._way = time.time(), "recovery"
        found.after = await self._recovered(found.ended, recover_minutes)
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await self._log.read()
        found.limits = self._world.control("GET", "/stats")["limits"]
        found.records_after = await self._records(found.after)
        return found.summary()

    async def _bound(self, owned: list[Account]) -> Mapping[str, Json]:
        """Bind the accounts, for each tenant in turn, and return the bindings once all are connected."""
        gate = asyncio.Semaphore(BINDS_AT_ONCE)

        async def bind(number: int, account: Account) -> None:
            async with gate:
                await self._clients[number % len(TENANTS)].bind(account)

        await asyncio.gather(*(bind(number, account) for number, account in enumerate(owned)))
        deadline = time.monotonic() + CONNECTED_S
        while True:
            found = await self._bindings()
            if all(one["status"] == "connected" and not one["stale"] for one in found.values()):
                self._say(f"{len(found)} bindings of {len(TENANTS)} tenants are connected")
                return found
            if time.monotonic() > deadline:
                raise SystemExit("not every key was connected before the outage")
            await asyncio.sleep(1)

    async def _outage(self, found: Evidence, minutes: float) -> None:
        """Fail in each way in turn; just after the beginning, customers ask about every second binding."""
        rounds = max(1, round(minutes * 60 / (WAY_S * len(WAYS))))
        ways = list(WAYS) * rounds
        for number, self._way in enumerate(ways):
            began = time.time()
            self._world.faults(WAYS[self._way])
            if number == 0:
                found.asked = await self._ask_about(list(found.before)[::2])
            await asyncio.sleep(max(0.0, began + minutes * 60 / len(ways) - time.time()))
            if self._way == STORM:
                found.storms.append((began, time.time() + SETTLE_S))
        self._world.faults()

    async def _ask_about(self, names: list[str]) -> set[str]:
        for client in self._clients:
            for one in await client.all():
                if one["id"] in names:
                    await client.verify(one["id"])
        return set(names)

    async def _recovered(self, ended: float, minutes: float) -> Mapping[str, Json]:
        """Return the bindings once each was verified after `ended`, or as they are when the time is over."""
        deadline = time.monotonic() + minutes * 60
        while True:
            found = await self._bindings()
            left = [one for one in found.values() if one["stale"] or unix(one["last_verified_at"]) < ended]
            if not left or time.monotonic() > deadline:
                return found
            await asyncio.sleep(1)

    async def _bindings(self) -> Mapping[str, Json]:
        """Return every binding by its id, as pages tell it."""
        found = {one["id"]: one for client in self._clients for one in await client.all()}
        if self._seen.status:
            for one in found.values():
                self._seen.page(one)
        return found

    async def _records(self, bindings: Mapping[str, Json]) -> Mapping[str, Record]:
        """Return what OpenBao itself has of each binding."""
        found = {}
        async with self._world.documents() as documents:
            records = Records(documents)
            for client in self._clients:
                for one in await client.all():
                    binding = (await records.load(client.tenant, one["id"])).binding
                    found[one["id"]] = Record(binding.revision, int(binding.verdict.status))
        return {name: found[name] for name in bindings}

    async def _watch(self, client: Client) -> None:
        async for told in client.events():
            self._seen.event(told)

    async def _minutes(self) -> None:
        """Say a line a minute."""
        minute = calls = 0
        while True:
            await asyncio.sleep(60)
            minute, new = minute + 1, len(self._log.calls) - calls
            calls += new
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                await self._bindings()
            self._say(
                f"minute {minute:3}: {self._way:10} {new:5} calls {len(self._seen.stale):5} stale "
                f"{self._seen.events:6} events {len(self._seen.changes):3} changes of status"
            )


def drill(
    home: Path, *, minutes: float, bindings: int, verify_seconds: int = 60, recover_minutes: float = 80, say: Say
) -> Json:
    """Run one drill with its state in `home` and return its summary; from the main thread only."""
    owned = accounts(bindings, "unified", "classic")
    with running(home, owned) as world:
        world.workers(1, verify_seconds=verify_seconds)  # a short drill takes less than a user may set
        return asyncio.run(_drilled(world, owned, minutes, recover_minutes, say))


async def _drilled(world: World, owned: list[Account], minutes: float, recover_minutes: float, say: Say) -> Json:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        return await Drill(world, session, say).run(owned, minutes, recover_minutes)


def main(arguments: list[str]) -> int:
    """Run the drill of the command line; print its summary as JSON and return 0 if every rule was kept."""
    parser = argparse.ArgumentParser(prog="make drill-outage", description="The exchange fails, then comes back.")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--bindings", type=int, default=300)
    parser.add_argument("--verify-seconds", type=int, default=60, help="how often each is verified")
    parser.add_argument("--recover-minutes", type=float, default=80, help="how long to wait for the last verdict")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    with tempfile.TemporaryDirectory(prefix="strongroom-outage-") as home:
        summary = drill(Path(home), **options, say=lambda line: print(line, flush=True))
    print(json.dumps(summary, indent=2), flush=True)
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
