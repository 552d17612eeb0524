"""Three OpenBao nodes with the server's own default, that standbys answer too: the fence holds, and a leader may go."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from common.errors import BindingRevoked, StrongroomError, Unavailable
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked
from vault.hashicorp import http as hot
from vault.hashicorp.login import Connection
from vault.hashicorp.nodes import Pledge

from tests.cluster.bao import Cluster, Node, cluster
from tests.cluster.wire import Wire
from tests.history import History, figures, late

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
Wanted = Callable[..., Asked]
FAILOVER_S = 20


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), standby_reads=True) as made:
        yield made


@pytest.fixture(scope="module")
def server(nodes: Cluster, provisioned: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Stand in for the single server: everything the other fixtures make is on the cluster."""
    connection = Connection(",".join(node.url for node in nodes.nodes))
    with provisioned(nodes.nodes[0], connection, tmp_path_factory.mktemp("keys")) as made:
        yield made


@pytest.fixture
def whole(nodes: Cluster, server: Any) -> Iterator[Cluster]:
    """Give the cluster with all three nodes, and leave it so."""
    yield nodes
    nodes.heal()
    for node in nodes.nodes:
        if node.alive and node.asked("seal-status").get("sealed"):
            node.kill()
        if not node.alive:
            node.spawn()
            node.follow()
    nodes.whole()


def starting_with(nodes: Cluster, number: int) -> Connection:
    """Return the addresses over wires, another one first for each client."""
    urls = nodes.urls
    return Connection(",".join(urls[number % 3 :] + urls[: number % 3]))


async def sign(parts: Any, history: History, tenant: str, binding: str) -> None:
    """Have one request signed and log what became of it."""
    with history.op("sign", tenant, binding) as op:
        try:
            signed = await parts.signer.sign(Actor(tenant, "worker"), SignRequest(binding_id=binding, requests=[INFO]))
        except (BindingRevoked, Unavailable):
            op.outcome = "fail"
        else:
            [key] = [one.value for one in signed.signed[0].headers if one.name == "ACCESS-KEY"]
            op.found = {"tag": tenant if key.startswith(f"bg_{tenant}") else key, "live": True}
            op.outcome = "ok"


