"""The gRPC front over a real socket, with real tokens, the small vault behind it and a pool beside it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from cli.processes import free_port
from common.clock import SystemClock
from common.errors import Aborted, InvalidArgument, NotFound, PermissionDenied, Unauthenticated, Unavailable
from common.events import EventHub
from common.rpc import client
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from strongroom.types.v1 import binding_pb2 as types
from strongroom.verifier.v1.verification_service_pb2 import (
    GetRequest,
    ListRequest,
    PageRequest,
    SubmitRequest,
    WatchRequest,
)
from strongroom.verifier.v1.verification_service_pb2_grpc import VerificationServiceStub
from verifier.api import run_api
from verifier.index import Index, projection_key
from verifier.jobs import ASKED, DUE
from verifier.missed import Missed
from verifier.servicer import VerificationServicer
from verifier.settings import ApiSettings
from verifier.status import Status

TENANT, OTHER = "t" * 26, "u" * 26
ALL = ("bindings:read", "bindings:write")


@dataclass
class Front:
    """A client of the running front."""

    stub: Any
    issuer: Any
    target: str

    def bearer(self, tenant: str = TENANT, scopes: Any = ALL, **more: Any) -> str:
        return f"Bearer {self.issuer.issue(tenant, scopes, **more)}"

    async def submit(self, binding_id: str, wait: int = 0, authorization: str | None = None) -> bool:
        request = SubmitRequest(binding_id=binding_id, wait_seconds=wait)
        answer = await client.call(
            self.stub.Submit, request, timeout_s=40, authorization=authorization or self.bearer(), wait=True
        )
        return bool(answer.verified)

    async def get(self, binding_id: str, authorization: str | None = None) -> Any:
        request = GetRequest(binding_id=binding_id)
        return await client.call(self.stub.Get, request, timeout_s=5, authorization=authorization or self.bearer())


@pytest.fixture
async def front(site: Any, bench: Any) -> AsyncIterator[Front]:
    listen = f"127.0.0.1:{free_port()}"
    stopping = asyncio.Event()
    settings = ApiSettings.model_validate(
        site.settings("verifier", listen=listen, bitget_url=bench.url, log_level="error")
    )
    running = asyncio.create_task(run_api(settings, stopping))
    leaf = site.leaf("gateway")
    channel = client.channel(listen, "verifier", Identity(leaf.cert_file, leaf.key_file, leaf.ca_file))
    await asyncio.wait_for(channel.channel_ready(), 10)
    yield Front(VerificationServiceStub(channel), site.issuer, listen)
    await channel.close()
    stopping.set()
    await running


@pytest.fixture
async def pool(bench: Any) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.create_task(bench.pool().run(stopping))
    yield
    stopping.set()
    await task


async def test_a_submitted_binding_is_verified_while_the_caller_waits(bench: Any, front: Front, pool: None) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    assert await front.submit(binding.id, wait=20)
    observation = (await front.get(binding.id)).observation
    assert observation.balances.total_usdt == "6275.75"
    assert [event.status for event in await bench.events()] == [types.STATUS_PENDING, types.STATUS_CONNECTED]


async def test_a_verdict_that_was_waited_for_comes_with_what_was_observed(bench: Any, front: Front, pool: None) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    request = SubmitRequest(binding_id=binding.id, wait_seconds=20)
    told = await client.call(front.stub.Submit, request, timeout_s=40, authorization=front.bearer(), wait=True)
    assert told.observation == (await front.get(binding.id)).observation
    assert told.observation.HasField("balances")
    bench.fault(kind="html")
    told = await client.call(front.stub.Submit, request, timeout_s=40, authorization=front.bearer(), wait=True)
    assert not told.HasField("observation")


async def test_without_a_wait_the_answer_comes_at_once_and_the_verdict_as_an_event(
    bench: Any, front: Front, pool: None
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    seen = []
    request = WatchRequest(binding_id=binding.id)
    watching = client.stream(front.stub.Watch, request, timeout_s=20, authorization=front.bearer())
    assert await front.submit(binding.id, wait=20)
    again = bench.vault.bind(bench.exchange.named("unified-sub"))
    first = await bench.redis.xrange(f"sr:{{{TENANT}}}:events", count=1)
    epoch = first[0][1][b"epoch"].decode()
    await watching.aclose()
    request = WatchRequest(binding_id=again.id, after=f"{epoch}-{first[0][0].decode()}")
    watching = client.stream(front.stub.Watch, request, timeout_s=20, authorization=front.bearer())
    assert not await front.submit(again.id)
    async for item in watching:
        seen.append(item.event)
        if len(seen) == 2:
            break
    assert [(event.binding_id, event.status) for event in seen] == [
        (again.id, types.STATUS_PENDING),
        (again.id, types.STATUS_CONNECTED),
    ]
    assert all(event.id.startswith(epoch) for event in seen)


async def test_an_exchange_that_cannot_be_asked_gives_no_verdict(bench: Any, front: Front, pool: None) -> None:
    bench.fault(kind="html")
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    assert not await front.submit(binding.id, wait=20)
    observation = (await front.get(binding.id)).observation
    assert observation.stale
    assert observation.stale_finding.code == "exchange_unavailable"


async def test_a_revoked_binding_is_told_and_never_verified(bench: Any, front: Front) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.vault.revoke(binding.id)
    for _ in range(2):
        assert not await front.submit(binding.id)
    assert [event.status for event in await bench.events()] == [types.STATUS_CONNECTED, types.STATUS_REVOKED]
    assert not (await front.get(binding.id)).HasField("observation")
    assert await bench.redis.exists(ASKED, DUE) == 0


class _Context:
    """A call with a token."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def invocation_metadata(self) -> Any:
        return (("authorization", self._authorization),)


