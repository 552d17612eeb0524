"""Own when a refusal counts. A key made moments ago may not be known everywhere yet, and one that worked does not lose
its secret: such a refusal counts only when another look, made when it was planned, has said the same. Pure.
"""

from typing import Final

from strongroom.types.v1.binding_pb2 import REASON_INVALID_API_KEY, REASON_KEY_DELETED, Binding, Observation

from verifier.bitget.codes import DEFINITE, ExchangeFailure, Group, Retry
from verifier.schedule import LOOKS_S, age_s

# How much earlier than planned a look may come, for clocks that differ.
EARLY_S: Final = 0.5


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
    return binding.proven or age_s(binding, now) >= LOOKS_S[-1] - EARLY_S


def planned(binding: Binding, failure: ExchangeFailure, before: Observation | None, now: float) -> float | None:
    """Return in how many seconds the look that may confirm is due; None when the look before said something else."""
    if before is None or all(note.code != word(binding, failure) for note in before.notes):
        return None
    return max(0.0, before.next_verification_at.ToMilliseconds() / 1000 - now)


def word(binding: Binding, failure: ExchangeFailure) -> str:
    """Return the code of the note that tells of a refusal which does not count yet."""
    deleted = binding.proven and failure.rule.reason == REASON_INVALID_API_KEY
    return "key_deleted" if deleted else failure.rule.words.code


def _same(failure: ExchangeFailure) -> tuple[int, ...]:
    """Return the reasons of a verdict that says the same already."""
    if failure.rule.reason == REASON_INVALID_API_KEY:
        return (REASON_INVALID_API_KEY, REASON_KEY_DELETED)
    return (failure.rule.reason,)
