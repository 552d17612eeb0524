"""Own `strongroom webhooks`: a tenant has its events delivered, sees what became of them, and has them sent again.

A signing secret is shown once, when it is made: on standard output, or into a file that its owner alone can read.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.bindings import Status, Yes, confirmed
from cli.files import write_private
from cli.processes import LaunchError
from cli.room import AsJson, command, complain
from cli.screen import Screen, dumped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from strongroom_client import Strongroom
    from strongroom_client.resources import Webhook, WebhookSecret

app = typer.Typer(no_args_is_help=True, help="Have events delivered to an address of yours.")
WebhookId = Annotated[str, typer.Argument(help="the webhook's id")]
SecretFile = Annotated[Path | None, typer.Option(help="write the signing secret to this file in place of showing it")]
Statuses = Annotated[list[Status] | None, typer.Option("--status", help="events of these alone; may come again")]
Description = Annotated[str | None, typer.Option(help="a few words for people")]


@app.command()
@command
def add(
    room: "Strongroom",
    address: Annotated[str, typer.Argument(help="https:// and a public host name")],
    *,
    status: Statuses = None,
    description: Description = None,
    secret_file: SecretFile = None,
    as_json: AsJson = False,
) -> None:
    """Have events from now on delivered there; the signing secret is shown this once."""
    wanted: Any = [one.value for one in status or ()]
    made = room.webhooks.create(address, description=description or "", statuses=wanted)
    _told(made, secret_file, as_json=as_json)


@app.command("list")
@command
def listed(room: "Strongroom", *, as_json: AsJson = False) -> None:
    """List the webhooks, the oldest first."""
    found = room.webhooks.list()
    rows = [
        (one.id, "paused" if one.paused else "on", " ".join(one.statuses) or "all", one.url, one.description)
        for one in found
    ]
    _table(found, ("ID", "STATE", "EVENTS", "ADDRESS", "DESCRIPTION"), rows, as_json=as_json)


@app.command()
@command
def change(
    room: "Strongroom",
    webhook_id: WebhookId,
    *,
    address: Annotated[str | None, typer.Option(help="another address")] = None,
    description: Description = None,
    status: Statuses = None,
    every: Annotated[bool, typer.Option("--every-status", help="events of every status again")] = False,
    as_json: AsJson = False,
) -> None:
    """Change what is given; the secrets stay."""
    if status and every:
        raise typer.BadParameter("say --status or --every-status, not both")
    wanted: Any = [one.value for one in status or ()] if status or every else None
    if address is None and description is None and wanted is None:
        raise typer.BadParameter("name what to change: --address, --description, --status or --every-status")
    _show(room.webhooks.update(webhook_id, url=address, description=description, statuses=wanted), as_json=as_json)


@app.command()
@command
def pause(room: "Strongroom", webhook_id: WebhookId, *, as_json: AsJson = False) -> None:
    """Deliver nothing for a while; what happens meanwhile is kept."""
    _show(room.webhooks.update(webhook_id, paused=True), as_json=as_json)


@app.command()
@command
def resume(room: "Strongroom", webhook_id: WebhookId, *, as_json: AsJson = False) -> None:
    """Deliver again, what was kept first."""
    _show(room.webhooks.update(webhook_id, paused=False), as_json=as_json)


@app.command()
@command
def remove(room: "Strongroom", webhook_id: WebhookId, *, yes: Yes = False) -> None:
    """Remove a webhook, its secrets and what waits for it."""
    confirmed(f"Remove webhook {webhook_id} and what waits for it?", yes)
    room.webhooks.remove(webhook_id)
    complain(f"{webhook_id} is removed")


@app.command()
@command
def secret(
    room: "Strongroom", webhook_id: WebhookId, *, secret_file: SecretFile = None, as_json: AsJson = False
) -> None:
    """Make another signing secret and show it this once; those before it sign too for a day."""
    _told(room.webhooks.rotate_secret(webhook_id), secret_file, as_json=as_json)


@app.command()
@command
def attempts(room: "Strongroom", webhook_id: WebhookId, *, as_json: AsJson = False) -> None:
    """Show the last hundred attempts to deliver, the newest first."""
    found = room.webhooks.attempts(webhook_id)
    rows = [
        (one.at, "yes" if one.delivered else "no", str(one.status or ""), one.reason or "", one.message_id)
        for one in found
    ]
    _table(found, ("TIME", "DELIVERED", "STATUS", "REASON", "MESSAGE"), rows, as_json=as_json)


@app.command("dead-letters")
@command
def dead_letters(room: "Strongroom", webhook_id: WebhookId, *, as_json: AsJson = False) -> None:
    """Show what was given up after three days, the oldest first."""
    found = room.webhooks.dead_letters(webhook_id)
    rows = [(one.given_up_at, one.reason, one.binding_id or "", one.message_id) for one in found]
    _table(found, ("GIVEN UP", "REASON", "BINDING", "MESSAGE"), rows, as_json=as_json)


@app.command()
@command
def replay(
    room: "Strongroom",
    webhook_id: WebhookId,
    *,
    after: Annotated[str, typer.Option(help="every event after this one's id; without it all that are kept")] = "",
    letters: Annotated[bool, typer.Option("--dead-letters", help="what was given up, in place of events")] = False,
) -> None:
    """Have events delivered again, under the ids they had."""
    if letters and after:
        raise typer.BadParameter("say --after or --dead-letters, not both")
    hooks = room.webhooks
    count = hooks.replay_dead_letters(webhook_id) if letters else hooks.replay(webhook_id, after=after or None)
    typer.echo(count)
    complain(f"{count} will be delivered again")


def _told(made: "WebhookSecret", secret_file: Path | None, *, as_json: bool) -> None:
    if secret_file and made.secret:
        try:
            write_private(secret_file, made.secret)
        except OSError as error:
            hint = f"make another one: strongroom webhooks secret {made.webhook.id}"
            raise LaunchError(f"{secret_file} cannot be written ({type(error).__name__}), {hint}") from None
    if as_json and not secret_file:
        typer.echo(dumped(made))
        return
    _show(made.webhook, as_json=as_json)
    if not secret_file:
        Screen().facts([("secret", f"{made.secret} (shown this once)")])


def _show(webhook: "Webhook", *, as_json: bool) -> None:
    if as_json:
        typer.echo(dumped(webhook))
        return
    screen = Screen()
    screen.line(f"{webhook.id}  {webhook.url}{' (paused)' if webhook.paused else ''}")
    facts = [("events", " ".join(webhook.statuses) or "all"), ("secret made", webhook.secret_made_at)]
    screen.facts([("description", webhook.description), *facts] if webhook.description else facts)


def _table(found: "Sequence[Any]", heads: "Sequence[str]", rows: "Sequence[Sequence[str]]", *, as_json: bool) -> None:
    if as_json:
        for one in found:
            typer.echo(dumped(one))
        return
    Screen().table(heads, rows)