async def revocations(
    clients: list[Any], actor: Actor, wanted: Wanted, revokes: int, signs: int, history: History
) -> None:
    """Revoke `revokes` bindings one after the other while every client signs with the one whose turn it is."""
    tenant, each = actor.tenant, signs // (revokes * len(clients))
    bound = [await clients[0].bindings.bind(actor, tagged(wanted, tenant)) for _ in range(revokes)]

    async def one(number: int, binding: str) -> None:
        told = asyncio.Event()

        async def load(parts: Any) -> None:
            for _ in range(each // 2):
                await sign(parts, history, tenant, binding)
            await told.wait()
            for _ in range(each - each // 2):
                await sign(parts, history, tenant, binding)

        async def revoke() -> None:
            with history.op("revoke", tenant, binding) as op:
                await clients[number % len(clients)].bindings.revoke(actor, binding)
                op.outcome = "ok"
            told.set()

        await asyncio.gather(revoke(), *(load(parts) for parts in clients))

    for number, (made, _) in enumerate(bound):
        await one(number, made.id)


def tagged(wanted: Wanted, tenant: str) -> Asked:
    """Return a bind whose API key shows whose it is."""
    return wanted(api_key=f"bg_{tenant}{secrets.token_hex(8)}")


@pytest.mark.bar(41, 42)
@pytest.mark.parametrize(
    ("revokes", "signs"), [(4, 400), pytest.param(100, 10_000, marks=[pytest.mark.drill, pytest.mark.timeout(1800)])]
)
async def test_nothing_is_signed_that_was_asked_for_after_a_revocation_was_acknowledged(
    whole: Cluster, make: Any, actor: Actor, wanted: Wanted, revokes: int, signs: int
) -> None:
    clients = [await make(starting_with(whole, number)) for number in range(4)]
    history = History()
    await revocations(clients, actor, wanted, revokes, signs, history)
    assert history.check() == []
    assert len(history.of("sign")) >= revokes, figures(history)
    assert len([op for op in history.ops if op.kind == "sign"]) == signs
    assert len(history.of("revoke")) == revokes


@pytest.mark.bar(41, 42)
async def test_the_same_holds_behind_one_address_that_leads_to_any_node(
    whole: Cluster, make: Any, actor: Actor, wanted: Wanted
) -> None:
    history = History()
    with Wire(whole.network, *(node.port for node in whole.nodes)) as balancer:
        clients = [await make(Connection(balancer.url)) for _ in range(4)]
        await revocations(clients, actor, wanted, 4, 400, history)
    assert history.check() == []
    assert len(history.of("revoke")) == 4


@pytest.mark.bar(41, 42)
@pytest.mark.parametrize("pledged", [True, False])
async def test_a_standby_that_lags_signs_with_a_deleted_key_only_where_nothing_is_pledged(
    whole: Cluster, make: Any, actor: Actor, wanted: Wanted, monkeypatch: pytest.MonkeyPatch, pledged: bool
) -> None:
    """Without the pledge the checker finds what the tests above look for: they can fail."""
    leader = whole.leader()
    standby = next(node for node in whole.nodes if node is not leader)
    honest = await make(Connection(leader.url))
    if not pledged:
        monkeypatch.setattr(hot, "pledge", lambda *_, **__: Pledge({}, ""))
    other, history = await make(Connection(standby.url)), History()
    made, _ = await honest.bindings.bind(actor, tagged(wanted, actor.tenant))
    async with asyncio.timeout(20):
        while not await signs(other, actor.tenant, made.id):
            await asyncio.sleep(0.01)
    whole.strand(standby)
    with history.op("revoke", actor.tenant, made.id) as op:
        await honest.bindings.revoke(actor, made.id)
        op.outcome = "ok"
    await sign(other, history, actor.tenant, made.id)
    assert bool(late(history)) is not pledged, figures(history)


async def signs(parts: Any, tenant: str, binding: str) -> bool:
    try:
        await parts.signer.sign(Actor(tenant, "worker"), SignRequest(binding_id=binding, requests=[INFO]))
    except StrongroomError:
        return False
    return True


@contextlib.asynccontextmanager
async def load(clients: list[Any], actor: Actor, wanted: Wanted, history: History) -> AsyncIterator[None]:
    """Bind and sign all the time at every client; what is refused must be Unavailable and say when to come back."""
    over, hints = asyncio.Event(), list[float | None]()

    async def one(parts: Any) -> None:
        while not over.is_set():
            asked = tagged(wanted, actor.tenant)
            with history.op("bind", actor.tenant, asked.binding_id, asked.api_key.reveal()) as op:
                try:
                    await parts.bindings.bind(actor, asked)
                    op.outcome = "ok"
                except Unavailable as refused:
                    hints.append(refused.retry_after)
            if op.outcome == "ok":
                await sign(parts, history, actor.tenant, asked.binding_id)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(one(parts)) for parts in clients]
    yield
    over.set()
    await asyncio.gather(*tasks)
    assert all(hints)


def freeze(_: Cluster, node: Node) -> None:
    node.pause()


def kill(_: Cluster, node: Node) -> None:
    node.kill()


def isolate(nodes: Cluster, node: Node) -> None:
    nodes.isolate(node)


def seal(nodes: Cluster, node: Node) -> None:
    nodes.seal(node)


@pytest.mark.bar(51)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("harm", [kill, freeze, seal, pytest.param(isolate, marks=pytest.mark.drill)])
async def test_after_the_leader_is_gone_work_goes_on_by_itself_and_nothing_acknowledged_is_lost(
    whole: Cluster, make: Any, actor: Actor, wanted: Wanted, harm: Callable[[Cluster, Node], None]
) -> None:
    clients = [await make(starting_with(whole, number)) for number in range(3)]
    history = History()
    async with load(clients, actor, wanted, history):
        await progress(history, 5)
        leader = await asyncio.to_thread(whole.leader)
        await asyncio.to_thread(harm, whole, leader)
        harmed = time.monotonic()
        async with asyncio.timeout(FAILOVER_S + 10):
            while not all_recovered(history, harmed, len(clients)):
                await asyncio.sleep(0.1)
        whole.heal()
        await progress(history, 5)
    for op in history.of("bind"):
        with history.op("read", op.tenant, op.binding) as read:
            record = await clients[0].bindings.records.load(op.tenant, op.binding)
            read.found, read.outcome = {"tag": record.binding.tenant_id, "live": not record.revoked}, "ok"
    assert history.check() == []


def all_recovered(history: History, since: float, clients: int) -> bool:
    return len([op for op in history.of("bind") if op.invoked > since]) >= 3 * clients


async def progress(history: History, more: int) -> None:
    """Wait until that many more binds have succeeded."""
    goal = len(history.of("bind")) + more
    async with asyncio.timeout(60):
        while len(history.of("bind")) < goal:
            await asyncio.sleep(0.05)


@pytest.mark.bar(41, 51)
@pytest.mark.timeout(300)
async def test_a_leader_that_wakes_up_after_another_was_elected_signs_nothing_for_us(
    whole: Cluster, make: Any, actor: Actor, wanted: Wanted
) -> None:
    quiet, busy = [await make(starting_with(whole, number)) for number in range(2)]
    leader = whole.leader()
    made, _ = await busy.bindings.bind(actor, tagged(wanted, actor.tenant))
    assert await signs(quiet, actor.tenant, made.id)
    leader.pause()
    others = [node for node in whole.nodes if node is not leader]
    async with asyncio.timeout(FAILOVER_S):
        while not any([await asyncio.to_thread(lambda node=node: node.active) for node in others]):
            await asyncio.sleep(0.05)
    async with asyncio.timeout(FAILOVER_S):
        while True:
            with contextlib.suppress(Unavailable):
                await busy.bindings.revoke(actor, made.id)
                break
            await asyncio.sleep(0.1)
    leader.resume()  # for half a second it takes itself for the active node, and has the key
    assert not await signs(quiet, actor.tenant, made.id)


@pytest.mark.bar(42)
def test_the_default_of_openbao_is_what_these_tests_run_on(whole: Cluster) -> None:
    configured = (whole.nodes[0].home / "openbao.hcl").read_text()
    assert "disable_standby_reads = false" in configured
    standby = next(node for node in whole.nodes if node is not whole.leader())
    page = httpx.get(f"{standby.url}/v1/sys/health", trust_env=False)
    assert (page.status_code, page.json()["standby"]) == (429, True)
