"""What the tests on three OpenBao nodes share: the cluster as the server of a file's fixtures, and who signs on it."""

import contextlib
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import BindingRevoked, StrongroomError, Unavailable
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked
from vault.hashicorp.login import Connection

from tests.cluster.bao import Cluster
from tests.history import History

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
FAILOVER_S = 20
Wanted = Callable[..., Asked]


@contextlib.contextmanager
def prepared(nodes: Cluster, provisioned: Any, home: Path) -> Iterator[Any]:
    """Stand in for the single server: everything the other fixtures make is on the cluster."""
    connection = Connection(",".join(node.url for node in nodes.nodes))
    with provisioned(nodes.nodes[0], connection, home) as made:
        yield made


def restore(nodes: Cluster) -> None:
    """Bring all three nodes back, whatever was done to them."""
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


def tagged(wanted: Wanted, tenant: str) -> Asked:
    """Return a bind whose API key shows whose it is."""
    return wanted(api_key=f"bg_{tenant}{secrets.token_hex(8)}")


async def sign(parts: Any, history: History, tenant: str, binding: str, client: int = 0) -> None:
    """Have one request signed and log what became of it."""
    with history.op("sign", tenant, binding) as op:
        op.client = client
        try:
            signed = await parts.signer.sign(Actor(tenant, "worker"), SignRequest(binding_id=binding, requests=[INFO]))
        except (BindingRevoked, Unavailable) as refused:
            op.outcome, op.retry_after = "fail", refused.retry_after
        else:
            [key] = [one.value for one in signed.signed[0].headers if one.name == "ACCESS-KEY"]
            op.found = {"tag": tenant if key.startswith(f"bg_{tenant}") else key, "live": True}
            op.outcome = "ok"


async def signs(parts: Any, tenant: str, binding: str) -> bool:
    """Tell whether one request is signed."""
    try:
        await parts.signer.sign(Actor(tenant, "worker"), SignRequest(binding_id=binding, requests=[INFO]))
    except StrongroomError:
        return False
    return True
