"""Sign, SignStream and the WebSocket login over a real socket: each request answered, a bad one alone refused."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from common.errors import PermissionDenied, PolicyRefused, Throttled, Unavailable
from common.rpc import client
from common.rpc.errors import from_rpc
from grpc.aio import AioRpcError
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.types.v1.request_pb2 import SignedRequest
from strongroom.vault.v1.signer_pb2 import SignResponse
from verifier.sign_stream import IN_FLIGHT, SignStream
from verifier.signing_servicer import STREAMS

from services.verifier.tests.callers import Api, api, asked
from services.verifier.tests.conftest import until

READ = asked("GET", "/api/v3/account/assets")
WITHDRAWAL = asked("POST", "/api/v3/account/withdrawal", "{}")


@pytest.fixture
async def front(site: Any, bench: Any) -> AsyncIterator[Api]:
    async with api(site, bench.url) as running:
        yield running


def bound(bench: Any, **changed: Any) -> str:
    return str(bench.vault.bind(bench.exchange.named("unified-trader"), **changed).id)


def stream(front: Api, authorization: str | None = None, timeout_s: float = 20) -> Any:
    token = authorization or front.bearer()
    return front.signing.SignStream(timeout=timeout_s, metadata=(("authorization", token),))


async def answers(call: Any, count: int) -> dict[int, messages.SignStreamResponse]:
    told = [await asyncio.wait_for(call.read(), 10) for _ in range(count)]
    return {one.id: one for one in told}


async def sign(front: Api, binding: str, request: Any, authorization: str | None = None) -> messages.SignResponse:
    answer: messages.SignResponse = await client.call(
        front.signing.Sign,
        messages.SignRequest(binding_id=binding, request=request),
        timeout_s=10,
        authorization=authorization or front.bearer(),
    )
    return answer


async def test_a_signed_request_is_handed_out_with_its_time(bench: Any, front: Api) -> None:
    told = await sign(front, bound(bench), asked("GET", "/api/v3/trade/order-info", clientOid="ch#1+2 a:b"))
    headers = {one.name: one.value for one in told.signed.headers}
    assert told.signed.target == "/api/v3/trade/order-info?clientOid=ch%231%2B2%20a%3Ab"
    assert headers["ACCESS-TIMESTAMP"] == str(told.stamped_at_ms)


async def test_signing_is_a_right_of_its_own(bench: Any, front: Api) -> None:
    binding = bound(bench)
    with pytest.raises(PermissionDenied):
        await sign(front, binding, READ, front.bearer(["requests:execute"]))
    call = stream(front, front.bearer(["requests:execute"]))
    with pytest.raises(AioRpcError) as refused:
        await call.read()
    assert from_rpc(refused.value).extra["scope"] == "requests:sign"
    request = messages.SignWebSocketLoginRequest(binding_id=binding)
    with pytest.raises(PermissionDenied) as closed:
        await client.call(front.signing.SignWebSocketLogin, request, timeout_s=5, authorization=front.bearer())
    assert closed.value.extra["scope"] == "requests:websocket"
    with pytest.raises(PolicyRefused):
        await sign(front, binding, WITHDRAWAL)
    assert not bench.vault.signed


@pytest.mark.bar(30)
async def test_a_bad_item_errors_alone_and_the_others_are_signed(bench: Any, front: Api) -> None:
    good, revoked = bound(bench), bound(bench)
    bench.vault.revoke(revoked)
    call = stream(front)
    for number in range(40):
        request = WITHDRAWAL if number % 5 == 0 else asked("GET", "/api/v3/account/assets", coin=f"C{number}")
        await call.write(messages.SignStreamRequest(id=number, binding_id=good, request=request))
    await call.write(messages.SignStreamRequest(id=40, binding_id=revoked, request=READ))
    await call.write(messages.SignStreamRequest(id=41, binding_id="no id", request=READ))
    await call.done_writing()
    told = await answers(call, 42)
    assert not await call.read()
    for number in range(40):
        if number % 5 == 0:
            refusal = told[number].refusal
            assert (refusal.status, refusal.reason, refusal.rule) == ("PERMISSION_DENIED", "policy_refused", "withdraw")
        else:
            assert told[number].signed.signed.target == f"/api/v3/account/assets?coin=C{number}"
    assert told[40].refusal.reason == "binding_revoked"
    assert told[41].refusal.status == "NOT_FOUND"


async def test_requests_in_flight_for_one_binding_are_signed_together(bench: Any, front: Api) -> None:
    binding, gate = bound(bench), asyncio.Event()
    bench.vault.before_sign = gate.wait
    call = stream(front)
    for number in range(IN_FLIGHT):
        await call.write(messages.SignStreamRequest(id=number, binding_id=binding, request=READ))
    gate.set()
    assert len(await answers(call, IN_FLIGHT)) == IN_FLIGHT
    await call.done_writing()
    assert sum(bench.vault.batches) == IN_FLIGHT
    assert max(bench.vault.batches) == 8
    assert len(bench.vault.batches) <= 15


async def test_a_caller_that_reads_nothing_is_read_no_further(bench: Any, front: Api) -> None:
    binding, gate, entered = bound(bench), asyncio.Event(), 0

    async def wait() -> None:
        nonlocal entered
        entered += 1
        await gate.wait()

    bench.vault.before_sign = wait
    bindings = [bound(bench) for _ in range(IN_FLIGHT + 20)]
    call = stream(front)

    async def write() -> None:
        for number, name in enumerate([*bindings, binding]):
            await call.write(messages.SignStreamRequest(id=number, binding_id=name, request=READ))

    writing = asyncio.create_task(write())

    async def full() -> bool:
        return entered == IN_FLIGHT

    await until(full)
    # Another caller's call goes all the way meanwhile: had more of the stream been read, it would be there too.
    other = asyncio.create_task(sign(front, binding, READ))

    async def more() -> bool:
        return entered > IN_FLIGHT

    await until(more)
    assert entered == IN_FLIGHT + 1
    gate.set()
    await other
    assert len(await answers(call, IN_FLIGHT + 21)) == IN_FLIGHT + 21
    await writing


async def test_a_revocation_in_the_middle_of_a_stream_holds_from_then_on(bench: Any, front: Api) -> None:
    binding, call = bound(bench), stream(front)
    await call.write(messages.SignStreamRequest(id=1, binding_id=binding, request=READ))
    assert (await answers(call, 1))[1].HasField("signed")
    bench.vault.revoke(binding)
    await call.write(messages.SignStreamRequest(id=2, binding_id=binding, request=READ))
    assert (await answers(call, 1))[2].refusal.reason == "binding_revoked"


async def test_a_tenant_has_so_many_streams_and_one_that_is_given_up_makes_room(bench: Any, front: Api) -> None:
    binding, calls = bound(bench), [stream(front) for _ in range(STREAMS)]
    for call in calls:
        await call.write(messages.SignStreamRequest(id=1, binding_id=binding, request=READ))
        await answers(call, 1)
    beyond = stream(front)
    with pytest.raises(AioRpcError) as refused:
        await beyond.read()
    assert isinstance(from_rpc(refused.value), Throttled)
    calls[0].cancel()

    async def room() -> bool:
        call = stream(front)
        try:
            await call.write(messages.SignStreamRequest(id=1, binding_id=binding, request=READ))
            return bool(await call.read())
        except (AioRpcError, asyncio.InvalidStateError):
            return False

    assert await until(room)


async def test_a_stream_of_nothing_ends_at_once(front: Api) -> None:
    call = stream(front)
    await call.done_writing()
    assert not await call.read()


async def test_a_stream_on_which_nothing_is_asked_ends() -> None:
    async def silence() -> AsyncIterator[messages.SignStreamRequest]:
        await asyncio.Event().wait()
        yield messages.SignStreamRequest()

    async def sign_nothing(binding: str, batch: Any) -> Any:
        raise AssertionError

    assert [one async for one in SignStream(sign_nothing, idle_s=0.05).run(silence())] == []


async def test_a_stream_that_is_stopped_answers_what_it_has_read_and_then_says_to_go_elsewhere() -> None:
    signing, read = asyncio.Event(), asyncio.Event()

    async def two() -> AsyncIterator[messages.SignStreamRequest]:
        for number in (1, 2):
            yield messages.SignStreamRequest(id=number, binding_id="b" * 32, request=READ)
        read.set()
        await asyncio.Event().wait()

    async def sign(binding: str, batch: Any) -> SignResponse:
        await signing.wait()
        return SignResponse(signed=[SignedRequest() for _ in batch])

    stream = SignStream(sign)
    answers = stream.run(two())
    first = asyncio.create_task(anext(answers))
    await read.wait()
    stream.stop()
    signing.set()
    assert {(await first).id, (await anext(answers)).id} == {1, 2}
    with pytest.raises(Unavailable):
        await anext(answers)
