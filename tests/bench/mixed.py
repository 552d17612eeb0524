"""The drill of mixed load: for as long as asked everybody does everything at once, at the exchange's real limits.

Customers bind, read, verify and revoke; services trade through Execute, `/requests` and the base URL, two accounts near
the limit of their own; others have things signed, one by one and on a stream; events are followed. Run it by
`make drill-load`. It asserts no time.
"""

import argparse
import asyncio
import itertools
import json
import secrets
import sys
import tempfile
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from common.rpc import client as rpc
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.request_pb2 import ExchangeRequest

from tests.bench import figures, hops
from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.exchange_log import ExchangeLog
from tests.bench.resident import OURS, Memory
from tests.bench.world import World, running

TENANTS = ("acme", "globex")
CALL_S = 20.0
WAIT_S = 120.0
BIND_EACH_S, LIVING = 10.0, 6  # a new binding is revoked when so many newer ones live
# Orders of one account of each tenant, and as many cancellations. The exchange takes 10 of each; we let 8.7 go.
HOT_PER_S = 8.0
PER_S = {"read": 4.0, "execute": 4.0, "requests": 2.0, "proxy": 4.0, "sign": 3.0, "stream": 5.0, "verify": 0.2}
LOST = "Internal error from Core"
REVOKED = 409
Json = dict[str, Any]
Say = Callable[[str], None]
ASSETS = {"unified": "/api/v3/account/assets", "classic": "/api/v2/spot/account/assets"}


class Tally:
    """What was done how often, how long it took in milliseconds, and what failed."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = defaultdict(list)
        self.failed: list[str] = []

    async def do(self, kind: str, work: Awaitable[Any]) -> Any:
        """Await one operation and count it; return its result, None for one that failed."""
        began = time.monotonic()
        try:
            result = await work
        except Exception as error:  # noqa: BLE001  whatever it is, the drill has failed and goes on to see the rest
            what = f"{error.status} {error.message}" if isinstance(error, aiohttp.ClientResponseError) else str(error)
            self.failed.append(f"{kind}: {type(error).__name__} {what:.200}")
            return None
        self.took[kind].append((time.monotonic() - began) * 1000)
        return result

    def table(self) -> Json:
        """Return how often each kind was done, with its median and slowest hundredth in milliseconds."""
        return {
            kind: [len(each), *(round(figures.percentile(each, share), 1) for share in (0.5, 0.99))]
            for kind, each in sorted(self.took.items())
        }


class Customers:
    """One tenant's bindings: those that trade for the whole drill, and those that come and go."""

    def __init__(self, client: Client, tally: Tally) -> None:
        self.client = client
        self.lasting: list[tuple[Account, str]] = []
        self.told: dict[str, list[str]] = defaultdict(list)
        self.expected: dict[str, list[str]] = {}
        self.resets = 0
        self.late: list[str] = []
        self._tally = tally
        self._living: deque[str] = deque()

    async def listen(self) -> None:
        """Take down the events for ever."""
        async for event in self.client.events():
            if event["reset"]:
                self.resets += 1
            elif event["status"] not in self.told[event["binding_id"]][-1:]:
                self.told[event["binding_id"]].append(event["status"])

    async def bind(self, account: Account) -> str:
        """Bind an account's key and wait for its verdict; anything but Connected is a failure."""
        bound = await self.client.bind(account)
        self.expected[bound["id"]] = ["pending", "connected"]
        if bound["status"] != "connected":
            raise RuntimeError(f"a good key became {bound['status']}")
        return str(bound["id"])

    async def come_and_go(self, account: Account) -> None:
        """Bind one more, and revoke the oldest of those that came so when there are enough."""
        bound = await self._tally.do("bind", self.bind(account))
        self._living += [bound] if bound else []
        if len(self._living) > LIVING:
            await self._tally.do("revoke", self._revoke(self._living.popleft()))

    async def _revoke(self, binding: str) -> None:
        await self.client.done("DELETE", f"/bindings/{binding}")
        self.expected[binding].append("revoked")
        wanted = {"method": "GET", "path": ASSETS["unified"]}
        try:
            await self.client.call("POST", f"/bindings/{binding}/requests", json=wanted)
        except aiohttp.ClientResponseError as refused:
            if refused.status != REVOKED:
                raise
        else:
            self.late.append(binding)

    def wrong(self) -> list[str]:
        """Return which bindings' events are not those of their changes."""
        return [
            f"{binding}: expected {each}, told {self.told[binding]}"
            for binding, each in self.expected.items()
            if self.told[binding] != each
        ]


