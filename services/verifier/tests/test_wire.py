"""What is on the wire: the very bytes that were signed, and answers of any length in little memory."""

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest
from common.errors import DeadlineExceeded, PolicyRefused, Unavailable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom.types.v1.request_pb2 import Header, SignedRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from verifier.bitget import passage
from verifier.bitget.client import open_session
from verifier.bitget.wire import Wire

from services.verifier.tests.callers import Api, RawExchange, api, asked, raw_exchange, response

READS = ("/api/v3/account/assets", "/api/v3/trade/order-info", "/api/v2/spot/trade/orderInfo")
POSTS = ("/api/v3/trade/cancel-order", "/api/v3/trade/place-order", "/api/v2/spot/trade/place-order")
NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
TEXT = st.text(st.characters(exclude_characters="&=?\x7f", exclude_categories=("Cs", "Cc")), max_size=24)
VALUES = st.sampled_from(["$ALTUSDT", "龙虾USDT", "ch#1+2 a:b", "a%20b", "%", "+", "a/b;c,d", "'\"<>\\", ""]) | TEXT
BODIES = st.dictionaries(
    TEXT, TEXT | st.integers() | st.booleans() | st.none() | st.lists(TEXT, max_size=3), max_size=4
)
REQUESTS = st.one_of(
    st.builds(
        lambda path, query: asked("GET", path, **query),
        st.sampled_from(READS),
        st.dictionaries(NAMES, VALUES, max_size=4),
    ),
    st.builds(
        lambda path, body, ascii_: asked("POST", path, json.dumps({"category": "SPOT", **body}, ensure_ascii=ascii_)),
        st.sampled_from(POSTS),
        BODIES.filter(lambda body: "category" not in body),
        st.booleans(),
    ),
)


@pytest.fixture
async def raw() -> AsyncIterator[RawExchange]:
    async with raw_exchange() as exchange:
        yield exchange


@pytest.fixture
async def front(site: Any, raw: RawExchange, no_limits: None) -> AsyncIterator[Api]:
    async with api(site, raw.url) as running:
        yield running


def bound(bench: Any) -> str:
    return str(bench.vault.bind(bench.exchange.named("unified-trader")).id)


@pytest.mark.bar(24)
async def test_the_exchange_receives_exactly_the_bytes_that_were_signed(bench: Any, raw: RawExchange) -> None:
    """Over the signer's canonical form and the wire; the whole way is in test_what_is_executed_is_what_was_signed."""
    binding = bound(bench)
    async with open_session() as session:
        wire, loop = Wire(session, raw.url), asyncio.get_running_loop()

        async def check(request: Any) -> None:
            told = await bench.vault.sign_for("t" * 26, SignRequest(binding_id=binding, requests=[request]))
            signed = told.signed[0]
            async with wire.send(signed, 10) as answer:
                assert [chunk async for chunk in answer.content]
            _same(raw.received[-1], bench.vault.prehashes[-1])

        @given(REQUESTS)
        @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
        def examples(request: Any) -> None:
            asyncio.run_coroutine_threadsafe(check(request), loop).result(30)

        await asyncio.to_thread(examples)
    assert len(raw.received) >= 300


def _same(received: bytes, prehash: bytes) -> None:
    """Compare what came over the wire with the text that was signed: time, method, path, raw query and body."""
    head, body = received.split(b"\r\n\r\n", 1)
    line, *lines = head.decode("ascii").split("\r\n")
    method, target, version = line.split(" ")
    headers = dict(one.split(": ", 1) for one in lines)
    path, mark, query = target.partition("?")
    pairs = [unquote(one) for one in query.split("&")] if mark else []
    assert version == "HTTP/1.1"
    text = f"{headers['ACCESS-TIMESTAMP']}{method}{path}{mark}{'&'.join(pairs)}".encode() + body
    assert text == prehash
    assert len([name for name in lines if name.lower().startswith("access-")]) == 4
    assert not {"cookie", "authorization", "x-channel-api-code", "paptrading"} & {name.lower() for name in headers}


@pytest.mark.bar(24)
async def test_what_is_executed_is_what_was_signed(bench: Any, raw: RawExchange, front: Api) -> None:
    binding = bound(bench)
    requests = [
        asked("GET", READS[1], clientOid="ch#1+2 a:b", symbol="$ALT龙USDT"),
        asked("POST", POSTS[1], '{"category":"SPOT","symbol":"龙虾USDT", "qty":"1.0"}'),
        asked("POST", POSTS[1], '{"category":"SPOT"}'),
        asked("GET", READS[0]),
    ]
    for request in requests:
        await front.execute(binding, request, key="k")
    assert len(raw.received) == len(bench.vault.prehashes) == len(requests)
    for received, prehash in zip(raw.received, bench.vault.prehashes, strict=True):
        _same(received, prehash)


