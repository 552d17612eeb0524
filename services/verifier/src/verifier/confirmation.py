"""Own when a refusal counts. A key made moments ago may not be known everywhere yet, and one that worked does not lose
its secret: such a refusal counts only when further looks, made when they were planned, have said the same. Pure.

Ages are those of the first refusal, by one clock: that of the credential was stamped by another host's.
"""

from typing import Final

from common.clock import timestamp
from strongroom.types.v1.binding_pb2 import REASON_INVALID_API_KEY, REASON_KEY_DELETED, Binding, Observation, Refusal

from verifier.bitget.codes import DEFINITE, ExchangeFailure, Group, Retry
from verifier.schedule import LOOKS_S

# How much earlier than planned a look may come, for clocks that differ.
EARLY_S: Final = 0.5
# What is planned later than this was planned for another reason, or before a clock was set back.
LATEST_S: Final = LOOKS_S[-1]


def definite(failure: ExchangeFailure) -> bool:
    """Tell whether a failure proves something about the key at all."""
    return failure.rule.group in DEFINITE


def counts(binding: Binding, failure: ExchangeFailure, before: Observation | None, now: float) -> bool:
    """Tell whether a definite failure at `now` (Unix seconds) makes a verdict; `before` is what was seen last."""
    suspect = failure.rule.group is Group.CREDENTIAL and (binding.proven or failure.rule.retry is Retry.CONFIRM)
    if not suspect or binding.verdict.reason in _same(failure):
        return True
    waiting = planned(binding, failure, before, now)
    if waiting is None or waiting > EARLY_S:
        return False
    refused = refusal(binding, failure, before, now)
    return binding.proven or age_s(refused, now) >= LOOKS_S[-1] - EARLY_S


def planned(binding: Binding, failure: ExchangeFailure, before: Observation | None, now: float) -> float | None:
    """Return in how many seconds the look that may confirm is due; None when the look before said something else."""
    if before is None or before.refused.credential_version != binding.credential.version:
        return None
    if all(note.code != word(binding, failure) for note in before.notes):
        return None
    waiting = before.next_verification_at.ToMilliseconds() / 1000 - now
    return max(0.0, waiting) if waiting <= LATEST_S else None


def refusal(binding: Binding, failure: ExchangeFailure, before: Observation | None, now: float) -> Refusal:
    """Return since when this credential is refused so: since `before`, or since now."""
    if before is not None and planned(binding, failure, before, now) is not None:
        return before.refused
    return Refusal(since=timestamp(now), credential_version=binding.credential.version)


def age_s(refused: Refusal, now: float) -> float:
    """Return for how many seconds a refusal has been known."""
    return max(0.0, now - refused.since.ToMilliseconds() / 1000)


def word(binding: Binding, failure: ExchangeFailure) -> str:
    """Return the code of the note that tells of a refusal which does not count yet."""
    deleted = binding.proven and failure.rule.reason == REASON_INVALID_API_KEY
    return "key_deleted" if deleted else failure.rule.words.code


def _same(failure: ExchangeFailure) -> tuple[int, ...]:
    """Return the reasons of a verdict that says the same already."""
    if failure.rule.reason == REASON_INVALID_API_KEY:
        return (REASON_INVALID_API_KEY, REASON_KEY_DELETED)
    return (failure.rule.reason,)
