"""Execute over a real socket: signed by the vault, sent once, the answer unchanged."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from common.errors import (
    BindingRevoked,
    DeadlineExceeded,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    PolicyRefused,
    Throttled,
    Unauthenticated,
    Unavailable,
)
from strongroom.signing.v1.signing_service_pb2 import ExecuteRequest

from services.verifier.tests.callers import Api, RawExchange, api, asked, raw_exchange, response
from services.verifier.tests.conftest import until
from services.verifier.tests.small_vault import SCOPE_SPOT

PLACE = "/api/v3/trade/place-order"
ORDER = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "qty": "0.001"}


@pytest.fixture
async def front(site: Any, bench: Any) -> AsyncIterator[Api]:
    """The api process before the simulated exchange."""
    async with api(site, bench.url) as running:
        yield running


@pytest.fixture
async def raw() -> AsyncIterator[RawExchange]:
    async with raw_exchange() as exchange:
        yield exchange


@pytest.fixture
async def before_raw(site: Any, raw: RawExchange) -> AsyncIterator[Api]:
    """The api process before an exchange of raw bytes."""
    async with api(site, raw.url) as running:
        yield running


def bound(bench: Any, **changed: Any) -> str:
    return str(bench.vault.bind(bench.exchange.named("unified-trader"), **changed).id)


async def test_a_read_is_signed_sent_and_its_answer_handed_on(bench: Any, front: Api) -> None:
    answer = await front.execute(bound(bench), asked("GET", "/api/v3/account/assets"))
    assert (answer.head.status, answer.head.reason) == (200, "")
    assert json.loads(answer.body)["code"] == "00000"
    assert answer.header("content-type").startswith("application/json")


async def test_an_order_is_placed_and_found_again(bench: Any, front: Api) -> None:
    binding = bound(bench)
    placed = await front.execute(binding, asked("POST", PLACE, json.dumps({**ORDER, "clientOid": "mine-1"})))
    assert json.loads(placed.body)["code"] == "00000", placed.body
    found = await front.execute(binding, asked("GET", "/api/v3/trade/order-info", clientOid="mine-1"))
    assert json.loads(found.body)["data"]["clientOid"] == "mine-1"


async def test_a_repeat_with_the_same_key_has_one_effect(bench: Any, front: Api) -> None:
    binding, order = bound(bench), asked("POST", PLACE, json.dumps(ORDER))
    first = await front.execute(binding, order, key="order-7")
    again = await front.execute(binding, order, key="order-7")
    assert json.loads(first.body)["code"] == "00000", first.body
    assert json.loads(again.body)["code"] != "00000"
    other = await front.execute(binding, order, key="order-8")
    assert json.loads(other.body)["code"] == "00000"
    found = await front.execute(binding, asked("GET", "/api/v3/trade/unfilled-orders", category="SPOT"))
    assert len(json.loads(found.body)["data"]["list"]) == 2


async def test_the_body_goes_out_as_it_came(bench: Any, raw: RawExchange, before_raw: Api) -> None:
    body = b'{ "category":"SPOT",\n "symbol" : "\xe9\xbe\x99USDT", "price":"1.10", "qty":1.10e0, "clientOid":"c" }'
    await before_raw.execute(bound(bench), asked("POST", PLACE, body), key="k")
    assert raw.received[0].endswith(b"\r\n\r\n" + body)


async def test_the_answer_comes_back_unchanged(bench: Any, site: Any) -> None:
    odd = b'{"code": "40034" ,  "msg":"Parameter \\u00e4 does not exist","requestTime":1}\n'

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response(odd, 400, X_Mbx_Used_Remain_Limit="7", Set_Cookie="a=b", Connection="keep-alive"))

    async with raw_exchange(answer) as exchange, api(site, exchange.url) as front:
        answered = await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)))
    assert (answered.head.status, answered.body, answered.head.reason) == (400, odd, "")
    assert {one.name for one in answered.head.headers} == {"content-type", "x-mbx-used-remain-limit"}


async def test_a_caller_needs_the_right_to_execute(bench: Any, front: Api) -> None:
    binding, request = bound(bench), asked("GET", "/api/v3/account/assets")
    with pytest.raises(PermissionDenied) as refused:
        await front.execute(binding, request, authorization=front.bearer(["requests:sign", "bindings:write"]))
    assert refused.value.extra["scope"] == "requests:execute"
    with pytest.raises(Unauthenticated):
        await front.execute(binding, request, authorization="Bearer x")
    assert not bench.vault.signed


@pytest.mark.bar(1)
async def test_a_foreign_binding_is_as_unknown_as_a_random_one(bench: Any, raw: RawExchange, before_raw: Api) -> None:
    foreign = bound(bench, tenant="u" * 26)
    told = []
    for binding in (foreign, "0" * 32, "no id at all"):
        with pytest.raises(NotFound) as refused:
            await before_raw.execute(binding, asked("GET", "/api/v3/account/assets"))
        told.append((refused.value.reason, refused.value.detail, refused.value.extra))
    assert told[0] == told[1] == told[2]
    assert not raw.connections


async def test_a_revoked_binding_sends_nothing(bench: Any, raw: RawExchange, before_raw: Api) -> None:
    binding = bound(bench)
    bench.vault.revoke(binding)
    with pytest.raises(BindingRevoked):
        await before_raw.execute(binding, asked("GET", "/api/v3/account/assets"))
    assert not raw.connections


@pytest.mark.parametrize(
    ("method", "path", "body", "rule"),
    [
        ("POST", "/api/v2/spot/wallet/withdrawal", "{}", "withdraw"),
        ("POST", "/api/v3/account/transfer", "{}", "transfer"),
        ("POST", "/api/v2/mix/order/place-order", "{}", "scope_futures"),
        ("POST", PLACE, '{"category":"MARGIN"}', "category"),
        ("POST", PLACE, '{"category":"SPOT","category":"USDT-FUTURES"}', "body_json"),
        ("DELETE", "/api/v3/trade/cancel-order", "", "method"),
        ("GET", "/api/v3/account/../account/assets", "", "path_grammar"),
        ("GET", "/user/verify", "", "path_grammar"),
        ("GET", "/api/v3/account/assets\r\nX: y", "", "path_grammar"),
    ],
)
@pytest.mark.bar(25, 26)
async def test_what_policy_refuses_is_told_by_its_rule_and_never_sent(
    bench: Any, raw: RawExchange, before_raw: Api, method: str, path: str, body: str, rule: str
) -> None:
    binding = bound(bench, scopes=(SCOPE_SPOT,))
    with pytest.raises(PolicyRefused) as refused:
        await before_raw.execute(binding, asked(method, path, body), key="k")
    assert refused.value.extra["rule"] == rule
    assert not raw.connections
    assert not bench.vault.signed


async def test_a_post_without_an_answer_is_sent_once_and_told_as_unknown(bench: Any, site: Any) -> None:
    async def silent(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with raw_exchange(silent) as exchange, api(site, exchange.url) as front:
        binding = bound(bench)
        with pytest.raises(DeadlineExceeded) as unknown:
            await front.execute(binding, asked("POST", PLACE, json.dumps(ORDER)), key="k")
        with pytest.raises(Unavailable) as missing:
            await front.execute(binding, asked("GET", "/api/v3/account/assets"))
    assert unknown.value.reason == "outcome_unknown"
    sent = json.loads(exchange.received[0].split(b"\r\n\r\n", 1)[1])
    assert unknown.value.extra["client_order_ids"] == sent["clientOid"]
    # A read may be asked once more, by another connection.
    assert [one.split(b" ")[0] for one in exchange.received] == [b"POST", b"GET", b"GET"]
    assert missing.value.reason == "exchange_unavailable"


async def test_an_answer_that_takes_longer_than_the_caller_waits_is_told_in_time(bench: Any, site: Any) -> None:
    async def never(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(response()[:-20])

    async with raw_exchange(never) as exchange, api(site, exchange.url) as front:
        with pytest.raises(DeadlineExceeded) as unknown:
            await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)), wait_s=2)
    assert unknown.value.reason == "outcome_unknown"
    assert len(exchange.received) == 1


async def test_an_exchange_that_cannot_be_reached_was_sent_nothing(bench: Any, site: Any) -> None:
    async with api(site, "http://127.0.0.1:9") as front:
        with pytest.raises(Unavailable) as refused:
            await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)))
    assert "nothing was sent" in refused.value.detail


async def test_a_time_that_is_refused_is_corrected_and_the_order_sent_again(bench: Any, front: Api) -> None:
    bench.vault.signer_ahead_ms = -90_000
    answer = await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)), key="late")
    assert json.loads(answer.body)["code"] == "00000", answer.body
    assert len(bench.vault.prehashes) == 2


@pytest.mark.bar(20)
@pytest.mark.parametrize("shape", ["plain", "escaped", "late"])
async def test_an_answer_that_repeats_a_credential_does_not_pass(bench: Any, site: Any, shape: str) -> None:
    account = bench.exchange.named("unified-trader")

    async def echo(_: bytes, writer: asyncio.StreamWriter) -> None:
        secret = account.passphrase
        spelled = "".join(f"\\u{ord(one):04x}" for one in secret) if shape == "escaped" else secret
        filler = "x" * (100_000 if shape == "late" else 0)
        writer.write(response(f'{{"code":"40012","msg":"{filler}{spelled}"}}'.encode(), 400))

    async with raw_exchange(echo) as exchange, api(site, exchange.url) as front:
        binding = bound(bench)
        with pytest.raises(Unavailable) as refused:
            await front.execute(binding, asked("GET", "/api/v3/account/assets"))
        with pytest.raises(DeadlineExceeded) as unknown:
            await front.execute(binding, asked("POST", PLACE, json.dumps(ORDER)))
    for error in (refused.value, unknown.value):
        assert account.passphrase not in repr((error.detail, error.extra))


async def test_a_refused_key_is_looked_at_and_the_answer_names_the_reason(bench: Any, front: Api) -> None:
    binding = bound(bench)
    bench.change("unified-trader", api_key="bg_" + "0" * 32)
    answer = await front.execute(binding, asked("GET", "/api/v3/account/assets"))
    assert json.loads(answer.body)["code"] == "40037"
    assert answer.head.reason == "invalid_api_key"
    entries = await until(lambda: bench.redis.xrange("sr:{jobs}:asked"))
    assert (entries[0][1][b"binding"], entries[0][1][b"cause"]) == (binding.encode(), b"request")
    await front.execute(binding, asked("GET", "/api/v3/account/assets"))
    assert await bench.redis.xlen("sr:{jobs}:asked") == 1
    await bench.redis.delete("sr:{jobs}:asked")


async def test_a_spent_limit_is_told_with_its_end_and_nothing_is_sent(
    bench: Any, raw: RawExchange, before_raw: Api
) -> None:
    binding, request = bound(bench), asked("GET", "/api/v2/spot/account/info")  # one in a second
    answers = await asyncio.gather(*(before_raw.execute(binding, request) for _ in range(6)), return_exceptions=True)
    refused = [one for one in answers if isinstance(one, Throttled)]
    assert refused
    assert all(one.reason == "exchange_budget_spent" and one.retry_after for one in refused)
    assert len(raw.received) == 6 - len(refused)


async def test_one_service_does_not_keep_another_from_its_turn(bench: Any, raw: RawExchange, before_raw: Api) -> None:
    binding, request = bound(bench), asked("GET", "/api/v2/spot/account/info")
    loud = before_raw.bearer(subject="loud")
    flood = [asyncio.create_task(before_raw.execute(binding, request, authorization=loud)) for _ in range(8)]

    async def signed() -> bool:
        return len(bench.vault.signed) == 8

    await until(signed)
    answer = await before_raw.execute(binding, request, authorization=before_raw.bearer(subject="quiet"))
    assert answer.head.status == 200
    await asyncio.gather(*flood, return_exceptions=True)


async def test_without_redis_requests_go_on(bench: Any, site: Any, raw: RawExchange) -> None:
    async with api(site, raw.url, redis_url="redis://127.0.0.1:9") as front:
        for _ in range(3):
            answer = await front.execute(bound(bench), asked("GET", "/api/v3/account/assets"))
            assert answer.head.status == 200


async def test_a_key_outside_the_grammar_is_refused(bench: Any, front: Api) -> None:
    with pytest.raises(InvalidArgument):
        await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)), key="with blank ")


async def test_the_brokers_code_is_ours_to_set(bench: Any, site: Any, raw: RawExchange) -> None:
    async with api(site, raw.url, broker_code="p4sve") as front:
        await front.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)))
    assert b"\r\nX-CHANNEL-API-CODE: p4sve\r\n" in raw.received[0]


async def test_too_many_requests_at_the_exchange_hold_the_next_ones_back(bench: Any, site: Any) -> None:
    async def busy(request: bytes, writer: asyncio.StreamWriter) -> None:
        if b"/public/time" in request:
            writer.write(response(b'{"code":"00000","data":{"serverTime":"1"}}'))
        else:
            writer.write(response(b'{"code":"429","msg":"Too many requests"}', 429, Retry_After="1"))

    async with raw_exchange(busy) as exchange, api(site, exchange.url) as front:
        binding, request = bound(bench), asked("GET", "/api/v3/account/assets")
        answer = await front.execute(binding, request)
        assert (answer.head.status, answer.header("retry-after"), answer.head.reason) == (429, "1", "")
        now = (await bench.redis.time())[0] * 1_000_000
        name = f"sr:{{budget}}:slots:{binding}:GET /api/v3/account/assets"
        taken = await bench.redis.zrange(name, 0, -1, withscores=True)
        # The endpoint's second counts as spent: all that it allows in one is taken.
        assert sum(free > now for slot, free in taken if slot.startswith(b"all.")) == 20


async def test_a_caller_that_gives_up_ends_the_call_to_the_exchange(bench: Any, site: Any) -> None:
    closed = asyncio.Event()

    async def endless(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * (1 << 17))
        try:
            while True:
                writer.write(b"x" * 1024)
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async with raw_exchange(endless) as exchange, api(site, exchange.url) as front:
        message = ExecuteRequest(binding_id=bound(bench), request=asked("GET", "/api/v3/account/assets"))
        call: Any = front.signing.Execute(message, timeout=20, metadata=(("authorization", front.bearer()),))
        assert (await call.read()).head.status == 200
        call.cancel()
        await asyncio.wait_for(closed.wait(), 10)


async def test_a_short_deadline_sends_nothing(bench: Any, raw: RawExchange, before_raw: Api) -> None:
    async def slow() -> None:
        await asyncio.sleep(0.8)

    bench.vault.before_sign = slow
    # On a busy machine the deadline may pass before this is told; what counts is that nothing leaves.
    with pytest.raises((Unavailable, DeadlineExceeded)) as refused:
        await before_raw.execute(bound(bench), asked("POST", PLACE, json.dumps(ORDER)), wait_s=1.2)
    assert refused.value.reason in ("not_sent", "deadline_exceeded")
    assert not raw.received
