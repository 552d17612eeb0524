"""Own the look that follows a refusal met while trading: what Bitget says of a key leads to a verification at once.

The verdict is the verification's; here nothing is judged and no event is written.
"""

from typing import Final

from common.clock import Clock

from verifier.background import Background
from verifier.bitget import codes
from verifier.bitget.reply import Reply
from verifier.jobs import Job, Queue

# A caller that goes on after such a refusal makes no more verifications than this.
AGAIN_S: Final = 30.0
KEPT: Final = 10_000


class Looks:
    """Queue verifications of bindings of which the exchange has said something."""

    def __init__(self, queue: Queue, background: Background, clock: Clock) -> None:
        self._queue = queue
        self._background = background
        self._clock = clock
        self._looked: dict[tuple[str, str], float] = {}

    def after(self, tenant: str, binding: str, reply: Reply) -> None:
        """Have a binding verified if the answer refuses its key, its account or one of its permissions."""
        if reply.code in ("", codes.OK) or reply.rule.group not in codes.DEFINITE:
            return
        now = self._clock.monotonic()
        if now < self._looked.get((tenant, binding), 0.0):
            return
        if len(self._looked) >= KEPT:
            self._looked.clear()
        self._looked[tenant, binding] = now + AGAIN_S
        self._background.start(self._queue.put(Job(tenant, binding, "request")))
