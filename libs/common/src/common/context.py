"""Own what travels beside a request: its id, its W3C trace and how long its caller waits, never a secret."""

import re
import secrets
import time
from contextvars import Context, ContextVar
from dataclasses import dataclass
from typing import Final

from common.ids import REQUEST_ID

# W3C Trace Context: ids of nothing but zeros are none.
TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's id (ours or the caller's, if it fits the grammar) and its `traceparent`.

    `continued` says that the trace is the caller's, and not made here.
    """

    request_id: str
    traceparent: str
    continued: bool = True

    @property
    def trace_id(self) -> str:
        """Return the 32 hex digits of the trace."""
        return self.traceparent.split("-")[1]

    @property
    def sampled(self) -> bool:
        """Whether those before us record this trace."""
        return int(self.traceparent[-2:], 16) & 1 == 1


def accept(request_id: str | None, traceparent: str | None) -> RequestContext:
    """Take over what the caller sent where it is well-formed, and make the rest."""
    if not request_id or not REQUEST_ID.fullmatch(request_id):
        request_id = secrets.token_hex(16)
    if not traceparent or not TRACEPARENT.fullmatch(traceparent):
        made = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
        return RequestContext(request_id, made, continued=False)
    return RequestContext(request_id, traceparent)


current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)
deadline: ContextVar[float | None] = ContextVar("deadline", default=None)  # monotonic seconds; None: nobody waits


def shared() -> Context:
    """Return a context for work that others wait for too: in the trace of this request, and with nobody's deadline."""
    made = Context()
    made.run(current.set, current.get())
    return made


def remaining_s() -> float | None:
    """Return how many seconds the caller still waits; None where nobody does."""
    until = deadline.get()
    return None if until is None else until - time.monotonic()