FORBIDDEN = (
    "/api/v2/spot/wallet/withdrawal",
    "/api/v3/account/withdrawal",
    "/api/v3/account/transfer",
    "/api/v3/user/create-sub-api",
)


def spellings(path: str) -> list[str]:
    """Return a path in forms that some servers or clients take for the same."""
    head, _, last = path.rpartition("/")
    return [
        path,
        path + "/",
        path + "//",
        path + "/.",
        path + "?",
        path + "?a=b",
        path + "#x",
        path + ";x=1",
        path + "%20",
        path + " ",
        path + "\t",
        path + "\x00",
        path + "%00",
        path + "\r\nX: 1",
        "/" + path,
        "//evil.example" + path,
        "http://evil.example" + path,
        path.upper(),
        path.title(),
        f"{head}//{last}",
        f"{head}/./{last}",
        f"{head}/x/../{last}",
        f"{head}/%2e/{last}",
        f"{head}/x/%2e%2e/{last}",
        f"{head}%2f{last}",
        f"{head}\\{last}",
        f"{head}/{last[:-1]}%{ord(last[-1]):02x}",
        f"{head}/{last.replace('a', 'а')}",  # a Cyrillic letter
        f"{head}/\u200b{last}",
        f"/api/v3/account/assets/..{path.removeprefix('/api')}",
        f"/api/v3/account/assets?x={path}",
    ]


@pytest.mark.bar(22, 25)
async def test_no_spelling_of_a_forbidden_call_is_signed_or_opens_a_connection(
    bench: Any, raw: RawExchange, front: Api
) -> None:
    binding = bound(bench)
    for path in FORBIDDEN:
        assert len(spellings(path)) >= 30
        for spelled in spellings(path):
            for method in ("POST", "GET", "post", "PUT"):
                with pytest.raises(PolicyRefused) as refused:
                    await front.execute(binding, asked(method, spelled, "{}" if method != "GET" else ""))
                assert refused.value.extra["rule"]
    assert not bench.vault.signed
    assert not raw.connections


async def test_a_long_answer_is_handed_on_with_little_memory(bench: Any, site: Any) -> None:
    body = b'{"code":"00000","data":"' + b"x" * (passage.LIMIT - 26) + b'"}'

    async def slowly(_: bytes, writer: asyncio.StreamWriter) -> None:
        whole = response(body)
        for start in range(0, len(whole), 1 << 16):
            writer.write(whole[start : start + (1 << 16)])
            await writer.drain()
            await asyncio.sleep(0)

    signed = SignedRequest(method="GET", target="/x", headers=[Header(name="ACCESS-KEY", value="bg_key")])
    async with raw_exchange(slowly) as exchange, open_session() as session:
        wire, received, peak = Wire(session, exchange.url), 0, 0
        for _ in range(2):  # the first one makes what stays
            received = 0
            tracemalloc.start()
            async with wire.send(signed, 20) as answer:
                async for chunk in passage.cleared(answer.content, ["bg_key"]):
                    received += len(chunk)
                    del chunk
                    await asyncio.sleep(0)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
    assert received == len(body)
    # The exchange of this test makes a copy of the answer by itself, with its head before it.
    assert peak - len(body) < 1.5 * (1 << 20)
    async with raw_exchange(slowly) as exchange, api(site, exchange.url) as front:
        answered = await front.execute(bound(bench), asked("GET", READS[0]))
    assert answered.body == body
    assert answered.pieces > 32


async def test_an_answer_beyond_the_limit_ends_with_an_error(bench: Any, site: Any) -> None:
    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * (1 << 16))
            await writer.drain()

    async with raw_exchange(endless) as exchange, api(site, exchange.url) as front:
        with pytest.raises(Unavailable):
            await front.execute(bound(bench), asked("GET", READS[0]))
        with pytest.raises(DeadlineExceeded) as unknown:
            await front.execute(bound(bench), asked("POST", POSTS[1], '{"category":"SPOT"}'))
    assert unknown.value.reason == "outcome_unknown"


async def test_an_answer_is_read_no_faster_than_it_is_taken() -> None:
    sent = 0

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while True:
            writer.write(b"x" * (1 << 16))
            await writer.drain()
            sent += 1 << 16

    signed = SignedRequest(method="GET", target="/x")
    async with (
        raw_exchange(endless) as exchange,
        open_session() as session,
        Wire(session, exchange.url).send(signed, 20) as answer,
    ):
        await anext(answer.content)
        before = -1
        while sent != before:  # until the buffers on the way are full, and nothing moves
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 16 << 20
