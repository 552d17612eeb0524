"""Own `strongroom freeze`: an operator stops what is signed, sees what is stopped, and lets it go on."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.room import AsJson, complain, operators
from cli.screen import Screen, dumped

if TYPE_CHECKING:
    from strongroom_client import Strongroom
    from strongroom_client.resources import Target

app = typer.Typer(no_args_is_help=True, help="Stop everything that is signed for a target (operators).")
Reason = Annotated[str, typer.Option(help="why; kept in the audit trail")]


class Kind(StrEnum):
    """What is stopped."""

    BINDING = "binding"
    SUBJECT = "subject"
    TENANT = "tenant"
    EXCHANGE = "exchange"
    EVERYTHING = "everything"


# Which options name a target of each kind; the exchange is the only one there is.
FIELDS: dict[Kind, tuple[str, ...]] = {
    Kind.BINDING: ("tenant", "binding_id"),
    Kind.SUBJECT: ("tenant", "subject"),
    Kind.TENANT: ("tenant",),
    Kind.EXCHANGE: (),
    Kind.EVERYTHING: (),
}


@app.command()
@operators
def create(
    room: "Strongroom",
    kind: Annotated[Kind, typer.Argument(help="what to stop")],
    *,
    reason: Reason,
    tenant: Annotated[str, typer.Option(help="the tenant's id")] = "",
    binding: Annotated[str, typer.Option(help="the binding's id")] = "",
    subject: Annotated[str, typer.Option(help="the tenant's customer")] = "",
    allow_cancels: Annotated[bool, typer.Option("--allow-cancels", help="cancelling orders stays possible")] = False,
    as_json: AsJson = False,
) -> None:
    """Have nothing signed for a target any more, within a quarter of a second, until it is lifted."""
    given = {"tenant": tenant, "binding_id": binding, "subject": subject}
    named = {name for name, value in given.items() if value}
    if named != set(FIELDS[kind]):
        needed = " and ".join(f"--{name.removesuffix('_id')}" for name in FIELDS[kind]) or "none of the options"
        raise typer.BadParameter(f"{kind.value} is named by {needed}")
    target = {"kind": kind.value, **{name: given[name] for name in named}}
    made = room.admin.freeze(
        target | ({"exchange": "bitget"} if kind is Kind.EXCHANGE else {}), reason, allow_cancels=allow_cancels
    )
    typer.echo(dumped(made) if as_json else made.id)


@app.command("list")
@operators
def listed(room: "Strongroom", *, as_json: AsJson = False) -> None:
    """List what is stopped, the oldest first."""
    found = room.admin.freezes()
    if as_json:
        for one in found:
            typer.echo(dumped(one))
        return
    rows: list[Any] = [
        (one.id, _target(one.target), "yes" if one.allow_cancels else "no", one.made_at, one.made_by, one.reason)
        for one in found
    ]
    Screen().table(("ID", "TARGET", "CANCELS", "SINCE", "BY", "REASON"), rows)


@app.command()
@operators
def lift(
    room: "Strongroom", freeze_id: Annotated[str, typer.Argument(help="the freeze's id")], *, reason: Reason
) -> None:
    """Let what a freeze has stopped go on."""
    room.admin.lift(freeze_id, reason)
    complain(f"{freeze_id} is lifted")


def _target(target: "Target") -> str:
    named = (target.tenant, target.binding_id, target.subject, target.exchange)
    return " ".join([target.kind, *(one for one in named if one)])
