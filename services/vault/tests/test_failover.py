"""Three OpenBao nodes lose the active one: work goes on by itself within 20 seconds, and nothing acknowledged is lost.

The bound is a property of the history of each client, asked for as such. In the drill the cluster has OpenBao's own
timing, in which a leader is missed five times later.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from common.errors import Unavailable
from vault.actor import Actor

from services.vault.tests.three_nodes import FAILOVER_S, Wanted, prepared, restore, sign, signs, starting_with, tagged
from tests.cluster.bao import Cluster, Node, cluster
from tests.history import History, away, figures, gaps, mute

USUAL = 5  # OpenBao's performance_multiplier where none is configured


@pytest.fixture(scope="module", params=[1, pytest.param(USUAL, marks=pytest.mark.drill)])
def nodes(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("cluster"), standby_reads=True, multiplier=request.param) as made:
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


@contextlib.asynccontextmanager
async def load(clients: list[Any], actor: Actor, wanted: Wanted, history: History) -> AsyncIterator[None]:
    """Bind and sign all the time at every client; whatever is not done must be refused as unavailable."""
    over = asyncio.Event()

    async def one(number: int, parts: Any) -> None:
        while not over.is_set():
            asked = tagged(wanted, actor.tenant)
            with history.op("bind", actor.tenant, asked.binding_id, asked.api_key.reveal()) as op:
                op.client = number
                try:
                    await parts.bindings.bind(actor, asked)
                    op.outcome = "ok"
                except Unavailable as refused:
                    op.outcome, op.retry_after = "fail", refused.retry_after
            if op.outcome == "ok":
                await sign(parts, history, actor.tenant, asked.binding_id, number)
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(one(number, parts)) for number, parts in enumerate(clients)]
    yield
    over.set()
    await asyncio.gather(*tasks)


def freeze(_: Cluster, node: Node) -> None:
    node.pause()


def kill(_: Cluster, node: Node) -> None:
    node.kill()


def isolate(nodes: Cluster, node: Node) -> None:
    nodes.isolate(node)


def seal(nodes: Cluster, node: Node) -> None:
    nodes.seal(node)


@pytest.mark.bar(51)
@pytest.mark.timeout(600)
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
        async with asyncio.timeout(3 * FAILOVER_S):
            while not all_recovered(history, harmed, len(clients)):
                await asyncio.sleep(0.1)
        whole.heal()
        await progress(history, 5)
    print(f"{max(gaps(history).values()):.1f} s without a success, {figures(history)}")
    assert away(history, FAILOVER_S) == []
    assert mute(history) == []
    for op in history.of("bind"):
        with history.op("read", op.tenant, op.binding) as read:
            record = await clients[0].bindings.records.load(op.tenant, op.binding)
            read.found, read.outcome = {"tag": record.binding.tenant_id, "live": not record.revoked}, "ok"
    assert history.check() == []


def all_recovered(history: History, since: float, clients: int) -> bool:
    """Tell whether each client has bound something that it asked for since."""
    done = [op.client for op in history.of("bind") if op.invoked > since]
    return all(done.count(client) >= 3 for client in range(clients))


async def progress(history: History, more: int) -> None:
    """Wait until that many more binds have succeeded."""
    goal = len(history.of("bind")) + more
    async with asyncio.timeout(60):
        while len(history.of("bind")) < goal:
            await asyncio.sleep(0.05)


@pytest.mark.bar(41, 51)
@pytest.mark.timeout(600)
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
