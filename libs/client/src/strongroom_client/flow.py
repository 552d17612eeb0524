"""Own the straight line of every call, once for blocking and for asynchronous programs: what to send, what to repeat.

A flow is a generator. It yields steps, which a driver (client.py) carries out, and is sent what came of each. A call is
repeated after a fault only where a repeat has no second effect; what changes state without an Idempotency-Key is
repeated only when nothing was sent, or the gateway answered 429, which means the same.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from random import SystemRandom
from typing import Any, Final, Generic, TypeVar

import httpx

from strongroom_client import errors
from strongroom_client.decode import read

T = TypeVar("T")
ATTEMPTS: Final = 4
FIRST_PAUSE_S: Final = 0.25
MAX_PAUSE_S: Final = 5.0  # a call whose Retry-After is longer fails at once, and tells it
LATER: Final = frozenset([429, 502, 503, 504])
_random: Final = SystemRandom()


@dataclass(frozen=True, slots=True)
class Send:
    """One request to make; what comes back is its answer, or the transport error."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = field(default=None, repr=False)
    safe: bool = True  # a repeat has no second effect


@dataclass(frozen=True, slots=True)
class Open:
    """One stream to open; what comes back is its answer, of which only the head was read, or the transport error."""

    path: str
    headers: Mapping[str, str]


class ReadLine:
    """Read the open stream's next line; what comes back is the line, None at its end, or the transport error."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    """Hand one item to whoever iterates."""

    item: T


Step = Send | Open | ReadLine | Pause
Flow = Generator[Step, Any, T]
Items = Generator[Step | Emit[T], Any, None]


def backoff(attempt: int, told: float | None = None) -> float:
    """Return the seconds before the next attempt: doubled each time, jittered, never less than what was told."""
    grown = min(FIRST_PAUSE_S * 2**attempt, MAX_PAUSE_S)
    jittered: float = grown * _random.uniform(0.5, 1.0)
    return max(told or 0.0, jittered)


def answered(request: Send) -> Flow[httpx.Response]:
    """Make a request, with its repeats, and return the answer, whatever it says; raise Unavailable without one."""
    for attempt in range(ATTEMPTS):
        answer: httpx.Response | httpx.TransportError = yield request
        if isinstance(answer, httpx.TransportError):
            again = request.safe or _unsent(answer)
            told = None
        else:
            again = answer.status_code in LATER and (request.safe or answer.status_code == 429)
            told = errors.pause(answer)
        if not again or attempt == ATTEMPTS - 1 or (told or 0) > MAX_PAUSE_S:
            break
        yield Pause(backoff(attempt, told))
    if isinstance(answer, httpx.TransportError):
        raise _silent(request, answer)
    return answer


def called(request: Send) -> Flow[httpx.Response]:
    """Make a request and return its answer; raise the ApiError that it is, unless it succeeded."""
    key = request.headers.get("Idempotency-Key")
    try:
        answer = yield from answered(request)
        if not answer.is_success:
            raise errors.of(answer)
    except errors.ApiError as error:
        error.idempotency_key = key
        raise
    return answer


def resource(kind: type[T], request: Send) -> Flow[T]:
    """Make a request and return the resource that it answers."""
    answer = yield from called(request)
    return parsed(kind, answer)


def parsed(kind: type[T], answer: httpx.Response) -> T:
    """Return an answer's JSON as `kind`; raise ApiError when it is something else."""
    try:
        told = answer.json()
        tag = answer.headers.get("ETag")
        if tag and isinstance(told, dict) and "etag" in getattr(kind, "__dataclass_fields__", {}):
            told = {**told, "etag": tag}
        return read(kind, told)
    except ValueError:
        raise errors.ApiError(
            "malformed_answer", "The answer is not in the shape that this library knows.", status=answer.status_code
        ) from None


def pages(kind: type[T], path: str, params: Mapping[str, str]) -> Items[T]:
    """Emit every item of a list, page by page."""
    cursor: str | None = ""
    while cursor is not None:
        answer = yield from called(Send("GET", path, {**params, **({"cursor": cursor} if cursor else {})}))
        page = parsed(_Page, answer)
        for item in page.items:
            yield Emit(parsed_item(kind, item))
        cursor = page.next_cursor


@dataclass(frozen=True, slots=True)
class _Page:
    items: tuple[object, ...]
    next_cursor: str | None


def parsed_item(kind: type[T], item: object) -> T:
    """Return one item of a list as `kind`; raise ApiError when it is something else."""
    try:
        return read(kind, item)
    except ValueError:
        raise errors.ApiError("malformed_answer", "An item is not in the shape that this library knows.") from None


def _unsent(error: httpx.TransportError) -> bool:
    """Tell whether it is sure that no byte of the request has left."""
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)


def _silent(request: Send, error: httpx.TransportError) -> errors.ApiError:
    if request.safe or _unsent(error):
        return errors.Unavailable(errors.UNREACHABLE, f"The gateway does not answer ({type(error).__name__}).")
    return errors.OutcomeUnknown(
        errors.OUTCOME_UNKNOWN,
        f"The connection was lost after {request.method} was sent ({type(error).__name__}): it may have been done, "
        "or not. Look before you repeat it.",
    )
