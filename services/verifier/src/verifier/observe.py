"""Own what a verification observed beside its verdict: balances, staleness, notes. Pure.

Nothing of it is in the record.
"""

from collections.abc import Collection
from typing import Final

from common.clock import timestamp
from strongroom.types.v1.binding_pb2 import Observation, Refusal

from verifier import findings
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.facts import Facts

CLOCK: Final = "clock_skew"


def judged(before: Observation | None, facts: Facts | None, now: float) -> Observation:
    """Return what was seen with a verdict, `facts` of a key that works.

    Balances that could not be read for a passing reason stay as they were.
    """
    observation = Observation(last_verified_at=timestamp(now))
    if facts is None:
        return observation
    if facts.balances is not None:
        observation.balances.CopyFrom(facts.balances)
        observation.balances.as_of.CopyFrom(timestamp(now))
    elif facts.hiccup and before is not None and before.HasField("balances"):
        observation.balances.CopyFrom(before.balances)
    return observation


def unanswered(before: Observation | None, failure: ExchangeFailure, egress: Collection[str]) -> Observation:
    """Return what was observed before, as stale, with what kept the exchange from answering."""
    observation = _copy(before)
    observation.stale = True
    observation.stale_finding.CopyFrom(failure.finding(egress))
    return observation


def unconfirmed(before: Observation | None, code: str, failure: ExchangeFailure, refused: Refusal) -> Observation:
    """Return what was observed before, with the note `code` of a refusal that counts only when another look agrees."""
    observation = _copy(before)
    observation.ClearField("stale")
    observation.ClearField("stale_finding")
    observation.ClearField("notes")
    evidence = findings.evidence(failure.endpoint, failure.code, failure.message)
    observation.notes.append(findings.note(code, evidence))
    observation.refused.CopyFrom(refused)
    return observation


def kept(before: Observation | None) -> Observation:
    """Return what was observed before, when this look was not at the credential in use."""
    return _copy(before)


def with_clock(observation: Observation, skew_s: int) -> Observation:
    """Add that our clock and the exchange's differ, by so many seconds; 0 says nothing."""
    if skew_s:
        observation.notes.append(findings.note(CLOCK, seconds=f"{skew_s:+d}"))
    return observation


def _copy(before: Observation | None) -> Observation:
    """Return a copy without what was noticed of the clock then."""
    observation = Observation()
    if before is not None:
        observation.CopyFrom(before)
    observation.ClearField("rotation")
    kept = [note for note in observation.notes if note.code != CLOCK]
    observation.ClearField("notes")
    observation.notes.extend(kept)
    return observation
