"""How signatures are asked for: together where they can be, each answer to the one who asked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from common.errors import StrongroomError
from strongroom.types.v1.request_pb2 import ExchangeRequest, SignedRequest
from strongroom.vault.v1.signer_pb2 import SignRequest, SignResponse
from strongroom.vault.v1.signer_pb2_grpc import SignerServicer, add_SignerServicer_to_server
from verifier.vault_client import VaultClient

TENANT, BINDING = "t" * 26, "b" * 32


class Echo(SignerServicer):
    """A signer that answers with what was asked; without any requests left to refuse."""

    def __init__(self) -> None:
        self.calls: list[SignRequest] = []
        self.refuses = False
        self.free = asyncio.Event()
        self.free.set()

    async def Sign(self, request: SignRequest, context: Any) -> SignResponse:
        self.calls.append(request)
        await self.free.wait()
        if self.refuses:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        stamp = 1000 + request.clock_offset_ms
        return SignResponse(signed=[SignedRequest(target=one.path) for one in request.requests], stamped_at_ms=stamp)


@pytest.fixture
async def asked() -> AsyncIterator[tuple[VaultClient, Echo]]:
    server, echo = grpc.aio.server(), Echo()
    add_SignerServicer_to_server(echo, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield VaultClient(channel), echo
    await server.stop(None)


def request(number: int) -> ExchangeRequest:
    return ExchangeRequest(method="GET", path=f"/{number}")


Asked = tuple[VaultClient, Echo]


async def test_what_is_asked_in_one_turn_is_one_call_and_each_gets_its_own_answer(asked: Asked) -> None:
    client, echo = asked
    answers = await asyncio.gather(*(client.sign(TENANT, BINDING, request(n), False, 7) for n in range(5)))
    assert [(signed.target, stamp) for signed, stamp in answers] == [(f"/{n}", 1007) for n in range(5)]
    [call] = echo.calls
    assert (call.tenant_id, call.binding_id, call.demo, call.clock_offset_ms) == (TENANT, BINDING, False, 7)
    assert (await client.sign(TENANT, BINDING, request(6), False))[0].target == "/6"
    assert len(echo.calls) == 2


async def test_more_than_a_call_may_have_are_several_calls(asked: Asked) -> None:
    client, echo = asked
    answers = await asyncio.gather(*(client.sign(TENANT, BINDING, request(n), False) for n in range(17)))
    assert [signed.target for signed, _ in answers] == [f"/{n}" for n in range(17)]
    assert sorted(len(call.requests) for call in echo.calls) == [1, 8, 8]


async def test_only_what_is_of_one_binding_one_environment_and_one_time_is_asked_together(asked: Asked) -> None:
    client, echo = asked
    what = [(TENANT, BINDING, False, 0), ("u" * 26, BINDING, False, 0), (TENANT, "c" * 32, False, 0)]
    what += [(TENANT, BINDING, True, 0), (TENANT, BINDING, False, 1)]

    def sign(tenant: str, binding: str, demo: bool, offset: int) -> Awaitable[Any]:
        return client.sign(tenant, binding, request(1), demo, offset)

    await asyncio.gather(*(sign(*one) for one in what), *(sign(*one) for one in what))
    told = [(call.tenant_id, call.binding_id, call.demo, call.clock_offset_ms) for call in echo.calls]
    assert sorted(told) == sorted(what)
    assert {len(call.requests) for call in echo.calls} == {2}


async def test_a_refusal_reaches_everybody_who_asked(asked: Asked) -> None:
    client, echo = asked
    echo.refuses = True
    calls = (client.sign(TENANT, BINDING, request(n), False) for n in range(3))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, StrongroomError) and answer.kind == "unavailable" for answer in answers)
    assert len(echo.calls) == 1


async def test_who_gives_up_does_not_hurt_the_others(asked: Asked) -> None:
    client, echo = asked
    echo.free.clear()
    early, late, stays = (asyncio.create_task(client.sign(TENANT, BINDING, request(n), False)) for n in range(3))
    await asyncio.sleep(0)  # all three have asked; nothing was sent yet
    early.cancel()
    await _until(lambda: bool(echo.calls))
    late.cancel()
    echo.free.set()
    assert (await stays)[0].target == "/2"
    assert [one.path for one in echo.calls[0].requests] == ["/1", "/2"]
    for task in (early, late):
        with pytest.raises(asyncio.CancelledError):
            await task


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)
