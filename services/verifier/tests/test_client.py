"""The wire: what was signed is what is sent, and answers of every make end as data or as one failure."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from common.clock import SystemClock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT, Binding
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, Header, SignedRequest
from verifier import verdict
from verifier.bitget import probe
from verifier.bitget.budget import Caller, LocalBudget
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.reach import Reach
from verifier.enrolment import Enrolment

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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("userId", "parentId", "ips", "permType", "permissions", "authorities", "usdtEquity", "assets", "coin")
ODD = st.dictionaries(st.sampled_from(FIELDS), JSON | st.lists(st.dictionaries(st.sampled_from(FIELDS), JSON)))


class _Scripted:
    """Reads whose answers are given: the first path may refuse, every other answers the same odd data."""

    def __init__(self, info: Any, other: Any, classic: bool) -> None:
        self.demo = False
        self._info, self._other, self._classic = info, other, classic

    async def get(self, path: str, *query: tuple[str, str]) -> Any:
        if path == probe.UNIFIED_INFO and self._classic:
            from verifier.bitget.codes import CODES

            raise ExchangeFailure(CODES["40084"], f"GET {path}", "40084")
        return self._info if path in (probe.UNIFIED_INFO, probe.CLASSIC_INFO) else self._other

    async def once(self, path: str) -> Any:
        return self._other

    def known_as(self, uid: str) -> None:
        assert isinstance(uid, str)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(info=ODD, other=JSON | ODD | st.lists(ODD, max_size=3), classic=st.booleans())
def test_no_shape_of_an_answer_breaks_a_verdict(info: Any, other: Any, classic: bool) -> None:
    scopes = [SCOPE_SPOT, SCOPE_FUTURES]

    async def run() -> None:
        facts = await probe.probe(_Scripted(info, other, classic), set(scopes), 0)  # type: ignore[arg-type]
        binding = Binding(scopes=scopes)
        binding.verdict.CopyFrom(verdict.of_facts(binding, facts, Enrolment(), ("203.0.113.10",), 0.0))
        assert binding.verdict.SerializeToString()
        assert verdict.of_facts(binding, facts, Enrolment(), ("203.0.113.10",), 0.0) == binding.verdict

    try:
        asyncio.run(run())
    except ExchangeFailure as failure:
        assert failure.rule.group is Group.REPROBE  # noqa: PT017  the one way out: the data itself said "upgrading"


async def test_null_instead_of_a_list_is_an_empty_wallet() -> None:
    info = {"userId": "1", "authorities": ["stow", "coow", "cpow"]}
    facts = await probe.probe(_Scripted(info, None, classic=True), {SCOPE_SPOT, SCOPE_FUTURES}, 0)  # type: ignore[arg-type]
    assert facts.balances is not None
    assert (facts.balances.total_usdt, facts.hiccup, facts.unread) == ("0", False, {})
