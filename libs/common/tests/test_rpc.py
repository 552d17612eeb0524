"""The edges of gRPC over a real socket: callers, deadlines, and each error of the family and back."""

import asyncio
import datetime as dt
import itertools
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from cli.pki import CLIENT, SERVER, Authority, Leaf, spiffe_id
from cli.processes import free_port
from common import context, errors
from common.rpc import client, server
from common.rpc.health import Health
from common.rpc.tls import Identity
from grpc_health.v1 import health_pb2, health_pb2_grpc
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2_grpc as rpc

from tests.bench.balancer import Balancer

CANARY = "canary-5f4dcc3b5aa765d61d8327deb882cf99"
SERVICE = pb.DESCRIPTOR.services_by_name["BindingStore"]
CALLERS = {f"/{SERVICE.full_name}/{method.name}": frozenset(["gateway"]) for method in SERVICE.methods}


class Store(rpc.BindingStoreServicer):
    """Raises what the binding id asks for, so that one server shows every error."""

    async def Describe(self, request, context):
        if request.binding_id == "bug":
            raise RuntimeError(CANARY)
        if request.binding_id == "given up inside":
            raise asyncio.CancelledError
        if request.binding_id == "context":
            return pb.DescribeResponse(binding={"id": current_request_id(), "label": server.peer.get()})
        kind = next(each for each in errors.FAMILY if each.__name__ == request.binding_id)
        raise kind("some_reason", "Some detail.", retry_after=1.5, rule="R1", binding_id="b" * 32)

    async def Names(self, request, context) -> AsyncIterator[pb.NamesResponse]:
        yield pb.NamesResponse()
        raise errors.Unavailable("sealed", "Vault is sealed.", retry_after=5)


def current_request_id() -> str:
    request = context.current.get()
    assert request is not None
    return request.request_id


def identity(leaf: Leaf, ca_file: Path | None = None) -> Identity:
    return Identity(leaf.cert_file, leaf.key_file, ca_file or leaf.ca_file)


def built(authority: Authority, tmp_path: Path, store: Store) -> tuple[grpc.aio.Server, int]:
    """Return a server with a `store`, which is not started, and its port."""
    register = lambda it: rpc.add_BindingStoreServicer_to_server(store, it)  # noqa: E731
    who = identity(authority.issue("vault", tmp_path))
    made = server.build("127.0.0.1:0", who, CALLERS, "strongroom.internal", [(SERVICE, register)])
    # grpc.aio tells the chosen port only when asked for it, so a second secure port of the same server is used.
    return made, made.add_secure_port("127.0.0.1:0", who.server())


@pytest.fixture
async def port(authority: Authority, tmp_path: Path) -> AsyncIterator[int]:
    made, number = built(authority, tmp_path, Store())
    await made.start()
    yield number
    await made.stop(0)


async def describe(port: int, who: Identity, wanted: str, *, server_name: str = "vault") -> pb.DescribeResponse:
    async with client.channel(f"127.0.0.1:{port}", server_name, who) as channel:
        stub = rpc.BindingStoreStub(channel)
        return await client.call(stub.Describe, pb.DescribeRequest(binding_id=wanted), timeout_s=5)