class _Contended(Status):
    """A status of which another publication is always there first."""

    async def publish(self, drafts: Any) -> list[bool]:
        raise Aborted()


class _Own:
    """The small vault for a caller of its own."""

    def __init__(self, binding: Any) -> None:
        self.binding = binding

    async def describe_for(self, authorization: str | None, binding: str) -> Any:
        return self.binding


async def test_a_publication_that_does_not_settle_is_no_conflict_of_the_caller(bench: Any, site: Any) -> None:
    binding, clock = bench.vault.bind(bench.exchange.named("unified-trader")), SystemClock()
    servicer = VerificationServicer(
        tokens=TokenVerifier(site.issuer.issuer, site.issuer.jwks_file, clock),
        vault=_Own(binding),
        status=_Contended(bench.redis, clock),
        index=Index(bench.redis),
        queue=bench.queue,
        events=EventHub(bench.redis),
        missed=Missed(bench.redis),
        clock=clock,
    )
    context = _Context(f"Bearer {site.issuer.issue(TENANT, ALL)}")
    with pytest.raises(Unavailable) as refused:
        await servicer.Submit(SubmitRequest(binding_id=binding.id), context)
    assert (refused.value.reason, refused.value.retry_after) == ("verification_unavailable", 2)


async def test_a_foreign_binding_answers_like_a_random_one(bench: Any, front: Front) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    stranger = front.bearer(OTHER)
    answers = []
    for binding_id in (binding.id, secrets.token_hex(16)):
        with pytest.raises(NotFound) as refused:
            await front.submit(binding_id, authorization=stranger)
        answers.append((refused.value.reason, refused.value.detail))
        assert not (await front.get(binding_id, stranger)).HasField("observation")
    assert answers[0] == answers[1]
    with pytest.raises(NotFound):
        await front.get("../" + "a" * 29)


async def test_list_answers_in_the_order_asked_and_empty_where_nothing_is_known(bench: Any, front: Front) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    request = ListRequest(binding_ids=["a" * 32, binding.id])
    answer = await client.call(front.stub.List, request, timeout_s=5, authorization=front.bearer())
    assert [item.HasField("balances") for item in answer.observations] == [False, True]
    empty = await client.call(front.stub.List, ListRequest(), timeout_s=5, authorization=front.bearer())
    assert len(empty.observations) == 0
    request = ListRequest(binding_ids=["a" * 32] * 101)
    with pytest.raises(InvalidArgument):
        await client.call(front.stub.List, request, timeout_s=5, authorization=front.bearer())


async def _page(front: Front, authorization: str | None = None, **fields: Any) -> Any:
    request = PageRequest(**{"limit": 100, **fields})
    return await client.call(front.stub.Page, request, timeout_s=5, authorization=authorization or front.bearer())