class Traders:
    """What the services of the platform do with the lasting bindings."""

    def __init__(self, signing: SigningServiceStub, tally: Tally) -> None:
        self._signing = signing
        self._tally = tally

    async def execute(self, client: Client, account: Account, binding: str) -> None:
        """Ask for the assets over gRPC."""
        request = ExchangeRequest(method="GET", path=ASSETS[account.mode])
        wanted = messages.ExecuteRequest(binding_id=binding, request=request)
        token = client.headers["Authorization"]
        pieces = [one async for one in rpc.stream(self._signing.Execute, wanted, timeout_s=CALL_S, authorization=token)]
        good(json.loads(b"".join(piece.body for piece in pieces)))

    async def requests(self, client: Client, account: Account, binding: str) -> None:
        """Ask for the assets by `/requests`."""
        wanted = {"method": "GET", "path": ASSETS[account.mode]}
        good(await client.call("POST", f"/bindings/{binding}/requests", json=wanted))

    async def proxy(self, client: Client, account: Account, binding: str) -> None:
        """Ask for the assets through the base URL."""
        good(await client.call("GET", f"/bindings/{binding}/proxy{ASSETS[account.mode]}"))

    async def sign(self, client: Client, account: Account, binding: str) -> None:
        """Have one request signed."""
        request = ExchangeRequest(method="GET", path=ASSETS[account.mode])
        wanted = messages.SignRequest(binding_id=binding, request=request)
        await rpc.call(self._signing.Sign, wanted, timeout_s=CALL_S, authorization=client.headers["Authorization"])

    async def order(self, client: Client, account: Account, binding: str) -> None:
        """Place an order that nobody takes, and cancel it."""
        name = secrets.token_hex(12)
        if account.mode == "unified":
            paths = "/api/v3/trade/place-order", "/api/v3/trade/cancel-order"
            placed = {"category": "SPOT", "qty": "0.0001"}
        else:
            paths = "/api/v2/spot/trade/place-order", "/api/v2/spot/trade/cancel-order"
            placed = {"force": "gtc", "size": "0.0001"}
        common = {"symbol": "BTCUSDT", "clientOid": name}
        limit = {**common, **placed, "side": "buy", "orderType": "limit", "price": "20000"}
        ended = {**common, **({"category": "SPOT"} if account.mode == "unified" else {})}
        base = f"/bindings/{binding}/proxy"
        if await self._tally.do("order", self._asked(client, base + paths[0], limit)):
            await self._tally.do("cancel", self._asked(client, base + paths[1], ended))

    async def _asked(self, client: Client, path: str, body: Json) -> bool:
        good(await client.call("POST", path, json=body))
        return True

    async def stream(self, owner: Customers, until: float) -> None:
        """Have requests signed on one stream, evenly, and count each answer; one that refuses is a failure."""
        bound = itertools.cycle(owner.lasting)

        waiting: dict[int, messages.SignStreamRequest] = {}
        numbers = itertools.count(1)

        async def requests() -> AsyncIterator[messages.SignStreamRequest]:
            for one in list(waiting.values()):
                yield one
            while time.monotonic() < until:
                (account, binding), number = next(bound), next(numbers)
                request = ExchangeRequest(method="GET", path=ASSETS[account.mode])
                waiting[number] = messages.SignStreamRequest(id=number, binding_id=binding, request=request)
                yield waiting[number]
                await asyncio.sleep(1 / PER_S["stream"])

        metadata = (("authorization", owner.client.headers["Authorization"]),)
        ended = False
        while not ended:
            lasts = until - time.monotonic() + CALL_S
            try:
                async for answer in self._signing.SignStream(requests(), timeout=lasts, metadata=metadata):
                    if answer.WhichOneof("outcome") != "signed":
                        raise RuntimeError(f"the stream refused: {answer.refusal.reason}")
                    del waiting[answer.id]
                    self._tally.took["stream"].append(0.0)
                ended = True
            except grpc.aio.AioRpcError as cut:
                # A service that ends says so: what was not answered is asked on the next stream. grpc.aio loses the
                # word of it when it is just writing.
                if cut.code() is not grpc.StatusCode.UNAVAILABLE and cut.details() != LOST:
                    raise


