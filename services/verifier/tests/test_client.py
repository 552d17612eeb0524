"""The wire: what was signed is what is sent, and answers of every make end as data or as one failure."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from common.clock import SystemClock
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header, SignedRequest
from verifier.bitget.budget import Caller, LocalBudget
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.reach import Reach

Answer = Callable[[web.Request], web.StreamResponse]
CALLER = Caller("t" * 26, "a" * 32)


@asynccontextmanager
async def _exchange(answer: Answer) -> AsyncIterator[tuple[BitgetClient, list[web.Request]]]:
    """An exchange that answers everything by one function and keeps what it received."""
    received: list[web.Request] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        received.append(request)
        return answer(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    async with TestServer(app) as server, open_session() as session:
        clock = SystemClock()
        url = f"http://127.0.0.1:{server.port}"
        yield BitgetClient(session, url, LocalBudget(clock, Reach(session, url)), clock), received


async def _sign(request: ExchangeRequest, demo: bool, offset_ms: int) -> tuple[SignedRequest, int]:
    target = "/api/v2/spot/trade/unfilled-orders?limit=100&symbol=%24ALTUSDT%2B%20%E9%BE%99"
    headers = [Header(name="ACCESS-KEY", value="bg_key"), Header(name="ACCESS-SIGN", value="c2ln+/=")]
    return SignedRequest(method=request.method, target=target, headers=headers), 0


def _ok(_: web.Request) -> web.Response:
    return web.json_response({"code": "00000", "data": {"a": 1}}, headers={"Set-Cookie": "sid=1"})


async def test_the_bytes_sent_are_the_bytes_signed() -> None:
    async with _exchange(_ok) as (client, received):
        for _ in range(2):
            assert await client.get(CALLER, _sign, "/ignored", (), demo=False) == {"a": 1}
    for request in received:
        assert request.raw_path == "/api/v2/spot/trade/unfilled-orders?limit=100&symbol=%24ALTUSDT%2B%20%E9%BE%99"
        assert (request.headers["ACCESS-KEY"], request.headers["ACCESS-SIGN"]) == ("bg_key", "c2ln+/=")
        assert "Cookie" not in request.headers
        assert not request.can_read_body


def _long(_: web.Request) -> web.Response:
    return web.json_response({"code": "00000", "data": "x" * (1 << 20)})


def _bomb(_: web.Request) -> web.Response:
    response = _long(_)
    response.enable_compression(web.ContentCoding.gzip)
    return response


def _away(_: web.Request) -> web.Response:
    return web.Response(status=302, headers={"Location": "/elsewhere"})


def _text(body: str, status: int = 200) -> Answer:
    return lambda _: web.Response(text=body, status=status)


@pytest.mark.parametrize(
    "answer",
    [
        _long,
        _bomb,
        _away,
        _text(""),
        _text("[]"),
        _text("null"),
        _text('"00000"'),
        _text("{}"),
        _text('{"code": null}'),
        _text('{"code": ["00000"]}'),
        _text('{"code": "00000", "code": "40037"}'),
        _text('{"code": "40037" '),
        _text('{"code": true}'),
        _text('{"code": "a code with blanks"}'),
        _text("[" * 100_000),
        _text("<html>", 401),
    ],
)
async def test_what_cannot_be_read_says_nothing_about_the_key(answer: Answer) -> None:
    async with _exchange(answer) as (client, received):
        with pytest.raises(ExchangeFailure) as refused:
            await client.get(CALLER, _sign, "/x", (), demo=False)
    assert refused.value.rule.group is Group.TRANSIENT
    assert len(received) == 1


async def test_a_number_and_both_names_of_the_text_are_read() -> None:
    async with _exchange(_text('{"code": 40037, "message": "Apikey does not exist"}', 400)) as (client, _):
        with pytest.raises(ExchangeFailure) as refused:
            await client.get(CALLER, _sign, "/x", (), demo=False)
    assert (refused.value.code, refused.value.message) == ("40037", "Apikey does not exist")
    assert "Apikey" not in str(refused.value)


@pytest.mark.parametrize(
    "server_time", ["1e999", "-1e999", "1.5", '"banana"', "null", "[]", "{}", '"1e999"', "0", "true"]
)
async def test_an_odd_server_time_is_none(server_time: str) -> None:
    body = f'{{"code": "00000", "requestTime": 1700000000000, "data": {{"serverTime": {server_time}}}}}'

    async def sign(request: ExchangeRequest, demo: bool, offset_ms: int) -> tuple[SignedRequest, int]:
        return SignedRequest(method="GET", target="/x"), 1_700_000_060_000

    async with _exchange(_text(body)) as (client, received):
        assert "serverTime" in await client.get(CALLER, sign, "/x", (), demo=False)
    assert [request.raw_path for request in received] == ["/x", "/api/v2/public/time"]
    assert client.time.offset_ms == 0