async def test_a_page_shows_records_with_what_was_observed(bench: Any, front: Front) -> None:
    names = ("unified-trader", "unified-sub", "classic-trader")
    bindings = sorted((bench.vault.bind(bench.exchange.named(name)) for name in names), key=lambda one: str(one.id))
    for binding in bindings[:2]:
        await bench.verify(binding)
    with pytest.raises(Unavailable) as refused:
        await _page(front)
    assert refused.value.reason == "index_incomplete"
    await bench.status.recorded(bindings[2])
    await Index(bench.redis).whole(TENANT)
    page = await _page(front, limit=2)
    assert [entry.binding for entry in page.entries] == [bench.vault.records[one.id] for one in bindings[:2]]
    assert all(entry.observation.balances.total_usdt for entry in page.entries)
    rest = await _page(front, limit=2, after=page.next_after)
    assert [entry.binding.id for entry in rest.entries] == [bindings[2].id]
    assert (rest.next_after, rest.entries[0].HasField("observation")) == ("", False)
    pending = await _page(front, status=types.STATUS_PENDING)
    assert [entry.binding.id for entry in pending.entries] == [bindings[2].id]


async def test_a_page_is_the_callers_own_and_its_limits_are_checked(bench: Any, front: Front) -> None:
    await bench.verify(bench.vault.bind(bench.exchange.named("unified-trader")))
    for tenant in (TENANT, OTHER):
        await Index(bench.redis).whole(tenant)
    assert len((await _page(front)).entries) == 1
    assert len((await _page(front, front.bearer(OTHER))).entries) == 0
    with pytest.raises(PermissionDenied):
        await _page(front, front.bearer(scopes=["bindings:write"]))
    for wrong in ({"limit": 0}, {"limit": 101}):
        with pytest.raises(InvalidArgument):
            await _page(front, **wrong)
    with pytest.raises(NotFound):
        await _page(front, after="(x")


async def test_what_is_published_under_a_wrong_name_is_not_shown(bench: Any, front: Front) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.status.recorded(binding)
    await Index(bench.redis).whole(TENANT)
    key = projection_key(TENANT, binding.id)
    other = types.Binding(id=binding.id, tenant_id=OTHER).SerializeToString()
    far = types.Binding(id=binding.id, tenant_id=TENANT, created_at={"seconds": 1 << 62}).SerializeToString()
    for forged in (other, far, b"\xff\xff"):
        await bench.redis.hset(key, "binding", forged)
        with pytest.raises(Unavailable):
            await _page(front)


async def test_tokens_and_scopes_are_checked(bench: Any, front: Front) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    with pytest.raises(Unauthenticated):
        await front.submit(binding.id, authorization="Bearer nonsense")
    with pytest.raises(PermissionDenied):
        await front.submit(binding.id, authorization=front.bearer(scopes=["audit:read"]))
    with pytest.raises(PermissionDenied):
        await front.get(binding.id, front.bearer(scopes=["bindings:write"]))
    with pytest.raises(InvalidArgument):
        await front.submit(binding.id, wait=31)


async def test_only_the_gateway_and_clients_may_call(site: Any, front: Front) -> None:
    leaf = site.leaf("worker")
    identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
    channel = client.channel(front.target, "verifier", identity)
    request = GetRequest(binding_id="a" * 32)
    with pytest.raises(PermissionDenied):
        await client.call(VerificationServiceStub(channel).Get, request, timeout_s=5, authorization=front.bearer())
    await channel.close()


async def test_a_watch_ends_with_its_token(front: Front) -> None:
    token = front.bearer(ttl=2)
    async for _ in client.stream(front.stub.Watch, WatchRequest(), timeout_s=20, authorization=token):
        raise AssertionError("nothing was published")


async def test_a_stale_place_in_the_stream_is_answered_by_a_reset(bench: Any, front: Front) -> None:
    request = WatchRequest(after="0" * 8 + "-1-0")
    async for item in client.stream(front.stub.Watch, request, timeout_s=10, authorization=front.bearer()):
        assert item.reset
        break
    request = WatchRequest(after="x")
    refused = client.stream(front.stub.Watch, request, timeout_s=10, authorization=front.bearer())
    with pytest.raises(InvalidArgument):
        await anext(refused)


async def test_without_redis_the_front_says_unavailable_with_a_time_to_come_back(
    bench: Any, front: Front, valkey: Any, wait_until: Any
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    valkey.kill()
    try:
        for call in (front.submit(binding.id), front.get(binding.id)):
            with pytest.raises(Unavailable) as refused:
                await call
            assert refused.value.retry_after == 2
    finally:
        valkey.start()
        await bench.redis.connection_pool.disconnect()

    async def back() -> bool:
        try:
            return not await front.submit(binding.id)
        except Unavailable:
            return False

    await wait_until(back)
