"""Own the figures of requests for callers: what Execute, `/requests` and the base URL add to a call made directly.

All of them ask the same exchange on the same machine for the same thing, in turn. The exchange's limits hold for ours,
so many accounts take turns.
"""

import asyncio
import base64
import hashlib
import hmac
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import aiohttp
from common.rpc import client as rpc
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.request_pb2 import ExchangeRequest

from tests.bench import figures, hops
from tests.bench.accounts import Account
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.world import World

TARGET: Final = "/api/v3/account/assets"
ASSETS: Final = ExchangeRequest(method="GET", path=TARGET)
MEDIAN_MS, SLOW_MS = 4.0, 12.0
PER_SECOND: Final = 60.0  # of ours; the address may have 90
Call = Callable[[int], Awaitable[None]]


async def measure(world: World, owned: Sequence[Account], count: int) -> list[Row]:
    """Make `count` calls of each kind, in turn, and return what ours take longer than the direct ones."""
    token = world.headers("acme")["Authorization"]
    identity = hops.identity(world.stack.home / "pki", "client")
    channel = rpc.channel(world.facts["verifier_target"], "verifier", identity)
    async with aiohttp.ClientSession() as session, channel:
        client = Client(session, world, "acme")
        bound = [(await client.bind(account))["id"] for account in owned]
        calls = _calls(world, session, SigningServiceStub(channel), token, owned, bound)
        took: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(count + len(owned)):
            for name, call in calls.items():
                started = time.perf_counter()
                await call(number % len(owned))
                if number >= len(owned):  # each account and connection once before
                    took[name].append((time.perf_counter() - started) * 1000)
            await asyncio.sleep((len(calls) - 1) / PER_SECOND)
    direct = took.pop("direct")
    return [_row(name, values, direct) for name, values in took.items()]


def _row(name: str, ours: list[float], direct: list[float]) -> Row:
    middle = statistics.median(ours) - statistics.median(direct)
    slow = figures.percentile(ours, 0.99) - figures.percentile(direct, 0.99)
    return Row(
        f"{name}, {len(ours)} calls one after the other, beside as many direct ones",
        _told(ours),
        _told(direct),
        f"+{middle:.1f} ms p50, +{slow:.1f} ms p99",
        f"≤ {MEDIAN_MS:g} ms p50, ≤ {SLOW_MS:g} ms p99",
        middle <= MEDIAN_MS and slow <= SLOW_MS,
    )


def _told(took: list[float]) -> str:
    return f"p50 {statistics.median(took):.1f} ms, p99 {figures.percentile(took, 0.99):.1f} ms"


def _calls(
    world: World,
    session: aiohttp.ClientSession,
    signing: Any,
    token: str,
    owned: Sequence[Account],
    bound: Sequence[str],
) -> dict[str, Call]:
    gateway, headers = world.facts["gateway_url"], {"Authorization": token}

    async def direct(number: int) -> None:
        account, stamp = owned[number], str(int(time.time() * 1000))
        digest = hmac.new(account.secret_key.encode(), f"{stamp}GET{TARGET}".encode(), hashlib.sha256).digest()
        signed = {
            "ACCESS-KEY": account.api_key,
            "ACCESS-SIGN": base64.b64encode(digest).decode(),
            "ACCESS-TIMESTAMP": stamp,
            "ACCESS-PASSPHRASE": account.passphrase,
        }
        async with session.get(world.facts["bitget_url"] + TARGET, headers=signed) as answer:
            _good(await answer.json())

    async def execute(number: int) -> None:
        wanted = messages.ExecuteRequest(binding_id=bound[number], request=ASSETS)
        async for piece in rpc.stream(signing.Execute, wanted, timeout_s=20, authorization=token):
            if piece.HasField("head") and piece.head.status != 200:
                raise SystemExit(f"the exchange answered {piece.head.status}")

    async def request(number: int) -> None:
        wanted = {"method": "GET", "path": TARGET}
        url = f"{gateway}/v1/bindings/{bound[number]}/requests"
        async with session.post(url, json=wanted, headers=headers) as answer:
            _good(await answer.json())

    async def proxied(number: int) -> None:
        url = f"{gateway}/v1/bindings/{bound[number]}/proxy{TARGET}"
        async with session.get(url, headers=headers) as answer:
            _good(await answer.json())

    return {"direct": direct, "Execute (gRPC)": execute, "/requests": request, "the base URL": proxied}


def _good(answer: Any) -> None:
    if answer.get("code") != "00000":
        raise SystemExit(f"the exchange answered {answer.get('code')}")
