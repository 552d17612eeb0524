"""The drill without Redis: it is stopped for as long as asked while customers bind, revoke and have things signed.

Run it by `make drill-redis`. What is bound, signed or ended must not know of it; the events come afterwards, each once
and in order. It asserts no time.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from common.rpc import client as rpc
from common.rpc.tls import Identity
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from tests.bench import figures
from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.world import World, running

TENANTS = ("acme", "globex")
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
WAIT_S = 180.0  # for what must come true before and after the outage
REVOKE_EACH = 3  # of three steps one ends a binding: by turns one from before the outage and one of its own
Json = dict[str, Any]
Say = Callable[[str], None]


class Story:
    """What was done to each binding, what was told of it, and how each operation went."""

    def __init__(self) -> None:
        self.expected: dict[str, list[str]] = {}
        self.told: dict[str, list[str]] = defaultdict(list)
        self.resets = 0
        self.ok: Counter[str] = Counter()
        self.failed: list[str] = []
        self.slowest_s: dict[str, float] = defaultdict(float)
        self.last_event_at = 0.0

    async def listen(self, client: Client) -> None:
        """Take down a tenant's events for ever."""
        async for event in client.events():
            if event["reset"]:
                self.resets += 1
            else:
                self.told[event["binding_id"]].append(event["status"])
                self.last_event_at = time.monotonic()

    async def do(self, kind: str, work: Awaitable[Any]) -> Any:
        """Await one operation and count it; return its result, None for one that failed."""
        began = time.monotonic()
        try:
            result = await work
        except Exception as error:  # noqa: BLE001  whatever it is, the drill has failed and goes on to see the rest
            self.failed.append(f"{kind}: {error!r:.200}")
            return None
        self.ok[kind] += 1
        self.slowest_s[kind] = max(self.slowest_s[kind], time.monotonic() - began)
        return result

    def complete(self) -> bool:
        """Tell whether every binding's events are those of its changes."""
        return all(self.told[binding] == statuses for binding, statuses in self.expected.items())

    def wrong(self) -> list[str]:
        """Return what is missing, doubled or out of order, a line each."""
        return [
            f"{binding}: expected {statuses}, told {self.told[binding]}"
            for binding, statuses in self.expected.items()
            if self.told[binding] != statuses
        ]