@pytest.mark.parametrize("family", errors.FAMILY, ids=lambda each: each.__name__)
async def test_each_error_of_the_family_arrives_as_itself(
    family, port: int, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(errors.StrongroomError) as caught:
        await describe(port, identity(authority.issue("gateway", tmp_path)), family.__name__)
    error = caught.value
    assert type(error) is family
    assert (error.reason, error.detail, error.retry_after) == ("some_reason", "Some detail.", 1.5)
    assert error.extra == {"rule": "R1", "binding_id": "b" * 32}


@pytest.mark.bar(11)
async def test_the_text_of_a_bug_never_reaches_the_caller(port: int, authority: Authority, tmp_path: Path) -> None:
    async with client.channel(f"127.0.0.1:{port}", "vault", identity(authority.issue("gateway", tmp_path))) as channel:
        call = rpc.BindingStoreStub(channel).Describe(pb.DescribeRequest(binding_id="bug"), timeout=5)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert CANARY not in repr(caught.value) + str(caught.value.trailing_metadata())


async def test_a_streamed_answer_ends_with_the_same_error(port: int, authority: Authority, tmp_path: Path) -> None:
    async with client.channel(f"127.0.0.1:{port}", "vault", identity(authority.issue("gateway", tmp_path))) as channel:
        answers = client.stream(rpc.BindingStoreStub(channel).Names, pb.NamesRequest(), timeout_s=5)
        assert await anext(answers) == pb.NamesResponse()
        with pytest.raises(errors.Unavailable) as caught:
            await anext(answers)
    assert (caught.value.reason, caught.value.retry_after) == ("sealed", 5)


async def test_the_request_id_and_the_peer_travel(port: int, authority: Authority, tmp_path: Path) -> None:
    token = context.current.set(context.accept("request-0001", None))
    answer = await describe(port, identity(authority.issue("gateway", tmp_path)), "context")
    context.current.reset(token)
    assert (answer.binding.id, answer.binding.label) == ("request-0001", "gateway")


class Counting(Store):
    """Counts its calls."""

    calls = 0

    async def Describe(self, request, context):
        self.calls += 1
        return pb.DescribeResponse()


async def test_calls_go_to_every_address_in_turn_and_to_the_others_when_one_is_gone(
    authority: Authority, tmp_path: Path
) -> None:
    stores = [Counting() for _ in range(3)]
    servers, ports = zip(*(built(authority, tmp_path, store) for store in stores), strict=True)
    for one in servers:
        await one.start()
    target = "ipv4:" + ",".join(f"127.0.0.1:{number}" for number in ports)
    async with client.channel(target, "vault", identity(authority.issue("gateway", tmp_path))) as channel:
        stub = rpc.BindingStoreStub(channel)

        async def call() -> None:
            await client.call(stub.Describe, pb.DescribeRequest(), timeout_s=5, wait=True)

        async with asyncio.timeout(20):
            while not all(store.calls for store in stores):
                await call()
        await servers[0].stop(None)
        for store in stores:
            store.calls = 0
        for _ in range(20):
            await call()
    assert stores[0].calls == 0
    assert min(stores[1].calls, stores[2].calls) > 5
    for one in servers[1:]:
        await one.stop(0)


class Slow(rpc.BindingStoreServicer):
    """Takes its time, and keeps which calls it has begun."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()

    async def Describe(self, request, context):
        self.begun[request.binding_id] += 1
        await asyncio.sleep(0.005)
        return pb.DescribeResponse()

    async def Names(self, request, context) -> AsyncIterator[pb.NamesResponse]:
        self.begun[f"stream {id(self)} {self.begun.total()}"] += 1
        await asyncio.sleep(0.005)
        yield pb.NamesResponse()
        yield pb.NamesResponse()


async def test_a_server_that_ends_and_starts_again_fails_no_call_and_none_is_done_twice(
    authority: Authority, tmp_path: Path
) -> None:
    stores, address, over = [Slow()], f"127.0.0.1:{free_port()}", asyncio.Event()
    caller = identity(authority.issue("gateway", tmp_path))
    living, number = built(authority, tmp_path, stores[0])
    await living.start()
    async with Balancer(address, number) as balancer, client.channel(address, "vault", caller) as channel:
        stub = rpc.BindingStoreStub(channel)

        async def ask(number: int) -> None:
            for turn in itertools.count():
                if over.is_set():
                    return
                if number % 2:
                    assert len([one async for one in client.stream(stub.Names, pb.NamesRequest(), timeout_s=20)]) == 2
                else:
                    wanted = pb.DescribeRequest(binding_id=f"{number}-{turn}")
                    await client.call(stub.Describe, wanted, timeout_s=20, wait=True)

        callers = [asyncio.create_task(ask(number)) for number in range(6)]
        for _ in range(6):
            async with asyncio.timeout(20):
                while stores[-1].begun.total() < 60:
                    await asyncio.sleep(0.01)
            before = living
            stores.append(Slow())
            living, number = built(authority, tmp_path, stores[-1])
            await living.start()
            balancer.ports = [number]
            await before.stop(8)
        over.set()
        await asyncio.gather(*callers)
    await living.stop(0)
    assert set(sum((store.begun for store in stores), Counter()).values()) == {1}


async def test_what_is_given_up_inside_a_call_is_no_call_that_never_began(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(errors.Internal):
        await describe(port, identity(authority.issue("gateway", tmp_path)), "given up inside")


async def test_a_call_without_a_deadline_is_refused(port: int, authority: Authority, tmp_path: Path) -> None:
    async with client.channel(f"127.0.0.1:{port}", "vault", identity(authority.issue("gateway", tmp_path))) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await rpc.BindingStoreStub(channel).Describe(pb.DescribeRequest(binding_id="NotFound"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.bar(48)
@pytest.mark.parametrize(
    "uri", ["", spiffe_id("verifier"), spiffe_id("gateway", "other.example"), spiffe_id("gateway") + "/x"], ids=str
)
async def test_another_workload_of_the_same_authority_is_refused(
    uri, port, authority: Authority, tmp_path: Path
) -> None:
    leaf = authority.issue("gateway", tmp_path, uris=[uri] if uri else [])
    with pytest.raises(errors.PermissionDenied):
        await describe(port, identity(leaf), "NotFound")


@pytest.mark.bar(48)
async def test_strangers_do_not_get_through_the_handshake(port: int, authority: Authority, tmp_path: Path) -> None:
    foreign = Authority.create(tmp_path / "foreign").issue("gateway")
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
    expired = authority.issue("gateway", tmp_path / "old", valid_from=past, lifetime=dt.timedelta(days=1))
    server_only = authority.issue("gateway", tmp_path / "eku", usages=[SERVER])
    for leaf in (foreign, expired, server_only):
        with pytest.raises(errors.Unavailable):
            await describe(port, identity(leaf, authority.ca_file), "NotFound")
    nameless = grpc.aio.secure_channel(
        f"127.0.0.1:{port}",
        grpc.ssl_channel_credentials(authority.ca_file.read_bytes()),
        options=[("grpc.ssl_target_name_override", "vault")],
    )
    for without in (grpc.aio.insecure_channel(f"127.0.0.1:{port}"), nameless):
        async with without as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await rpc.BindingStoreStub(channel).Describe(pb.DescribeRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_client_does_not_talk_to_a_server_of_another_name(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    with pytest.raises(errors.Unavailable):
        await describe(port, identity(authority.issue("gateway", tmp_path)), "NotFound", server_name="verifier")


def test_a_server_with_a_method_that_nobody_may_call_does_not_start(authority: Authority, tmp_path: Path) -> None:
    leaf = identity(authority.issue("vault", tmp_path, usages=[CLIENT, SERVER]))
    partly = {name: who for name, who in CALLERS.items() if not name.endswith("Names")}
    with pytest.raises(ValueError, match="Names"):
        server.build("127.0.0.1:0", leaf, partly, "strongroom.internal", [(SERVICE, lambda _: None)])


async def test_health_tells_liveness_and_readiness_apart() -> None:
    health = Health("127.0.0.1:0")
    number = health.port
    await health.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{number}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        states = []
        for ready in (False, True, False):
            await health.ready(ready)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            states.append(answer.status == health_pb2.HealthCheckResponse.SERVING)
        live = await stub.Check(health_pb2.HealthCheckRequest(service="live"), timeout=5)
    await asyncio.wait_for(health.stop(), 5)
    assert states == [False, True, False]
    assert live.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_malformed_message_is_refused_in_our_words_once_the_caller_is_known(
    port: int, authority: Authority, tmp_path: Path
) -> None:
    told = {}
    for name in ("gateway", "verifier"):
        who = identity(authority.issue(name, tmp_path / name))
        async with client.channel(f"127.0.0.1:{port}", "vault", who) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await channel.unary_unary(f"/{SERVICE.full_name}/Describe")(b"\xff\xff", timeout=5)
        told[name] = (caught.value.code(), caught.value.details())
    assert told == {
        "gateway": (grpc.StatusCode.INVALID_ARGUMENT, "The message is not of this method's type."),
        "verifier": (grpc.StatusCode.PERMISSION_DENIED, "This workload may not call this method."),
    }
