"""Three OpenBao nodes under the whole stack lose the active one: what a customer's program meets over REST.

At most 20 seconds of 503, each with a time to come back; no process of ours ends, and nobody helps.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import free_port
from cli.servers import RedisServer, VaultServer
from cli.settings import LaunchSettings
from cli.stack import Stack
from cli.valkey import Valkey
from cli.vault_admin import VaultAdmin

from tests.cluster.bao import Cluster, Node
from tests.history import History, Op, away, figures, gaps, mute
from tests.integration.conftest import Driver, eventually

CLIENTS = 3
FAILOVER_S = 20


class ThreeNodes(VaultServer):
    """A cluster in the place of the stack's one server, reached over wires."""

    def __init__(self, home: Path) -> None:
        super().__init__("openbao", [], {}, home / "logs")
        self.cluster = Cluster(home / "openbao")

    @property
    def url(self) -> str:  # type: ignore[override]  # known once the wires stand
        return ",".join(self.cluster.urls)

    @property
    def pid(self) -> int:
        return self.cluster.nodes[0].pid

    @property
    def alive(self) -> bool:
        return True

    def admin(self) -> VaultAdmin:
        return VaultAdmin(self.cluster.leader().url, self.cluster.nodes[0].home / "init.json")

    def spawn(self) -> None:
        self.cluster.__enter__()

    def ask_to_stop(self) -> None:
        """The nodes are stopped together."""

    def stop(self, grace: float = 12) -> None:
        self.cluster.__exit__()


def servers(home: Path) -> tuple[VaultServer, RedisServer]:
    return ThreeNodes(home), Valkey(home / "valkey", logs=home / "logs")


@pytest.fixture
def clustered(tmp_path: Path) -> Iterator[Driver]:
    settings = LaunchSettings(tmp_path, free_port(), None, "127.0.0.1", log_level="info")
    with Stack(settings, lambda _: None, servers) as stack:
        stack.start()
        yield Driver(stack)


class Customer(threading.Thread):
    """Bind and read over REST until told to stop, and log what became of it."""

    def __init__(self, number: int, driver: Driver, history: History, stopping: threading.Event) -> None:
        super().__init__()
        self._number, self._history, self._stopping = number, history, stopping
        self._tenant = driver.facts["tenants"][0]["id"]
        self._http = driver.client()
        self.other: list[str] = []  # answers that are neither a success nor a 503

    def run(self) -> None:
        with self._http:
            while not self._stopping.is_set():
                if binding := self._bind():
                    self._read(binding)
                time.sleep(0.05)

    def _bind(self) -> str:
        key = f"bg_{secrets.token_hex(16)}"
        credential = {"api_key": key, "secret_key": secrets.token_hex(32), "passphrase": "Passphrase01"}
        body = {"exchange": "bitget", "label": "x", "subject": "s", "scopes": ["spot"], "credential": credential}
        with self._history.op("bind", self._tenant, key=key) as op:
            headers = {"Idempotency-Key": secrets.token_hex(8)}
            answer = self._told(op, self._http.post("/v1/bindings", json=body, headers=headers))
            op.binding = answer.json().get("id", "")
        return op.binding

    def _read(self, binding: str) -> None:
        with self._history.op("read", self._tenant, binding) as op:
            answer = self._told(op, self._http.get(f"/v1/bindings/{binding}"))
            if op.outcome == "ok":
                op.found = {"tag": self._tenant, "live": answer.json()["status"] != "revoked"}

    def _told(self, op: Op, answer: httpx.Response) -> httpx.Response:
        op.client = self._number
        op.outcome = "ok" if answer.is_success else "fail"
        op.retry_after = float(answer.headers.get("retry-after", 0))
        if not answer.is_success and answer.status_code != 503:
            self.other.append(f"{answer.status_code} {answer.text}")
        return answer


def freeze(_: Cluster, node: Node) -> None:
    node.pause()


def kill(_: Cluster, node: Node) -> None:
    node.kill()


def seal(nodes: Cluster, node: Node) -> None:
    nodes.seal(node)


@pytest.mark.bar(51)
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "harm", [kill, pytest.param(freeze, marks=pytest.mark.drill), pytest.param(seal, marks=pytest.mark.drill)]
)
def test_the_loss_of_the_active_vault_is_at_most_twenty_seconds_of_503_with_a_time_to_come_back(
    clustered: Driver, harm: Callable[[Cluster, Node], None]
) -> None:
    nodes: Any = clustered.child("openbao").cluster
    ours = {child.name: child.pid for child in clustered.stack.children if child.name != "openbao"}
    history, stopping = History(), threading.Event()
    customers = [Customer(number, clustered, history, stopping) for number in range(CLIENTS)]
    for one in customers:
        one.start()
    try:
        eventually(lambda: bound_since(history, 0))
        harm(nodes, nodes.leader())
        harmed = time.monotonic()
        eventually(lambda: bound_since(history, harmed), 3 * FAILOVER_S)
    finally:
        stopping.set()
        for one in customers:
            one.join()
    print(f"{max(gaps(history).values()):.1f} s without a success, {figures(history)}")
    assert [answer for one in customers for answer in one.other] == []
    assert away(history, FAILOVER_S) == []
    assert mute(history) == []
    assert {child.name: child.pid for child in clustered.stack.children if child.name != "openbao"} == ours
    assert all(child.alive for child in clustered.stack.children)
    with clustered.client() as http:
        for op in history.of("bind"):
            assert http.get(f"/v1/bindings/{op.binding}").status_code == 200


def bound_since(history: History, since: float) -> bool:
    """Tell whether each customer has bound something that it asked for since."""
    done = {op.client for op in history.of("bind") if op.invoked > since}
    return done == set(range(CLIENTS))
