"""Own `strongroom audit list`: a tenant's own part of the trail, over REST, the newest line first."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from cli.audit_report import moment
from cli.room import AsJson, command
from cli.screen import Screen, dumped

if TYPE_CHECKING:
    from strongroom_client import Strongroom
    from strongroom_client.resources import AuditEntry


@command
def listed(
    room: "Strongroom",
    *,
    binding: Annotated[str, typer.Option(help="only of this key")] = "",
    since: Annotated[str, typer.Option("--from", help="from this time on, for example 2026-11-28T17:00:00Z")] = "",
    until: Annotated[str, typer.Option("--to", help="before this time")] = "",
    limit: Annotated[int, typer.Option(min=1, help="how many lines at most")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what was done with the tenant's own keys, the newest first; `audit report` tells all, from files."""
    found = room.audit(
        binding=binding or None,
        since=moment(since) if since else None,
        until=moment(until) if until else None,
    )
    if as_json:
        for one in islice(found, limit):
            typer.echo(dumped(one))
        return
    Screen().table(("TIME", "ACTION", "PHASE", "WHO", "WHAT", "BINDING"), [_row(one) for one in islice(found, limit)])


def _row(entry: "AuditEntry") -> list[str]:
    who = " ".join(dict.fromkeys(filter(None, (entry.service, entry.subject, entry.client))))
    what = " ".join(filter(None, (entry.method, entry.path, entry.rule)))
    told = what or " ".join(f"{name}={value}" for name, value in entry.details.items())
    return [entry.time, entry.action, entry.outcome or entry.phase, who, told, entry.binding_id or ""]
