"""Own `strongroom tenants`: an operator registers, shows, changes, disables and enables the tenants."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from common import strict_json

from cli.processes import LaunchError
from cli.room import AsJson, operators, text
from cli.screen import Screen, dumped

if TYPE_CHECKING:
    from strongroom_client import Strongroom
    from strongroom_client.resources import Tenant

app = typer.Typer(no_args_is_help=True, help="The platform's tenants (operators).")
TenantId = Annotated[str, typer.Argument(help="the tenant's id")]
Rules = Annotated[
    Path | None, typer.Option(help="JSON with the rules, as in the contract; it replaces them as a whole")
]
Quotas = Annotated[Path | None, typer.Option(help="JSON with the quotas; it replaces them as a whole")]


@app.command("list")
@operators
def listed(room: "Strongroom", *, as_json: AsJson = False) -> None:
    """List the tenants by their ids."""
    if as_json:
        for one in room.admin.tenants():
            typer.echo(dumped(one))
        return
    rows: list[Any] = [
        (one.id, "disabled" if one.disabled else "enabled", one.name, one.created_at or "")
        for one in room.admin.tenants()
    ]
    Screen().table(("ID", "STATE", "NAME", "MADE"), rows)


@app.command()
@operators
def show(room: "Strongroom", tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Show a tenant with its rules and quotas."""
    _show(room.admin.tenant(tenant_id), as_json=as_json)


@app.command()
@operators
def create(
    room: "Strongroom",
    name: Annotated[str, typer.Argument(help="a name for people")],
    *,
    rules: Rules = None,
    quotas: Quotas = None,
    as_json: AsJson = False,
) -> None:
    """Register a tenant under a fresh id; it can bind at once."""
    _show(room.admin.create_tenant(name, rules=_read(rules), quotas=_read(quotas)), as_json=as_json)


@app.command()
@operators
def change(
    room: "Strongroom",
    tenant_id: TenantId,
    *,
    name: Annotated[str | None, typer.Option(help="another name")] = None,
    rules: Rules = None,
    quotas: Quotas = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given, unless somebody else has changed the tenant meanwhile."""
    if name is None and rules is None and quotas is None:
        raise typer.BadParameter("name what to change: --name, --rules or --quotas")
    known = room.admin.tenant(tenant_id)
    changed = room.admin.change_tenant(tenant_id, name=name, rules=_read(rules), quotas=_read(quotas), etag=known.etag)
    _show(changed, as_json=as_json)


@app.command()
@operators
def disable(room: "Strongroom", tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Refuse every call of a tenant's tokens and sign nothing for it; it keeps its bindings."""
    _show(room.admin.disable_tenant(tenant_id), as_json=as_json)


@app.command()
@operators
def enable(room: "Strongroom", tenant_id: TenantId, *, as_json: AsJson = False) -> None:
    """Bring back all that disabling has held up."""
    _show(room.admin.enable_tenant(tenant_id), as_json=as_json)


def _show(tenant: "Tenant", *, as_json: bool) -> None:
    if as_json:
        typer.echo(dumped(tenant))
        return
    told = json.loads(dumped(tenant))
    screen = Screen()
    screen.line(f"{tenant.id}  {tenant.name}{' (disabled)' if tenant.disabled else ''}")
    screen.facts(
        [(name.replace("_", " "), _brief(value)) for name, value in {**told["rules"], **told["quotas"]}.items()]
    )


def _brief(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value) if value else "as usual"


def _read(file: Path | None) -> Any:
    if file is None:
        return None
    try:
        return strict_json.loads(text(file))
    except ValueError:
        raise LaunchError(f"{file} is no JSON, or has a name twice.") from None
