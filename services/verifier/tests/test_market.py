"""Public market data: nothing but public calls, without any credential, in a share of the budget."""

import asyncio
import csv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from common.errors import InvalidArgument, PermissionDenied, PolicyRefused, Throttled
from common.rpc import client
from strongroom.types.v1.request_pb2 import QueryParameter
from strongroom.verifier.v1.market_service_pb2 import AskRequest
from verifier.market import PLACES

from services.verifier.tests.callers import Api, RawExchange, api, asked, raw_exchange

ENDPOINTS = Path(__file__).parents[2] / "vault/src/vault/endpoints.csv"
TICKERS = "/api/v2/spot/market/tickers"


@pytest.fixture
async def raw() -> AsyncIterator[RawExchange]:
    async with raw_exchange() as exchange:
        yield exchange


@pytest.fixture
async def front(site: Any, bench: Any, raw: RawExchange) -> AsyncIterator[Api]:
    async with api(site, raw.url, peer="gateway") as running:
        yield running


async def ask(front: Api, path: str, *query: tuple[str, str]) -> tuple[int, bytes]:
    request = AskRequest(path=path, query=[QueryParameter(name=name, value=value) for name, value in query])
    pieces = [one async for one in client.stream(front.market.Ask, request, timeout_s=10)]
    return pieces[0].status, b"".join(one.body for one in pieces)


async def test_public_data_comes_back_without_any_credential(raw: RawExchange, front: Api) -> None:
    status, body = await ask(front, TICKERS, ("symbol", "$A 龙"))
    assert (status, body[:16]) == (200, b'{"code":"00000",')
    head = raw.received[0].split(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"get /api/v2/spot/market/tickers?symbol=%24a%20%e9%be%99 ")
    assert b"access-" not in head


async def test_the_simulated_exchange_answers(bench: Any, site: Any) -> None:
    async with api(site, bench.url, peer="gateway") as front:
        status, body = await ask(front, "/api/v2/public/time")
    assert status == 200
    assert b"serverTime" in body


@pytest.mark.parametrize(
    "path",
    [
        "/api/v3/account/assets",
        "/api/v2/spot/account/info",
        "/api/v2/margin/currencies/../../spot/account/info",
        "/api/v2/margin/currenciesx",
        "/api/v2/spot/market/../account/info",
        "/api/v2/spot/market/%2e%2e/account",
        "/api/v2/spot/market/tickers?x=1",
        "/api/v2/spot/market/tickers\r\nX: 1",
        "/api/v2/spot/market/",
        "//evil.example/api/v2/spot/market/tickers",
        "/user/verify",
        "",
    ],
)
async def test_anything_else_is_refused_and_never_asked(raw: RawExchange, front: Api, path: str) -> None:
    with pytest.raises(PolicyRefused) as refused:
        await ask(front, path)
    assert refused.value.extra["rule"] == "public"
    assert not raw.connections


@pytest.mark.bar(28)
async def test_a_query_that_has_two_readings_is_refused(raw: RawExchange, front: Api) -> None:
    for query in ([("a", "1"), ("a", "2")], [("a b", "1")], [("a", "\r\n")], [(f"n{one}", "") for one in range(33)]):
        with pytest.raises(InvalidArgument):
            await ask(front, TICKERS, *query)
    assert not raw.connections


async def test_only_the_gateway_may_ask(site: Any, bench: Any, raw: RawExchange) -> None:
    async with api(site, raw.url, peer="client") as front:
        with pytest.raises(PermissionDenied):
            await ask(front, TICKERS)
    assert not raw.connections


def test_every_place_is_public_and_every_public_call_has_its_place() -> None:
    with ENDPOINTS.open() as lines:
        rows = list(csv.DictReader(lines))
    inside = {row["path"]: row["capability"] for row in rows if row["path"].startswith(PLACES)}
    # Some clients ask it without a key, and the exchange answers.
    assert {path for path, what in inside.items() if what != "public"} <= {"/api/v2/margin/currencies"}
    assert not [row["path"] for row in rows if row["capability"] == "public" and row["path"] not in inside]


async def test_public_calls_keep_to_their_share(bench: Any, site: Any, raw: RawExchange) -> None:
    async with api(site, raw.url, peer="gateway", calls_per_minute=600) as front:
        paths = [f"/api/v2/spot/market/{name}" for name in ("tickers", "orderbook", "candles", "fills", "auction")]
        calls = [ask(front, paths[number % 5]) for number in range(40)]
        told = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in told if isinstance(one, Throttled)]
    assert refused
    assert all(one.reason == "market_budget_spent" and one.retry_after for one in refused)
    assert len(raw.received) == 40 - len(refused) <= 8


async def test_public_calls_leave_the_trading_lane_alone(bench: Any, site: Any, raw: RawExchange) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader")).id
    async with api(site, raw.url, peer="gateway", calls_per_minute=600) as front:
        flood = [asyncio.create_task(ask(front, TICKERS)) for _ in range(40)]
        answer = await front.execute(binding, asked("GET", "/api/v3/account/assets"))
        await asyncio.gather(*flood, return_exceptions=True)
    assert answer.head.status == 200
