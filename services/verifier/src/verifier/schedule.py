"""Own when a binding is verified again: retries with full jitter, a quick second look at a fresh key, else daily."""

from collections.abc import Callable
from typing import Final

from strongroom.types.v1.binding_pb2 import REASON_INVALID_API_KEY, STATUS_REJECTED, Binding

Uniform = Callable[[float, float], float]

FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 900.0
SHORTEST_S: Final = 0.5
# Bitget may refuse a key made seconds ago for about half a minute.
FRESH_S: Final = 120.0
SECOND_LOOK_S: Final = (35.0, 60.0)


class Schedule:
    """Draw delays in seconds. `interval_s` is the longest time between two verifications of a healthy binding."""

    def __init__(self, interval_s: float, uniform: Uniform) -> None:
        self._interval_s = interval_s
        self.uniform = uniform

    def after_failure(self, attempt: int) -> float:
        """Return the delay after `attempt` failures in a row before this one."""
        ceiling = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt, 20))
        return max(SHORTEST_S, self.uniform(0.0, ceiling))

    def after_verdict(self, binding: Binding, now: float) -> float:
        """Return the delay after a verdict at `now` (Unix seconds)."""
        age = now - binding.created_at.ToMilliseconds() / 1000
        unknown = binding.verdict.status == STATUS_REJECTED and binding.verdict.reason == REASON_INVALID_API_KEY
        if unknown and age < FRESH_S:
            return self.uniform(*SECOND_LOOK_S)
        return self.uniform(0.8 * self._interval_s, self._interval_s)
