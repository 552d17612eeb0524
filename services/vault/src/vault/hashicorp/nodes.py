"""Own which of Vault's addresses is called, and the proof that the active node answers.

OpenBao's standbys answer from what they have applied so far: for a while they sign with a key that is deleted. Each
request therefore names an index of the cluster's storage that no node ever reaches: a standby then forwards the request
or refuses it, and only the active node does it itself. HashiCorp's community standbys forward everything.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from vault.hashicorp.breaker import Breaker
from vault.hashicorp.login import Connection

INDEX: Final = "X-Vault-Index"
BEHAVIOUR: Final = "X-Vault-Inconsistent"
NEVER: Final = str(2**64 - 1)
FRESH_S: Final = 1.0


class Unfit(Exception):
    """A server whose standbys may answer by themselves, with no way to tell; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Pledge:
    """What is sent with each request to an address, and how the index in each answer must begin ("": there is none)."""

    headers: Mapping[str, str]
    index: str

    def kept(self, index: str) -> bool:
        """Tell whether an answer with this index is one of the cluster that the request's index named."""
        return index.startswith(self.index)


def pledge(health: Mapping[str, Any], *, alone: bool) -> Pledge:
    """Return the pledge of a server by its health page; raise Unfit for one that cannot give it.

    `alone`: there is no other address, so a standby (behind a load balancer) shall forward. Else it shall refuse, and
    the next address is tried.
    """
    if "performance_standby" in health:  # HashiCorp's
        if health["performance_standby"] or "+ent" in str(health.get("version")):
            raise Unfit("Vault Enterprise answers from performance standbys, which may sign with a deleted key")
        return Pledge({}, "")
    cluster = health.get("cluster_id")
    if not isinstance(cluster, str) or not cluster:
        raise Unfit("the server does not tell the id of its cluster")
    begin = f'{{"cluster":"{cluster}","value":"'.encode()
    index = base64.b64encode(begin + f'{NEVER}"}}'.encode()).decode()
    headers = {INDEX: index, BEHAVIOUR: "forward-active-node" if alone else "fail"}
    return Pledge(headers, base64.b64encode(begin[: len(begin) // 3 * 3]).decode())


def opened(status: int, body: Mapping[str, Any]) -> bool:
    """Tell whether a health page is that of a server that is initialised and unsealed."""
    return status not in (501, 503) and body.get("sealed") is False


@dataclass(frozen=True, slots=True)
class Claim:
    """That a node takes itself for the active one: how far its storage is, and since when it does."""

    reached: int
    since: str


def claim(leader: Mapping[str, Any]) -> Claim | None:
    """Return the claim of a `sys/leader` page, None where another node is active or nobody is."""
    if leader.get("is_self") is not True:
        return None
    return Claim(int(leader.get("raft_committed_index") or 0), str(leader.get("active_time", "")))


class Node:
    """One address: its breaker, its pledge once we have met, and when the last call was sent that it answered."""

    def __init__(self, url: str, probe_s: float) -> None:
        self.base = f"{url}/v1/"
        self.address = urlsplit(url).netloc
        self.breaker = Breaker(probe_s)
        self.pledge: Pledge | None = None
        self.heard = float("-inf")

    def answered(self, sent: float) -> None:
        """Take note that a call sent at `sent` (monotonic seconds) was answered."""
        self.breaker.answered()
        self.heard = max(self.heard, sent)


class Nodes:
    """The configured addresses, the one to begin with first.

    A leader that was frozen takes itself for the active node for half a second after it has woken up, while another is
    it. No election is over within `FRESH_S` of the old leader's last answer: until then it may be called, after that
    all are asked who is active.
    """

    def __init__(self, connection: Connection, probe_s: float) -> None:
        self.all = [Node(url, probe_s) for url in connection.urls]
        self._first: Node | None = self.all[0]

    @property
    def alone(self) -> bool:
        """Whether there is one address only."""
        return len(self.all) == 1

    def fresh(self, now: float) -> bool:
        """Tell whether the node to begin with has answered just now; a single one is whoever is behind its address."""
        return self.alone or (self._first is not None and now < self._first.heard + FRESH_S)

    def elect(self, claims: Mapping[Node, Claim]) -> None:
        """Begin with the node whose claim is the furthest; without any there is nobody to ask."""
        self._first = max(claims, key=lambda node: (claims[node].reached, claims[node].since), default=None)

    def order(self, *, again: bool) -> list[Node]:
        """Return the addresses to try in their order; `again`: a single one twice, for what may be repeated."""
        if self._first is None:
            return []
        others = [node for node in self.all if node is not self._first]
        return [self._first, self._first] if again and self.alone else [self._first, *others]

    def stay(self, node: Node) -> None:
        """Begin with this one from now on."""
        self._first = node
