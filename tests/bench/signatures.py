"""Own the figures of signatures for callers: Sign beside the same hops made bare, SignStream beside Sign and beside a
program that asks Transit itself, and how long each hop takes.
"""

import asyncio
import base64
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import hvac
from common.rpc import client as rpc
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.binding_pb2 import STATUS_PENDING
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import PURPOSE_SIGN
from strongroom.vault.v1.signer_pb2 import SignRequest as OracleRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub
from vault.hashicorp.login import Logins, signer_role

from tests.bench import binds, figures, hops
from tests.bench.accounts import Account
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.floor import Bare
from tests.bench.records import record, stored
from tests.bench.world import World

AT_ONCE = 16
IN_FLIGHT = 64
CALL_S = 20
ORDER = ExchangeRequest(
    method="POST",
    path="/api/v2/spot/trade/place-order",
    body=json.dumps(
        {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "force": "gtc", "price": "20000", "size": "0.001"}
    ).encode(),
)
MESSAGE = b"1700000000000POST" + ORDER.path.encode() + ORDER.body
SIGN_GOAL, STREAM_GOAL = 0.75, 2.0
Call = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class Scene:
    """A bound key, the calls that sign with it, and the same made bare."""

    sign: Call
    oracle: Call
    stream: Callable[[float], Awaitable[float]]
    passed: Call
    transit: Call
    hvac: Callable[[float], Awaitable[float]]


async def measure(world: World, account: Account, rounds: int, seconds: float, python: Path | None) -> list[Row]:
    """Return the rows; `python` is the interpreter of an environment with ccxt, None: that row is left out."""
    async with _scene(world, account) as scene:
        rates: dict[str, list[float]] = {}
        for _ in range(rounds):
            for name, made in (
                ("sign", rate(scene.sign, AT_ONCE, seconds)),
                ("bare", rate(scene.passed, AT_ONCE, seconds)),
                ("unary", rate(scene.sign, IN_FLIGHT, seconds)),
                ("stream", scene.stream(seconds)),
                ("hvac", scene.hvac(seconds)),
            ):
                rates.setdefault(name, []).append(await made)
        rows = [
            _row(f"Sign, {AT_ONCE} at once, beside the same hops bare", rates["sign"], rates["bare"], SIGN_GOAL),
            _row(f"SignStream, {IN_FLIGHT} in flight, beside Sign", rates["stream"], rates["unary"], STREAM_GOAL),
            _row("SignStream beside one client of Transit (hvac)", rates["stream"], rates["hvac"], STREAM_GOAL),
        ]
        if python is not None:
            rows.append(
                Row("ccxt signing in its own process", figures.spread([_ccxt(python, seconds)], "/s", 0), "", "")
            )
        for what, call in (
            ("Transit alone", scene.transit),
            ("the same hops bare", scene.passed),
            ("the vault service's Sign", scene.oracle),
            ("the verifier's Sign", scene.sign),
        ):
            took = await _each(call, 200)
            text = f"p50 {statistics.median(took):.2f} ms, p99 {figures.percentile(took, 0.99):.2f} ms"
            rows.append(Row(f"one after the other: {what}", text, "", ""))
    return rows


async def rate(call: Call, at_once: int, seconds: float) -> float:
    """Return how many calls end in a second, `at_once` of them under way; the first tenth does not count."""
    begin, count = time.monotonic() + seconds / 10, 0

    async def one() -> None:
        nonlocal count
        while (now := time.monotonic()) < begin + seconds:
            await call()
            count += now >= begin

    await asyncio.gather(*(one() for _ in range(at_once)))
    return count / (time.monotonic() - begin)


async def _each(call: Call, count: int) -> list[float]:
    took = []
    for _ in range(count):
        started = time.perf_counter()
        await call()
        took.append((time.perf_counter() - started) * 1000)
    return took


def _row(what: str, ours: list[float], floor: list[float], goal: float) -> Row:
    middle, text = figures.ratio(ours, floor)
    spreads = figures.spread(ours, "/s", 0), figures.spread(floor, "/s", 0)
    return Row(what, *spreads, text, f"≥ {goal:g}", middle >= goal)


