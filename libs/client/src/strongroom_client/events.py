"""Own the event stream: opened, resumed after each cut, and never with a hole that the reader is not told of."""

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import httpx

from strongroom_client import errors
from strongroom_client.flow import LATER, Emit, Items, Open, Pause, ReadLine, Step, backoff, parsed_item
from strongroom_client.resources import StatusEvent

SILENCE_S: Final = 40.0  # a heartbeat comes every 15 s: after this long without one the connection is given up


@dataclass(frozen=True, slots=True)
class Reset:
    """What was known may be outdated: read the state again. `opened` begins every stream that resumes nothing."""

    reason: str


def events(
    binding_id: str | None = None, *, last_event_id: str | None = None, reconnect: bool = True
) -> Items[StatusEvent | Reset]:
    """Iterate over the status events of the tenant, or of one binding, for ever; without `reconnect` until a cut.

    Resumes after `last_event_id`, and after the last event seen when a connection is cut. A Reset says that there is a
    hole, also at the beginning and after a cut before the first event: read the state, then go on. Raises the ApiError
    of a refusal, such as Unauthenticated once the token has expired and no provider gives another.
    """
    path = f"/v1/bindings/{quote(binding_id, safe='')}/events" if binding_id else "/v1/events"
    attempt = 0
    while True:
        answer = yield Open(path, {"Last-Event-ID": last_event_id} if last_event_id else {})
        told = None
        if isinstance(answer, httpx.Response) and answer.is_success:
            attempt = 0
            if last_event_id is None:
                yield Emit(Reset("opened"))
            last_event_id = yield from _read(last_event_id)
        elif isinstance(answer, httpx.Response):
            if answer.status_code not in LATER:
                raise errors.of(answer)
            told = errors.pause(answer)
        if not reconnect:
            return
        yield Pause(backoff(attempt, told))
        attempt += 1


class _Frame:
    """The lines of one event so far."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def add(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        self.fields[name] = f"{self.fields[name]}\n{value}" if name == "data" and "data" in self.fields else value


def _read(last_event_id: str | None) -> Generator[Step | Emit[StatusEvent | Reset], Any, str | None]:
    """Emit what one connection brings until it ends; return the id to resume after."""
    frame = _Frame()
    while True:
        line = yield ReadLine()
        if not isinstance(line, str):
            return last_event_id
        if line:
            frame.add(line)
            continue
        item = _item(frame.fields)
        if isinstance(item, StatusEvent):
            last_event_id = item.id
        if item is not None:
            yield Emit(item)
        frame = _Frame()


def _item(fields: Mapping[str, str]) -> StatusEvent | Reset | None:
    """Return what one frame says; None for a kind that is not known, a hint or a heartbeat."""
    if fields.get("event") not in ("binding.status", "reset"):
        return None
    try:
        told = json.loads(fields.get("data", ""))
    except ValueError:
        raise errors.ApiError("malformed_answer", "An event is no JSON.") from None
    if fields["event"] == "reset":
        return Reset(str(told.get("reason", "")) if isinstance(told, dict) else "")
    return parsed_item(StatusEvent, told)
