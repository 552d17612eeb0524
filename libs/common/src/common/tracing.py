"""Own the spans at our edges: begun by hand, with attributes of a closed list, and nothing at all while they are off.

The parent of a span is the trace in the request's context, and what the span encloses finds the span there in its
place. What nobody asked for has no request, and so no span. An error is told by its type and never by its text.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from common import context, logs
from common.config import ServiceSettings
from common.context import RequestContext
from common.errors import DeadlineExceeded, Internal, StrongroomError, Unavailable

if TYPE_CHECKING:
    from common.spans import Recorder, Recording

# What a span may say, by the word we use, and as OpenTelemetry calls it. Each of these may stand in a log line too.
ATTRIBUTES: Final[Mapping[str, str]] = {
    "request_id": "strongroom.request_id",
    "tenant": "strongroom.tenant",
    "binding": "strongroom.binding",
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "rpc": "rpc.method",
    "peer": "strongroom.peer",
    "operation": "strongroom.operation",
    "endpoint": "strongroom.endpoint",
    "exchange_code": "strongroom.exchange_code",
    "reason": "strongroom.reason",
    "error": "error.type",
    "outcome": "strongroom.outcome",
    "cause": "strongroom.cause",
    "attempt": "strongroom.attempt",
    "job": "messaging.message.id",
    "count": "messaging.batch.message_count",
}
LIMIT: Final = 200
# Of our errors those that are a fault of ours; the others are answers.
FAULTS: Final = (Internal, Unavailable, DeadlineExceeded)
Value = str | int | float | None


class Span:
    """A span that records nothing: what there is while traces are off, or this one is not sampled."""

    __slots__ = ()
    traceparent: str | None = None  # what to send on in place of the context's

    def set(self, **attributes: Value) -> None:
        """Add attributes of `ATTRIBUTES`, by our words; whatever is None is left out."""

    def rename(self, name: str) -> None:
        """Name the span by what is known only now."""

    def fail(self, error: BaseException) -> None:
        """Record an error: its type, and of ours its reason too."""

    def end(self) -> None:
        """End the span; without this it is never sent."""

    def __enter__(self) -> Self:
        """Put the span into the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the span, with the error if there is one, and put back what was in the context before."""


class _Live(Span):
    """A span that is recorded. `apart`: it never stands in the context, whose code may be its consumer's."""

    __slots__ = ("_apart", "_before", "_recording", "traceparent")

    def __init__(self, recording: "Recording", before: RequestContext | None, *, apart: bool) -> None:
        self._recording = recording
        self._before = before
        self._apart = apart
        self.traceparent = recording.traceparent

    def set(self, **attributes: Value) -> None:
        """Add attributes; what is not in the list does not pass."""
        self._recording.set(allowed(attributes))

    def rename(self, name: str) -> None:
        """Name the span anew."""
        self._recording.rename(name)

    def fail(self, error: BaseException) -> None:
        """Record an error by its type."""
        ours = isinstance(error, StrongroomError)
        self.set(error=type(error).__name__, reason=error.reason if isinstance(error, StrongroomError) else None)
        if isinstance(error, FAULTS if ours else Exception):
            self._recording.fault()

    def end(self) -> None:
        """End the span."""
        self._recording.end()

    def __enter__(self) -> Self:
        """Stand in the context."""
        if not self._apart and self._before is not None:
            context.current.set(replace(self._before, traceparent=self._recording.traceparent))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the span; a consumer that has enough is no error."""
        if error is not None and not isinstance(error, GeneratorExit):
            self.fail(error)
        if not self._apart and self._before is not None:
            context.current.set(self._before)
        self.end()


OFF: Final = Span()
_recorder: "Recorder | None" = None


def serving(request: RequestContext, name: str, kind: str = "server", **attributes: Value) -> Span:
    """Put a request into the context and begin its span, under the caller's if it sent one.

    Use it `with`, or end it. The request stays in the context afterwards, for what is logged of it.
    """
    if _recorder is None or (request.continued and not request.sampled):
        context.current.set(request)
        return OFF
    parent = request.traceparent if request.continued else None
    recording = _recorder.begin(name, kind, parent, allowed({**attributes, "request_id": request.request_id}))
    context.current.set(replace(request, traceparent=recording.traceparent))
    return _Live(recording, None, apart=False)


def span(name: str, kind: str = "internal", *, apart: bool = False, **attributes: Value) -> Span:
    """Begin a span of what is done for the request in the context; use it `with`.

    `kind` is internal, client or producer. `apart` keeps it out of the context, for a generator: its consumer's code
    runs in between.
    """
    request = context.current.get()
    if _recorder is None or request is None or not request.sampled:
        return OFF
    recording = _recorder.begin(name, kind, request.traceparent, allowed(attributes))
    return _Live(recording, request, apart=apart)


def handed_on() -> str | None:
    """Return the `traceparent` to leave with work that is done later; None when nobody would record it."""
    request = context.current.get()
    return request.traceparent if _recorder is not None and request is not None and request.sampled else None


def allowed(attributes: Mapping[str, Value]) -> dict[str, str | int | float]:
    """Return what may be told, under OpenTelemetry's names: short texts and numbers of the list."""
    told: dict[str, str | int | float] = {}
    for word, value in attributes.items():
        if word in ATTRIBUTES and isinstance(value, str | int | float):
            told[ATTRIBUTES[word]] = value[:LIMIT] if isinstance(value, str) else value
    return told


@contextmanager
def running(service: str, settings: ServiceSettings) -> Iterator[None]:
    """Send the spans of this process while inside, if a collector is set; at the end, what is left for a moment."""
    global _recorder  # noqa: PLW0603  a process has one, as it has one log
    if settings.otlp_endpoint is None:
        yield
        return
    from common.spans import Recorder  # noqa: PLC0415  a process without traces does not load any of it

    made = Recorder(service, settings.otlp_endpoint, settings.otlp_ca_file, settings.trace_ratio)
    _recorder = made
    try:
        yield
    finally:
        _recorder = None
        lost = made.close()
        if lost:
            logs.get().warning("spans_lost", count=lost)