@asynccontextmanager
async def _scene(world: World, account: Account) -> AsyncIterator[Scene]:
    pki, facts = world.stack.home / "pki", world.facts
    token = world.headers("acme")["Authorization"]
    async with aiohttp.ClientSession() as session, Bare(binds.places(world)) as bare:
        bound = await Client(session, world, "acme").bind(account)
        if bound["status"] != "connected":
            raise SystemExit(f"a good key became {bound['status']}")
        pending = stored(record(world.tenant("bare")["id"], 0, time.time(), STATUS_PENDING))
        key = await bare.bind(account, None, pending, None)
        verifier = rpc.channel(facts["verifier_target"], "verifier", hops.identity(pki, "client"))
        vault = rpc.channel(facts["vault_target"], "vault", hops.identity(pki, "verifier"))
        signing, oracle = SigningServiceStub(verifier), SignerStub(vault)
        wanted = messages.SignRequest(binding_id=bound["id"], request=ORDER)
        asked = OracleRequest(binding_id=bound["id"], requests=[ORDER], purpose=PURPOSE_SIGN)
        async with hops.running(world, key) as first:
            onward = rpc.channel(first, "verifier", hops.identity(pki, "client"))
            passing = onward.unary_unary(hops.METHOD)
            yield Scene(
                sign=lambda: rpc.call(signing.Sign, wanted, timeout_s=CALL_S, authorization=token),
                oracle=lambda: rpc.call(oracle.Sign, asked, timeout_s=CALL_S, authorization=token),
                stream=lambda seconds: _streamed(signing, token, bound["id"], seconds),
                passed=lambda: passing(MESSAGE, timeout=CALL_S),
                transit=lambda: bare.signature(key, MESSAGE),
                hvac=lambda seconds: _by_hvac(world, key, seconds),
            )
            for channel in (verifier, vault, onward):
                await channel.close()


async def _streamed(stub: Any, token: str, binding: str, seconds: float) -> float:
    """Return how many signatures a second one stream gives with IN_FLIGHT requests under way."""
    room, begin, count = asyncio.Semaphore(IN_FLIGHT), time.monotonic() + seconds / 10, 0

    async def requests() -> AsyncIterator[messages.SignStreamRequest]:
        number = 0
        while time.monotonic() < begin + seconds:
            await room.acquire()
            number += 1
            yield messages.SignStreamRequest(id=number, binding_id=binding, request=ORDER)

    answers = stub.SignStream(requests(), timeout=seconds * 2 + CALL_S, metadata=(("authorization", token),))
    async for answer in answers:
        if answer.WhichOneof("outcome") != "signed":
            raise SystemExit(f"a stream refused: {answer.refusal.reason}")
        room.release()
        count += time.monotonic() >= begin
    return count / (time.monotonic() - begin)


async def _by_hvac(world: World, key: str, seconds: float) -> float:
    """Return how many signatures a second one program gets of Transit through hvac, one after the other."""
    tenant, url = world.tenant("bare")["id"], world.facts["vault_addr"]
    async with world.vault() as (_, logins):
        token = await _token(logins, tenant)

    def ask() -> float:
        asked = hvac.Client(url=url, token=token)
        text, begin, count = base64.b64encode(MESSAGE).decode(), time.monotonic(), 0
        while time.monotonic() < begin + seconds:
            asked.secrets.transit.generate_hmac(f"{tenant}.{key}", text, algorithm="sha2-256")
            count += 1
        return count / (time.monotonic() - begin)

    return await asyncio.to_thread(ask)


async def _token(logins: Logins, tenant: str) -> str:
    return (await logins.token(signer_role(tenant))).reveal()


CCXT = """
import sys, time, ccxt
client = ccxt.bitget({"apiKey": "a", "secret": "s" * 64, "password": "p"})
until, count = time.monotonic() + float(sys.argv[1]), 0
order = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "force": "gtc", "price": "20000", "size": "0.001"}
while time.monotonic() < until:
    client.sign("v2/spot/trade/place-order", ["private", "spot"], "POST", order)
    count += 1
print(count / float(sys.argv[1]))
"""


def _ccxt(python: Path, seconds: float) -> float:
    command = [str(python), "-c", CCXT, str(seconds)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def ccxt_python() -> Path | None:
    """Return the interpreter of the environment that the tests of clients have made, None when there is none."""
    python = Path(sys.prefix) / "clients" / "bin" / "python"
    return python if python.exists() else None
