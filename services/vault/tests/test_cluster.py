"""Three OpenBao nodes with the server's own default, that standbys answer too: the fence of a revocation holds."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from common.errors import Unavailable
from vault.actor import Actor
from vault.hashicorp import http as hot
from vault.hashicorp.login import Connection
from vault.hashicorp.nodes import Pledge

from services.vault.tests.three_nodes import Wanted, prepared, restore, sign, signs, starting_with, tagged
from tests.cluster.bao import Cluster, cluster
from tests.cluster.wire import Wire
from tests.history import History, figures, late


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), standby_reads=True) as made:
        yield made


@pytest.fixture(scope="module")
def server(nodes: Cluster, provisioned: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with prepared(nodes, provisioned, tmp_path_factory.mktemp("keys")) as made:
        yield made


@pytest.fixture
def whole(nodes: Cluster, server: Any) -> Iterator[Cluster]:
    """Give the cluster with all three nodes, and leave it so."""
    yield nodes
    restore(nodes)


async def acknowledged(parts: Any, actor: Actor, binding: str) -> None:
    """Revoke until it is acknowledged: what is refused as unavailable promises nothing."""
    while True:
        try:
            await parts.bindings.revoke(actor, binding)
        except Unavailable:
            await asyncio.sleep(0.1)
        else:
            return


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
                await acknowledged(clients[number % len(clients)], actor, binding)
                op.outcome = "ok"
            told.set()

        await asyncio.gather(revoke(), *(load(parts) for parts in clients))

    for number, (made, _) in enumerate(bound):
        await one(number, made.id)


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


@pytest.mark.bar(42)
def test_the_default_of_openbao_is_what_these_tests_run_on(whole: Cluster) -> None:
    configured = (whole.nodes[0].home / "openbao.hcl").read_text()
    assert "disable_standby_reads = false" in configured
    standby = next(node for node in whole.nodes if node is not whole.leader())
    page = httpx.get(f"{standby.url}/v1/sys/health", trust_env=False)
    assert (page.status_code, page.json()["standby"]) == (429, True)
