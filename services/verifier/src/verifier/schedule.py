"""Own when a binding is verified again: quick looks at a fresh key, back-off while stale, hourly after trouble, daily.

Every delay has jitter, so that bindings made or lost together are not asked about together. Draws, never waits.
"""

from collections.abc import Callable
from typing import Final

from strongroom.types.v1.binding_pb2 import (
    REASON_INVALID_API_KEY,
    STATUS_DISCONNECTED,
    STATUS_REJECTED,
    Binding,
)

Uniform = Callable[[float, float], float]

FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 3600.0
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
# Bitget may refuse a key made seconds ago for about half a minute. A key that never worked is looked at so many seconds
# after the first refusal; it counts at the last of these looks at the earliest, and one more follows. Whoever pastes
# three values has needed some seconds for it: the key is older than half a minute then, and `Prefer: wait=30` hears it.
LOOKS_S: Final = (2.0, 6.0, 12.0, 20.0, 28.0)
LAST_LOOK_S: Final = (35.0, 60.0)
# How long a refusal that needs another look waits for it.
CONFIRM_S: Final = 5.0
SOON_S: Final = 1.0


class Schedule:
    """Draw delays in seconds. `interval_s` is the longest time between two verifications of a healthy binding."""

    def __init__(self, interval_s: float, uniform: Uniform) -> None:
        self._interval_s = interval_s
        self.uniform = uniform

    def after_failure(self, attempt: int) -> float:
        """Return the delay after `attempt` failures in a row before this one: 2 s, 4 s, … up to an hour."""
        return min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt, 20)) * self.uniform(0.8, 1.2)

    def after_refusal(self, binding: Binding, age_s: float) -> float:
        """Return the delay after a refusal that does not count yet and was seen first so many seconds ago."""
        looks = [] if binding.proven else [look - age_s for look in LOOKS_S if look - age_s > SOON_S]
        return looks[0] if looks else CONFIRM_S

    def after_verdict(self, binding: Binding, now: float, *, first: bool = False) -> float:
        """Return the delay after a verdict at `now` (Unix seconds), `first` if it is the binding's first one."""
        refused = binding.verdict.status in (STATUS_REJECTED, STATUS_DISCONNECTED)
        unknown = refused and binding.verdict.reason == REASON_INVALID_API_KEY
        if unknown and first:
            return self.uniform(*LAST_LOOK_S)
        recent = now - binding.updated_at.ToMilliseconds() / 1000 < DAY_S
        longest = min(HOUR_S, self._interval_s) if refused and recent else self._interval_s
        return self._in_time(binding, now, self.uniform(0.8 * longest, longest))

    def _in_time(self, binding: Binding, now: float, delay: float) -> float:
        """Return the delay, shortened so that a rotation that falls due meanwhile is told on the day."""
        left = binding.credential.rotate_by.ToMilliseconds() / 1000 - now
        return min(delay, left + SOON_S) if binding.credential.HasField("rotate_by") and left > 0 else delay
