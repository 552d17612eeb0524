"""Own the breaker of one address: a server that keeps silent is not waited for by all, and is tried by one at a time.

It knows no clock: times are monotonic seconds that the caller brings.
"""

from typing import Final

FAILURES: Final = 3  # in a row; one answer in between shows that the server lives
PAUSE_S: Final = 1.0


class Breaker:
    """Closed until `FAILURES` calls in a row got no answer; then one probe goes through in a pause's time."""

    def __init__(self, probe_s: float) -> None:
        self._probe_s = probe_s  # how long a probe may take; nobody else is let through meanwhile
        self._failures = 0
        self._shut_until = 0.0

    @property
    def open(self) -> bool:
        """Whether calls are kept away."""
        return self._failures >= FAILURES

    def admits(self, now: float) -> bool:
        """Tell whether a call may be made; who is told so while it is open makes the probe."""
        if not self.open:
            return True
        if now < self._shut_until:
            return False
        self._shut_until = now + self._probe_s
        return True

    def answered(self) -> None:
        """Close: the server said something, whatever it was."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Count a call that got no answer."""
        self._failures += 1
        self._shut_until = now + PAUSE_S

    def given_up(self, now: float) -> None:
        """Let the next one probe: who called did not wait long enough to know."""
        self._shut_until = now
