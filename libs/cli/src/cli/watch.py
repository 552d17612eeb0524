"""Own `strongroom watch`: status events as they happen, resumed after a cut, and never a hole that is not told."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.room import AsJson, command, complain
from cli.screen import COLOURS, Screen, said

if TYPE_CHECKING:
    from strongroom_client import StatusEvent, Strongroom


@command
def watch(
    room: "Strongroom",
    binding_id: Annotated[str | None, typer.Argument(help="only this binding")] = None,
    *,
    last_event_id: Annotated[str, typer.Option(help="go on after this event")] = "",
    as_json: AsJson = False,
) -> None:
    """Print each change of a status as it happens, until Ctrl-C. It is told when some may have been missed."""
    from strongroom_client import Reset  # noqa: PLC0415

    screen, last = Screen(), last_event_id
    if screen.is_terminal:
        complain("each change is shown as it happens, until Ctrl-C")
    try:
        for item in room.events(binding_id, last_event_id=last_event_id or None):
            if isinstance(item, Reset):
                _begun(room, screen, binding_id, item.reason, as_json=as_json)
                continue
            last = item.id
            if as_json:
                _say(asdict(item))
            else:
                screen.line(_line(item), COLOURS.get(item.status, ""))
    finally:
        if last:
            complain(f"--last-event-id {last} goes on from here")


def _begun(room: "Strongroom", screen: Screen, binding_id: str | None, reason: str, *, as_json: bool) -> None:
    """Say that what was before is not told, and to a person how things stand now."""
    if as_json:
        _say({"type": "reset", "reason": reason})
        return
    if reason != "opened":
        complain(f"some events may have been missed ({reason}); this is how things stand now")
    found: Iterable[Any] = [room.get(binding_id)] if binding_id else room.list()
    for binding in found:
        if binding.status != "revoked" or binding_id:
            screen.line(f"{'now':<24}  {binding.id}  {said(binding)}", COLOURS.get(binding.status, ""))


def _line(event: "StatusEvent") -> str:
    changed = ", ".join(f"{one.field} {_brief(one.before)} to {_brief(one.after)}" for one in event.changes)
    return f"{event.occurred_at:<24}  {event.binding_id}  {said(event)}{f'  [{changed}]' if changed else ''}"


def _brief(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "nothing"
    return "nothing" if value in (None, "") else str(value)


def _say(told: dict[str, Any]) -> None:
    typer.echo(json.dumps(told))
