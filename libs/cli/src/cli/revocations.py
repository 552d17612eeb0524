"""Own `strongroom revocations`: an operator counts what would end, ends it, and sees how far it is."""

import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.bindings import Yes, confirmed
from cli.room import AsJson, complain, operators
from cli.screen import Screen, dumped, waiting

if TYPE_CHECKING:
    from strongroom_client import Strongroom
    from strongroom_client.resources import Revocation

app = typer.Typer(no_args_is_help=True, help="End many bindings at once (operators).")
POLL_S: Final = 0.5
Wait = Annotated[bool, typer.Option("--wait", help="until it is done")]


@app.command()
@operators
def start(
    room: "Strongroom",
    *,
    tenant: Annotated[str, typer.Option(help="the tenant's id")],
    reason: Annotated[str, typer.Option(help="why; kept in the audit trail")],
    subject: Annotated[str, typer.Option(help="only this customer's")] = "",
    label: Annotated[str, typer.Option(help="only with this label")] = "",
    bound_after: Annotated[str, typer.Option(help="only bound at or after this time (RFC 3339)")] = "",
    bound_before: Annotated[str, typer.Option(help="only bound before this time (RFC 3339)")] = "",
    revoke: Annotated[bool, typer.Option("--revoke", help="end them; without it they are only counted")] = False,
    yes: Yes = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Count the bindings that fit, or with --revoke end each of them for ever."""
    given = {"tenant": tenant, "subject": subject, "label": label}
    given |= {"bound_after": bound_after, "bound_before": bound_before}
    selector = {name: value for name, value in given.items() if value}
    if revoke:
        said = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in selector.items())
        confirmed(f"End every binding of {said} for ever?", yes)
    made = room.admin.revoke_many(selector, reason, dry_run=not revoke)
    _show(_awaited(room, made) if wait else made, as_json=as_json)


@app.command()
@operators
def show(
    room: "Strongroom",
    revocation_id: Annotated[str, typer.Argument(help="what `start` told")],
    *,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Show how far a bulk revocation is; once it is done, what it ended."""
    found = room.admin.revocation(revocation_id)
    _show(_awaited(room, found) if wait else found, as_json=as_json)


def _awaited(room: "Strongroom", found: "Revocation") -> "Revocation":
    with waiting(True, "Waiting until it is done"):
        while found.state != "done":
            time.sleep(POLL_S)
            found = room.admin.revocation(found.id)
    return found


def _show(found: "Revocation", *, as_json: bool) -> None:
    if as_json:
        typer.echo(dumped(found))
        return
    screen = Screen()
    screen.line(f"{found.id}  {found.state}{' (counted only)' if found.dry_run else ''}")
    facts: list[Any] = [("fit", str(found.matched)), ("ended", str(found.revoked)), ("remedy", found.remedy)]
    screen.facts([*facts, *((one.binding_id, one.reason) for one in found.failed)])
    if found.state != "done":
        complain(f"it goes on: strongroom revocations show {found.id} --wait")
