"""Three OpenBao servers as one cluster: raft over wires that can be cut, one seal, a hand to kill, freeze or isolate.

`disable_standby_reads` is an argument: OpenBao's own default lets standbys answer, and that is what must be survived.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
from cli.files import write_private
from cli.openbao import CONFIGURATION, OpenBao
from cli.processes import LaunchError, free_port
from cli.vault_admin import ACTIVE, STATIC_SEAL

from tests.cluster.wire import Network, Wire, process_of

STANDBY = 429
JOIN = '  retry_join {{\n    leader_api_addr = "{url}"\n  }}\n'


class Node(OpenBao):
    """One of three; clients reach it over `client`, the other two over `peers`."""

    def __init__(self, home: Path, number: int, network: Network, *, standby_reads: bool, multiplier: int) -> None:
        self.cluster_port = free_port()
        self.number = number
        self._reads, self._multiplier = standby_reads, multiplier
        super().__init__(home / f"node-{number}")
        self.client = Wire(network, self.port)
        self.peers = Wire(network, self.cluster_port)

    def configure(self, others: list[str], seal: Path) -> None:
        """Write the configuration, now that every address is known."""
        text = CONFIGURATION.format(
            port=self.port,
            cluster_port=self.peers.port,
            raft=json.dumps(str(self.home / "raft")),
            seal=json.dumps(f"file://{seal}"),
            audit=json.dumps(str(seal.with_name("audit.log"))),  # a node whose path differs never becomes active
        )
        swaps = {
            "disable_standby_reads = true": f"disable_standby_reads = {'false' if self._reads else 'true'}",
            f'cluster_address = "127.0.0.1:{self.peers.port}"': f'cluster_address = "127.0.0.1:{self.cluster_port}"',
            '"node-1"': f'"node-{self.number}"',
            "  performance_multiplier = 1\n": f"  performance_multiplier = {self._multiplier}\n"
            + "".join(JOIN.format(url=url) for url in others),
        }
        for old, new in swaps.items():
            if old not in text:
                raise LaunchError(f"the configuration has no {old}")
            text = text.replace(old, new)
        write_private(self.home / "openbao.hcl", text)

    def follow(self, seconds: float = 60) -> None:
        """Wait until this server, started as one that joins, stands by."""
        with self.admin() as admin:
            self.wait_for(lambda: admin.health() in (STANDBY, ACTIVE), seconds)

    def asked(self, path: str) -> dict[str, Any]:
        """Return what the server itself says at an unauthenticated page, {} while it says nothing."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            said: dict[str, Any] = httpx.get(f"{self.url}/v1/sys/{path}", timeout=2, trust_env=False).json()
            return said
        return {}

    @property
    def active(self) -> bool:
        """Whether the server takes itself for the active one."""
        return self.asked("leader").get("is_self") is True


class Cluster:
    """Three nodes; `urls` are the addresses of the wires, to be given to clients."""

    def __init__(self, home: Path, *, standby_reads: bool = True, multiplier: int = 1) -> None:
        self._home = home
        self._made = ExitStack()
        self.network = Network()
        self._callers: dict[int, int | None] = {}
        self._isolated: frozenset[int] = frozenset()
        options: dict[str, Any] = {"standby_reads": standby_reads, "multiplier": multiplier}
        self.nodes = [Node(home, number, self.network, **options) for number in (1, 2, 3)]

    def __enter__(self) -> "Cluster":
        with ExitStack() as stack:
            stack.enter_context(self.network)
            for node in self.nodes:
                node.peers.hole = self._hole(node)
                node.peers.callers = self._caller
                stack.enter_context(node.client)
                stack.enter_context(node.peers)
            self._start(stack)
            self._made = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._made.close()

    def _start(self, stack: ExitStack) -> None:
        seal = write_private(self._home / "seal.key", bytes(range(32)))
        for node in self.nodes:
            node.configure([other.url for other in self.nodes if other is not node], seal)
        first, *rest = self.nodes
        stack.callback(first.stop)
        first.spawn()
        with first.admin() as admin:
            first.wait_for(lambda: admin.health() is not None, 30)
            admin.initialise(STATIC_SEAL)
        first.wait_ready()
        self.tell("storage/raft/autopilot/configuration", server_stabilization_time="1s")  # then a new node may vote
        for node in rest:
            stack.callback(node.stop)
            node.spawn()
        for node in rest:
            node.follow()
        self.whole()

    @property
    def urls(self) -> list[str]:
        """The nodes' addresses over wires."""
        return [node.client.url for node in self.nodes]

    @property
    def root_token(self) -> str:
        """The root token."""
        return self.nodes[0].root_token

    def leader(self, seconds: float = 180) -> Node:
        """Return the one node that is active, once there is one."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            active = [node for node in self.nodes if node.alive and node.active]
            if len(active) == 1:
                return active[0]
            time.sleep(0.05)
        raise LaunchError("no single node became active")

    def whole(self, seconds: float = 180) -> None:
        """Wait until all three vote and have applied what the leader has: only then a death can be survived."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError, KeyError):
                state = self.asked("storage/raft/autopilot/state")
                if state["healthy"] and len(state["voters"]) == 3:
                    return
            time.sleep(0.1)
        raise LaunchError("the cluster did not become whole")

    def asked(self, path: str) -> dict[str, Any]:
        """Return what the leader answers to the root token."""
        found: dict[str, Any] = self._root("GET", self.leader(), path).json()["data"]
        return found

    def tell(self, path: str, **body: Any) -> None:
        """Write something at the leader, with the root token."""
        self._root("POST", self.leader(), path, body)

    def seal(self, node: Node) -> None:
        """Seal one node; with a static seal only its restart opens it again."""
        self._root("PUT", node, "seal")

    def _root(self, method: str, node: Node, path: str, body: Any = None) -> httpx.Response:
        headers = {"X-Vault-Token": self.root_token}
        url = f"{node.url}/v1/sys/{path}"
        return httpx.request(method, url, headers=headers, json=body, timeout=10, trust_env=False).raise_for_status()

    def strand(self, node: Node) -> None:
        """Cut a node off from the other two; clients still reach it."""
        self._isolated = frozenset([node.number])

    def isolate(self, node: Node) -> None:
        """Cut a node off from the other two and from every client; it goes on by itself."""
        self.strand(node)
        node.client.hole = lambda _: True

    def heal(self) -> None:
        """Let every frozen node run and everything pass."""
        self._isolated = frozenset()
        for node in self.nodes:
            node.client.heal()
            node.resume()

    def _caller(self, port: int) -> int | None:
        """Return the number of the node that calls from `port`, remembered."""
        if port not in self._callers:
            pids = {node.pid: node.number for node in self.nodes if node.alive}
            found = process_of(port, iter(pids))
            self._callers[port] = pids[found] if found else None
        return self._callers[port]

    def _hole(self, node: Node) -> Any:
        def hole(port: int) -> bool:
            one = self._callers.get(port)
            return one != node.number and bool({one, node.number} & self._isolated)

        return hole


@contextlib.contextmanager
def cluster(home: Path, **options: Any) -> Iterator[Cluster]:
    """Run a cluster whose state lies in `home`."""
    with Cluster(home, **options) as made:
        yield made
