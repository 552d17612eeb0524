"""Own the judgement of a replacement: whether it may take the place of the credential in use, or why not. Pure.

It is looked at like a fresh key, of which nothing is proven; what was proven of the old one is only what it must match.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.types.v1.binding_pb2 import (
    REASON_ACCOUNT_MISMATCH,
    ROTATION_STATE_FENCING,
    ROTATION_STATE_VERIFYING,
    STATUS_CONNECTED,
    STATUS_PENDING,
    Binding,
    Finding,
    Observation,
    Reason,
    Verdict,
)

from verifier import findings, verdict
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.facts import Facts

# A replacement of which the exchange says nothing for so long is given up; whoever asked for it can ask again.
LIMIT_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a replacement is given up: a reason in small letters, and what there is to tell."""

    reason: str
    findings: tuple[Finding, ...]


def under_way(binding: Binding) -> bool:
    """Tell whether a stored replacement waits for its verdict."""
    return binding.rotation.state == ROTATION_STATE_VERIFYING and binding.rotation.credential.version > 0


def unfinished(binding: Binding) -> bool:
    """Tell whether a replacement is in use and what it replaced is perhaps not destroyed yet."""
    return binding.rotation.state == ROTATION_STATE_FENCING


def seen_alone(binding: Binding) -> Binding:
    """Return the binding as it would be, had it been made with the replacement."""
    alone = Binding()
    alone.CopyFrom(binding)
    alone.ClearField("rotation")
    alone.credential.CopyFrom(binding.rotation.credential)
    del alone.whitespace_removed[:]
    alone.whitespace_removed.extend(binding.rotation.whitespace_removed)
    alone.verdict.CopyFrom(Verdict(status=STATUS_PENDING, environment=binding.verdict.environment))
    alone.proven = False
    return alone


def noticed(before: Observation | None) -> Observation | None:
    """Return what was noticed of the replacement at the last look."""
    return before.rotation if before is not None and before.HasField("rotation") else None


def expired(binding: Binding, now: float) -> bool:
    """Tell whether the exchange has said nothing of the replacement for too long."""
    return now >= binding.rotation.started_at.ToMilliseconds() / 1000 + LIMIT_S


def unanswered(failure: ExchangeFailure, egress: Sequence[str]) -> Refused:
    """Return why a replacement is given up of which nothing definite was ever heard."""
    return Refused("exchange_unavailable", (failure.finding(egress),))


def refused(binding: Binding, failure: ExchangeFailure, egress: Sequence[str]) -> Refused:
    """Return why a replacement is given up that the exchange refuses."""
    return _of(verdict.of_failure(seen_alone(binding), failure, egress))


def stranger(binding: Binding, facts: Facts, egress: Sequence[str]) -> Refused | None:
    """Return why a key that works may not replace one of the account that was proven, if it may not.

    A key that does not tell whose it is cannot: then it lacks the right to, for else nothing at all would be known.
    """
    known, uid = binding.verdict.account.uid if binding.proven else "", facts.info.uid
    if not known or uid == known:
        return None
    if uid or facts.info_refused is None:
        evidence = findings.evidence(facts.info_endpoint)
        return Refused(_word(REASON_ACCOUNT_MISMATCH), (findings.make("account_mismatch", evidence),))
    return refused(binding, facts.info_refused, egress)


def worse(binding: Binding, reached: Verdict) -> Refused | None:
    """Return why a key that works may not replace one that works for everything, if it does not."""
    if binding.verdict.status != STATUS_CONNECTED or reached.status == STATUS_CONNECTED:
        return None
    return _of(reached)


def _of(reached: Verdict) -> Refused:
    return Refused(_word(reached.reason), tuple(reached.findings))


def _word(reason: Reason.ValueType) -> str:
    return Reason.Name(reason).removeprefix("REASON_").lower()
