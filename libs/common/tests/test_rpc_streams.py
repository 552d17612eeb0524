"""A stream of requests over a real socket: the same callers, deadlines and errors as any other call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from cli.pki import Authority, Leaf
from common import errors
from common.rpc import client, server
from common.rpc.errors import from_rpc
from common.rpc.tls import Identity
from strongroom.signing.v1 import signing_service_pb2 as pb
from strongroom.signing.v1 import signing_service_pb2_grpc as rpc

CANARY = "canary-5f4dcc3b5aa765d61d8327deb882cf99"
SERVICE = pb.DESCRIPTOR.services_by_name["SigningService"]
CALLERS = {f"/{SERVICE.full_name}/{method.name}": frozenset(["gateway"]) for method in SERVICE.methods}


class Echo(rpc.SigningServiceServicer):
    """Answers each request of a stream by its number, and fails as the binding's id asks for."""

    ended = 0

    async def SignStream(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        try:
            async for request in requests:
                if request.binding_id == "bug":
                    raise RuntimeError(CANARY)
                if request.binding_id:
                    raise errors.Throttled("some_reason", "Some detail.", retry_after=1.5)
                yield pb.SignStreamResponse(id=request.id)
        finally:
            self.ended += 1


def identity(leaf: Leaf) -> Identity:
    return Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)


@pytest.fixture
async def echo(authority: Authority, tmp_path: Path) -> AsyncIterator[tuple[Echo, int]]:
    made, leaf = Echo(), identity(authority.issue("verifier", tmp_path))
    register = lambda it: rpc.add_SigningServiceServicer_to_server(made, it)  # noqa: E731
    built = server.build("127.0.0.1:0", leaf, CALLERS, "strongroom.internal", [(SERVICE, register)])
    number = built.add_secure_port("127.0.0.1:0", leaf.server())
    await built.start()
    yield made, number
    await built.stop(0)


async def answers(port: int, leaf: Leaf, *wanted: bytes, timeout_s: float | None = 5, ends: bool = False) -> list[int]:
    """Send messages as bytes and return the numbers that came back; raise the family member of a failure.

    Unless the stream `ends` it stays open: grpc.aio loses the status of a call that ends while it is still writing.
    """

    async def messages() -> AsyncIterator[bytes]:
        for one in wanted:
            yield one
        if not ends:
            await asyncio.Event().wait()

    async with client.channel(f"127.0.0.1:{port}", "verifier", identity(leaf)) as channel:
        call: Any = channel.stream_stream(
            f"/{SERVICE.full_name}/SignStream", response_deserializer=pb.SignStreamResponse.FromString
        )(messages(), timeout=timeout_s)
        try:
            return [answer.id async for answer in call]
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None


def numbered(number: int, binding: str = "") -> bytes:
    return pb.SignStreamRequest(id=number, binding_id=binding).SerializeToString()


async def test_a_stream_is_answered_one_by_one(echo: Any, authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("gateway", tmp_path)
    assert await answers(echo[1], leaf, *(numbered(one) for one in range(1, 6)), ends=True) == [1, 2, 3, 4, 5]


async def test_a_stream_without_a_deadline_is_refused(echo: Any, authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        await answers(echo[1], authority.issue("gateway", tmp_path), timeout_s=None)
    assert refused.value.reason == "deadline_required"
    assert not echo[0].ended


async def test_a_stream_of_another_workload_is_refused(echo: Any, authority: Authority, tmp_path: Path) -> None:
    with pytest.raises(errors.PermissionDenied):
        await answers(echo[1], authority.issue("worker", tmp_path))
    assert not echo[0].ended


async def test_a_stream_ends_with_the_error_of_the_family(echo: Any, authority: Authority, tmp_path: Path) -> None:
    leaf = authority.issue("gateway", tmp_path)
    with pytest.raises(errors.Throttled) as refused:
        await answers(echo[1], leaf, numbered(1), numbered(2, "x"))
    assert (refused.value.reason, refused.value.retry_after) == ("some_reason", 1.5)
    with pytest.raises(errors.InvalidArgument) as misfit:
        await answers(echo[1], leaf, numbered(1), b"\xff\xff")
    assert misfit.value.reason == "malformed_message"
    with pytest.raises(errors.Internal) as bug:
        await answers(echo[1], leaf, numbered(1, "bug"))
    assert CANARY not in repr((bug.value.reason, bug.value.detail, bug.value.extra))


async def test_a_stream_that_is_given_up_or_too_late_ends_at_the_server(
    echo: Any, authority: Authority, tmp_path: Path
) -> None:
    made, port = echo
    leaf = identity(authority.issue("gateway", tmp_path))
    async with client.channel(f"127.0.0.1:{port}", "verifier", leaf) as channel:
        for timeout_s in (0.5, 30):
            call: Any = rpc.SigningServiceStub(channel).SignStream(timeout=timeout_s)
            await call.write(pb.SignStreamRequest(id=1))
            assert (await call.read()).id == 1
            if timeout_s == 30:
                call.cancel()
            with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
                await call.read()

        async def both() -> None:
            while made.ended < 2:
                await asyncio.sleep(0.01)

        await asyncio.wait_for(both(), 10)
