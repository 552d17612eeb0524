"""Histories of what was asked and what became of it, and the checkers that read them, in the manner of Jepsen.

An operation is invoked and ends ok, fail or info: it happened, it surely did not, or nobody knows. A checker
returns what is wrong, one line each; it must never take an info for either.
"""

import contextlib
import itertools
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Kind = Literal["bind", "read", "sign", "rotate", "revoke"]
Outcome = Literal["ok", "fail", "info"]
FOREVER = float("inf")


@dataclass
class Op:
    """One operation of one tenant. `binding` is known for a bind once it is ok; `key` is what was bound or put in use.

    `found` is what an ok read or sign showed: {"tag": the tenant whose value it is, "live": whether it may sign}, or
    None for a read that found nothing. `version` is that of the credential that a sign used or a rotation put in use.
    `client` is who asked, where that matters; `retry_after` is what a refusal said of when to come back, in seconds.
    """

    kind: Kind
    tenant: str
    binding: str = ""
    key: str = ""
    invoked: float = 0.0
    ended: float = FOREVER
    outcome: Outcome = "info"
    found: dict[str, Any] | None = None
    version: int = 0
    client: int = 0
    retry_after: float | None = None


@dataclass
class History:
    """The operations of one run, in the order of their beginnings."""

    ops: list[Op] = field(default_factory=list)

    @contextlib.contextmanager
    def op(self, kind: Kind, tenant: str, binding: str = "", key: str = "") -> Iterator[Op]:
        """Log one operation; the body sets `outcome`. What it raises passes, and leaves info."""
        made = Op(kind, tenant, binding, key, invoked=time.monotonic())
        self.ops.append(made)
        try:
            yield made
        finally:
            made.ended = time.monotonic()

    def of(self, kind: Kind, outcome: Outcome = "ok") -> list[Op]:
        """Return the operations of a kind that ended so."""
        return [op for op in self.ops if (op.kind, op.outcome) == (kind, outcome)]

    def check(self) -> list[str]:
        """Return what every checker finds."""
        return [*lost(self), *foreign(self), *late(self), *stale(self), *doubled(self)]


def lost(history: History) -> list[str]:
    """An acknowledged binding is never missing: not in any read begun after the acknowledgement."""
    since: dict[tuple[str, str], float] = defaultdict(lambda: FOREVER)
    for op in history.of("bind"):
        since[op.tenant, op.binding] = min(op.ended, since[op.tenant, op.binding])
    missing = [op for op in history.of("read") if op.found is None and op.invoked > since[op.tenant, op.binding]]
    return [f"lost: {op.binding} was acknowledged and then not found" for op in missing]


def foreign(history: History) -> list[str]:
    """Every value that is read or used carries the tag of the tenant who asked."""
    seen = [op for op in (*history.of("read"), *history.of("sign")) if op.found is not None]
    return [
        f"foreign: {op.tenant} was shown a value of {op.found['tag']}" for op in seen if op.found["tag"] != op.tenant
    ]


def late(history: History) -> list[str]:
    """No signature is made, and no binding shown alive, that was asked for after a revocation had been acknowledged."""
    ended: dict[str, float] = defaultdict(lambda: FOREVER)
    for op in history.of("revoke"):
        ended[op.binding] = min(ended[op.binding], op.ended)
    seen = [op for op in (*history.of("sign"), *history.of("read")) if op.found and op.found["live"]]
    found = [op for op in seen if op.invoked > ended[op.binding]]
    return [
        f"late: {op.binding}: {op.kind} {op.invoked - ended[op.binding]:.4f} s after its revocation" for op in found
    ]


def stale(history: History) -> list[str]:
    """No signature is made by a version that an acknowledged rotation had replaced before it was asked for."""
    rotated: dict[str, list[Op]] = defaultdict(list)
    for op in history.of("rotate"):
        rotated[op.binding].append(op)
    return [
        f"stale: {op.binding} signed by version {op.version} after a rotation to {newer.version}"
        for op in history.of("sign")
        for newer in rotated[op.binding]
        if op.invoked > newer.ended and op.version < newer.version
    ]


def doubled(history: History) -> list[str]:
    """A tenant has at most one active binding of a key: the times in which two surely were do not overlap."""
    lives: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for op in (*history.of("bind"), *history.of("rotate")):
        begun = lives[op.tenant, op.key]
        begun[op.binding] = min(op.ended, begun.get(op.binding, FOREVER))
    leaving: dict[str, list[Op]] = defaultdict(list)
    for op in history.ops:  # whatever became of it: from its beginning on the binding may hold the key no more
        if op.kind in ("revoke", "rotate"):
            leaving[op.binding].append(op)

    def end(binding: str, key: str) -> float:
        return min((op.invoked for op in leaving[binding] if op.kind == "revoke" or op.key != key), default=FOREVER)

    return [
        f"doubled: {one} and {other} are active at once"
        for (_, key), begun in lives.items()
        for one, other in itertools.combinations(begun, 2)
        if max(begun[one], begun[other]) < min(end(one, key), end(other, key))
    ]


def gaps(history: History) -> dict[int, float]:
    """Return for each client the longest time in seconds without a success.

    It begins to wait with its first operation; one that never came back is away until the end of the history.
    """
    over = max((op.ended for op in history.ops if op.ended < FOREVER), default=0.0)
    found = {}
    for client in sorted({op.client for op in history.ops}):
        mine = [op for op in history.ops if op.client == client]
        ends = sorted(op.ended for op in mine if op.outcome == "ok")
        found[client] = max(after - before for before, after in itertools.pairwise([mine[0].invoked, *ends, over]))
    return found


def away(history: History, limit_s: float) -> list[str]:
    """No client goes without a success for longer than `limit_s` seconds."""
    long = {client: gap for client, gap in gaps(history).items() if gap > limit_s}
    return [f"away: client {client} had no success for {gap:.1f} s" for client, gap in long.items()]


def mute(history: History) -> list[str]:
    """Every refusal says when to come back."""
    refused = history.of("bind", "fail") + history.of("read", "fail") + history.of("sign", "fail")
    return [f"mute: {op.kind} of client {op.client} was refused without a time" for op in refused if not op.retry_after]


def figures(history: History) -> str:
    """Return how many operations of each kind ended how."""
    counts: dict[str, int] = defaultdict(int)
    for op in history.ops:
        counts[f"{op.kind} {op.outcome}"] += 1
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
