"""Own how often this process logs in at Vault: whoever has to again shares one turn a second, and no first login waits.

While the server gives no answer every login takes such a turn, and there is one at a time. It knows no clock: times are
monotonic seconds that the caller brings.
"""

from collections.abc import Hashable
from typing import Final

FAILURES: Final = 3  # in a row without an answer
TURN_S: Final = 1.0
ASKING_S: Final = 2.0  # who has not asked for so long does not hold the others up


class Pace:
    """Admit logins. `probe_s` is how long one may take."""

    def __init__(self, probe_s: float) -> None:
        self._probe_s = probe_s
        self._unanswered = 0
        self._next = float("-inf")
        self._asking: dict[Hashable, float] = {}  # in the order in which they came

    def admits(self, who: Hashable, now: float, *, again: bool) -> bool:
        """Tell whether `who` may log in now; `again` is a login that should not have been needed.

        Of several who ask, the one that began to first gets the turn: nobody has two before another has one.
        """
        silent = self._unanswered >= FAILURES
        if not (again or silent):
            return True
        self._asking[who] = now  # who asks again keeps the place
        self._asking = {one: asked for one, asked in self._asking.items() if now < asked + ASKING_S}
        if now < self._next or next(iter(self._asking)) != who:
            return False
        del self._asking[who]
        self._next = now + (self._probe_s if silent else TURN_S)
        return True

    def ended(self, now: float, *, answered: bool | None) -> None:
        """Hear that a login is over: `answered` with a yes or a no, or None when nobody waited for it."""
        self._next = min(self._next, now + TURN_S)
        if answered is not None:
            self._unanswered = 0 if answered else self._unanswered + 1