def good(answer: Json) -> None:
    """Raise RuntimeError unless the exchange did what it was asked."""
    if answer.get("code") != "00000":
        raise RuntimeError(f"the exchange answered {answer.get('code')} {answer.get('msg')}")


async def steady(per_s: float, until: float, work: Callable[[], Awaitable[Any]]) -> None:
    """Begin `work` so often a second, whether the one before has ended or not, and wait for all."""
    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in itertools.count():
            due = started + number / per_s
            if due >= until:
                return
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(_awaited(work))


async def _awaited(work: Callable[[], Awaitable[Any]]) -> None:
    await work()


class Drill:
    """One drill on a running stack."""

    def __init__(
        self, world: World, session: aiohttp.ClientSession, signing: SigningServiceStub, say: Say, *, memory: bool
    ) -> None:
        self._world = world
        self._say = say
        self._tally = Tally()
        self._customers = [Customers(Client(session, world, name), self._tally) for name in TENANTS]
        self._traders = Traders(signing, self._tally)
        self._log = ExchangeLog(session, world.facts["simulator_control_url"])
        self._memory = Memory({child.name: child.pid for child in world.stack.children} if memory else {})

    async def run(self, lasting: Sequence[Account], passing: Sequence[Account], seconds: float, hot: float) -> Json:
        """Let everybody work for so many seconds, with `hot` orders a second of one account of each tenant; return the
        rules that must hold and the figures."""
        duties = [asyncio.create_task(one.listen()) for one in self._customers]
        try:
            for number, account in enumerate(lasting):
                owner = self._customers[number // 2 % len(self._customers)]  # each has accounts of both kinds
                owner.lasting.append((account, await owner.bind(account)))
            self._world.limits(enforced=True)
            await self._log.begin()
            duties += [asyncio.create_task(work) for work in (self._log.follow(), self._memory.watch())]
            duties.append(asyncio.create_task(self._tell(seconds)))
            began = time.monotonic()
            await self._work(passing, began + seconds, hot)
            lasted = time.monotonic() - began
            await self._told()
            await self._log.read()
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
        return self._summary(lasted)

    async def _work(self, passing: Sequence[Account], until: float, hot: float) -> None:
        traders, tally = self._traders, self._tally
        owners, comers = itertools.cycle(self._customers), iter(passing)

        def each(kind: str, act: Callable[..., Awaitable[Any]]) -> Coroutine[Any, Any, None]:
            turns = itertools.cycle([(one.client, *bound) for one in self._customers for bound in one.lasting[1:]])
            return steady(PER_S[kind], until, lambda: tally.do(kind, act(*next(turns))))

        async def read(client: Client, _: Account, binding: str) -> None:
            await client.call("GET", f"/bindings/{binding}" if secrets.randbits(1) else "/bindings?limit=20")

        async def verify(client: Client, _: Account, binding: str) -> None:
            await client.verify(binding)

        def orders(one: Customers) -> Coroutine[Any, Any, None]:
            return steady(hot, until, lambda: traders.order(one.client, *one.lasting[0]))

        async with asyncio.TaskGroup() as group:
            for kind, act in (
                ("read", read),
                ("verify", verify),
                ("execute", traders.execute),
                ("requests", traders.requests),
                ("proxy", traders.proxy),
                ("sign", traders.sign),
            ):
                group.create_task(each(kind, act))
            for one in self._customers:
                group.create_task(orders(one))
                group.create_task(tally.do("stream", traders.stream(one, until)))
            group.create_task(steady(1 / BIND_EACH_S, until, lambda: next(owners).come_and_go(next(comers))))

    async def _tell(self, seconds: float) -> None:
        for minute in itertools.count(1):
            await asyncio.sleep(60)
            done = Counter({kind: len(each) for kind, each in self._tally.took.items()})
            memory = ", ".join(f"{name} {each[-1]:.0f}" for name, each in self._memory.samples.items() if name in OURS)
            self._say(
                f"{minute} of {seconds / 60:.0f} min: {done.total()} done, {len(self._tally.failed)} failed, "
                f"{len(self._log.calls)} calls of the exchange; MB: {memory}"
            )

    async def _told(self) -> None:
        deadline = time.monotonic() + WAIT_S
        while any(one.wrong() for one in self._customers) and time.monotonic() < deadline:
            await asyncio.sleep(0.1)

    def _summary(self, lasted: float) -> Json:
        tally, log = self._tally, self._log
        limits = self._world.control("GET", "/stats")["limits"]
        wrong = [line for one in self._customers for line in one.wrong()]
        rules = {
            "no operation failed": not tally.failed,
            "something of each kind was done": {*PER_S, "order", "cancel", "bind"} <= set(tally.took),
            "no 429 of the exchange": not any(call.code == "429" for call in log.calls),
            "never above an endpoint's limit": not limits["over_in_a_sliding_second"],
            "each change of state was told, in order": not wrong,
            "no gap in the events": not any(one.resets for one in self._customers),
            "nothing was signed for a revoked binding": not any(one.late for one in self._customers),
            "no process of ours grew": not self._memory.grown(),
            "no call was missed in the count": not log.missed,
        }
        return {
            "passed": all(rules.values()),
            "rules": rules,
            "minutes": round(lasted / 60, 2),
            "kind: [done, p50 ms, p99 ms]": tally.table(),
            "failed": Counter(tally.failed).most_common(5),
            "wrong": wrong[:5],
            "calls_of_the_exchange": len(log.calls),
            "busiest_minute": limits["busiest_minute"],
            "memory_mb: warm, at the end": {
                name: [round(value, 1) for value in pair] for name, pair in self._memory.quarters().items()
            },
            "machine": figures.machine(),
            "date": figures.today(),
        }


def drill(home: Path, *, minutes: float, lasting: int, hot: float, say: Say) -> Json:
    """Run one drill with its state in `home` and return its summary; from the main thread only."""
    passing = accounts(lasting + int(minutes * 60 / BIND_EACH_S) + 1, "unified", "classic")
    first, seconds = [passing.pop(0) for _ in range(lasting)], minutes * 60
    with running(home, [*first, *passing]) as world:
        return asyncio.run(drilled(world, lambda made: made.run(first, passing, seconds, hot), say))


async def drilled(world: World, run: Callable[[Drill], Awaitable[Json]], say: Say, *, memory: bool = True) -> Json:
    """Run a drill on a running stack and return its summary; without `memory` no process is watched for growth."""
    async with AsyncExitStack() as stack:
        timeout = aiohttp.ClientTimeout(total=60)
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        identity = hops.identity(world.stack.home / "pki", "client")
        channel = rpc.channel(world.facts["verifier_target"], "verifier", identity)
        stack.push_async_callback(channel.close)
        return await run(Drill(world, session, SigningServiceStub(channel), say, memory=memory))


def main(arguments: list[str]) -> int:
    """Run the drill of the command line; print its summary as JSON and return 0 if every rule was kept."""
    parser = argparse.ArgumentParser(prog="make drill-load", description="Everything at once, at the real limits.")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--lasting", type=int, default=40, help="bindings that trade all the time")
    parser.add_argument("--hot", type=float, default=HOT_PER_S, help="orders a second of one account of each tenant")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    with tempfile.TemporaryDirectory(prefix="strongroom-load-") as home:
        summary = drill(Path(home), **options, say=lambda line: print(line, flush=True))
    print(json.dumps(summary, indent=2), flush=True)
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