class Drill:
    """One drill on a running stack."""

    def __init__(self, world: World, session: aiohttp.ClientSession, signer: SignerStub, say: Say) -> None:
        self._world = world
        self._session = session
        self._signer = signer
        self._say = say
        self._clients = [Client(session, world, name) for name in TENANTS]
        self._story = Story()
        self._places: dict[str, Client] = {}

    async def run(self, before: Sequence[Account], during: Sequence[Account], seconds: float) -> Json:
        """Bind, stop Redis, go on for `seconds`, start it; return the rules that must hold and the figures."""
        story = self._story
        duties = [asyncio.create_task(story.listen(client)) for client in self._clients]
        try:
            await self._serving()
            old = [await self._bind(number, account) for number, account in enumerate(before)]
            await self._until(story.complete, "the bindings from before were not connected")
            self._say(f"{len(old)} bindings are connected; Redis stops for {seconds / 60:.1f} minutes")
            events_before = sum(map(len, story.told.values()))
            redis = self._world.child("valkey")
            redis.stop()
            began = time.monotonic()
            await self._outage(old, during, began + seconds)
            told_meanwhile = sum(map(len, story.told.values())) - events_before
            lasted = time.monotonic() - began
            redis.start()
            returned = time.monotonic()
            await self._until(story.complete, "")
            later = sum(map(len, story.told.values())) - events_before
            await asyncio.sleep(5)  # an event too many would come now
            states = await self._states()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        return self._summary(lasted, told_meanwhile, later, story.last_event_at - returned, states)

    async def _serving(self) -> None:
        """Wait until the stack, which has just started, answers each tenant."""
        deadline = time.monotonic() + WAIT_S
        for client in self._clients:
            while True:
                try:
                    await client.page(limit="1")
                    break
                except aiohttp.ClientResponseError as refused:
                    if refused.status != 503 or time.monotonic() > deadline:
                        raise
                    await asyncio.sleep(0.1)

    async def _bind(self, number: int, account: Account) -> str:
        client = self._clients[number % len(self._clients)]
        binding = str((await client.bind(account, wait=0))["id"])
        self._places[binding] = client
        self._story.expected[binding] = ["pending", "connected"]
        return binding

    async def _outage(self, old: Sequence[str], during: Sequence[Account], until: float) -> None:
        """Bind one account after the other, evenly until the end; sign, read and revoke meanwhile."""
        doomed, fresh = list(old[len(old) // 2 :]), list[str]()
        signing = asyncio.create_task(self._sign(old[: len(old) // 2], until))
        for number, account in enumerate(during):
            bound = await self._story.do("bind", self._bind(number, account))
            if bound:
                fresh.append(bound)
            for binding in (old[0], bound or old[0]):
                await self._story.do("read", self._places[binding].call("GET", f"/bindings/{binding}"))
            if number % REVOKE_EACH == REVOKE_EACH - 1:
                source = doomed if doomed and number % 2 else fresh
                await self._revoke(source.pop())
            await asyncio.sleep(max(0.0, until - time.monotonic()) / (len(during) - number))
        await signing

    async def _revoke(self, binding: str) -> None:
        client = self._places[binding]
        known = self._story.told[binding]
        await self._story.do("revoke", self._delete(client, binding))
        # Of one that nobody was told of, there is only its end to tell.
        self._story.expected[binding] = [*known, "revoked"]

    async def _delete(self, client: Client, binding: str) -> None:
        async with self._session.delete(f"{client.url}/bindings/{binding}", headers=client.headers) as answer:
            if answer.status != 204:
                raise RuntimeError(f"DELETE answered {answer.status}")

    async def _sign(self, bindings: Sequence[str], until: float) -> None:
        turn = 0
        while time.monotonic() < until:
            binding = bindings[turn % len(bindings)]
            turn += 1
            request = SignRequest(tenant_id=self._places[binding].tenant, binding_id=binding, requests=[INFO])
            await self._story.do("sign", rpc.call(self._signer.Sign, request, timeout_s=10))
            await asyncio.sleep(0.1)

    async def _states(self) -> dict[str, str]:
        """Return the status of every binding, each read by itself."""
        found = {}
        for binding, client in self._places.items():
            found[binding] = str((await client.call("GET", f"/bindings/{binding}"))["status"])
        return found

    async def _until(self, condition: Callable[[], bool], failure: str) -> None:
        """Wait until the condition holds; raise SystemExit with `failure`, if there is one, when it takes too long."""
        deadline = time.monotonic() + WAIT_S
        while not condition() and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        if failure and not condition():
            raise SystemExit(f"{failure}: {self._story.wrong()[:3]}")

    def _summary(self, lasted: float, meanwhile: int, later: int, last_s: float, states: dict[str, str]) -> Json:
        story = self._story
        ends = {binding: statuses[-1] for binding, statuses in story.expected.items()}
        rules = {
            "no operation failed": not story.failed,
            "something of each kind was done": set(story.ok) == {"bind", "read", "revoke", "sign"},
            "no event came while Redis was gone": not meanwhile,
            "each change of state is one event, in order": not story.wrong(),
            "no gap in the events": not story.resets,
            "every status is the expected one": states == ends,
        }
        return {
            "passed": all(rules.values()),
            "rules": rules,
            "outage_minutes": round(lasted / 60, 2),
            "operations": dict(story.ok),
            "slowest_s": {kind: round(slowest, 2) for kind, slowest in story.slowest_s.items()},
            "failed": story.failed[:5],
            "wrong": story.wrong()[:5],
            "events_afterwards": later,
            "last_event_after_s": round(last_s, 1),
            "machine": figures.machine(),
            "date": figures.today(),
        }


def drill(home: Path, *, minutes: float, binds: int, before: int = 8, say: Say) -> Json:
    """Run one drill with its state in `home` and return its summary; from the main thread only."""
    owned = accounts(before + binds, "unified", "classic")
    with running(home, owned) as world:
        return asyncio.run(_drilled(world, owned[:before], owned[before:], minutes * 60, say))


async def _drilled(
    world: World, before: Sequence[Account], during: Sequence[Account], seconds: float, say: Say
) -> Json:
    folder = world.stack.home / "pki"
    identity = Identity(folder / "worker.pem", folder / "worker.key", folder / "ca.pem")
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=60)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        channel = rpc.channel(world.facts["vault_target"], "vault", identity)
        stack.push_async_callback(channel.close)
        return await Drill(world, session, SignerStub(channel), say).run(before, during, seconds)


def main(arguments: list[str]) -> int:
    """Run the drill of the command line; print its summary as JSON and return 0 if every rule was kept."""
    parser = argparse.ArgumentParser(prog="make drill-redis", description="Redis stops, then comes back.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--binds", type=int, default=120, help="made while it is gone")
    parser.add_argument("--before", type=int, default=60, help="made before, of which some are revoked meanwhile")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    with tempfile.TemporaryDirectory(prefix="strongroom-redis-") as home:
        summary = drill(Path(home), **options, say=lambda line: print(line, flush=True))
    print(json.dumps(summary, indent=2), flush=True)
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
