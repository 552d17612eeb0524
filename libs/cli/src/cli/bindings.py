"""Own the commands that look at bindings and end them: list, show, verify, balances, revoke."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import typer

from cli.bind import WAIT_S, Wait
from cli.room import NOT_CONNECTED, AsJson, command, complain
from cli.screen import Screen, dumped, said, waiting

if TYPE_CHECKING:
    from strongroom_client import Binding, Strongroom

UNKNOWN: Final = "not known"
HEADS: Final = ("ID", "STATUS", "LABEL", "SUBJECT", "SCOPES", "KEY")
BindingId = Annotated[str, typer.Argument(help="the binding's id")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


class Status(StrEnum):
    """How a binding stands."""

    PENDING = "pending"
    CONNECTED = "connected"
    LIMITED = "limited"
    REJECTED = "rejected"
    DISCONNECTED = "disconnected"
    REVOKED = "revoked"


@command
def listed(
    room: "Strongroom",
    *,
    status: Annotated[Status | None, typer.Option(help="only these")] = None,
    subject: Annotated[str, typer.Option(help="only this customer's")] = "",
    as_json: AsJson = False,
) -> None:
    """List the bindings by their ids; revoked ones are left out unless they are asked for."""
    found = room.list(status=status.value if status else None, subject=subject or None)
    wanted = (one for one in found if status or one.status != "revoked")
    if as_json:
        for one in wanted:
            typer.echo(dumped(one))
        return
    Screen().table(HEADS, [_row(one) for one in wanted], status=1)


@command
def show(room: "Strongroom", binding_id: BindingId, *, as_json: AsJson = False) -> None:
    """Show everything that is known of a binding."""
    _show(room.get(binding_id), as_json=as_json)


@command
def verify(room: "Strongroom", binding_id: BindingId, *, wait: Wait = False, as_json: AsJson = False) -> None:
    """Have a binding verified anew."""
    with waiting(wait, "Waiting for the verdict"):
        binding = room.verify(binding_id, wait=WAIT_S if wait else 0)
    _show(binding, as_json=as_json)
    if not wait:
        complain("it is being verified; this is what was known before. --wait shows the new verdict")
    raise typer.Exit(NOT_CONNECTED if wait and binding.status != "connected" else 0)


@command
def balances(room: "Strongroom", binding_id: BindingId, *, as_json: AsJson = False) -> None:
    """Show what the account holds, at most 30 seconds old."""
    found = room.balances(binding_id)
    if as_json:
        typer.echo(dumped(found))
        return
    screen = Screen()
    screen.line(f"{found.total_usdt or UNKNOWN} USDT in all, at {found.as_of}")
    spot = [("spot", one.coin, one.available, one.total) for one in found.spot]
    futures = [(one.product, one.coin, one.available, one.equity) for one in found.futures]
    rows = [[cell or UNKNOWN for cell in row] for row in (*spot, *futures)]
    screen.table(("WHERE", "COIN", "AVAILABLE", "IN ALL"), rows)


@command
def revoke(room: "Strongroom", binding_id: BindingId, *, yes: Yes = False) -> None:
    """End a binding for ever: nothing can be signed with its key any more, and every version of it is destroyed."""
    confirmed(f"End binding {binding_id} for ever?", yes)
    room.revoke(binding_id)
    complain(f"{binding_id} is revoked. Delete the key at the exchange, too.")


def confirmed(question: str, yes: bool) -> None:
    """Ask a person, unless `yes`; end with 2 where nobody can be asked, with 1 for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask at: say --yes")
    if not typer.confirm(question, err=True):
        complain("nothing was done")
        raise typer.Exit(1)


def _show(binding: "Binding", *, as_json: bool) -> None:
    if as_json:
        typer.echo(dumped(binding))
        return
    screen = Screen()
    screen.status(binding.id, binding)
    screen.facts(list(_facts(binding)))
    screen.details(binding)


def _facts(binding: "Binding") -> Iterator[tuple[str, str]]:
    account, allowed, ips = binding.account, asdict(binding.permissions), binding.ip_whitelist
    yield "label", binding.label
    yield "subject", binding.subject
    yield "scopes", " ".join(binding.scopes)
    yield "account", " ".join(filter(None, (account.uid, account.mode, binding.environment))) or UNKNOWN
    yield "may", ", ".join(name for name, answer in allowed.items() if answer == "yes") or UNKNOWN
    if doubtful := [name for name, answer in allowed.items() if answer == "unknown"]:
        yield "not known", ", ".join(doubtful)
    bound = {True: ", ".join(ips.addresses), False: "any address may use it", None: UNKNOWN}[ips.bound]
    yield "addresses", bound + (f" (ours missing: {', '.join(ips.missing)})" if ips.missing else "")
    yield "verified", f"{binding.last_verified_at or 'never'}, next {binding.next_verification_at or UNKNOWN}"
    if binding.credential.rotate_by:
        yield "rotate by", binding.credential.rotate_by


def _row(binding: "Binding") -> list[str]:
    key = binding.credential
    return [binding.id, said(binding), binding.label, binding.subject, " ".join(binding.scopes), key.api_key_hint]
