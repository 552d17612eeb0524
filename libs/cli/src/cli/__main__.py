"""The `strongroom` command. Thin: reads settings, runs the stack, turns an error into one line and exit status 1."""

import json
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli import audit, bindings, freeze, revocations, tenants, webhooks
from cli.bind import bind, rotate
from cli.execute import execute
from cli.processes import LaunchError
from cli.reconcile import reconcile
from cli.screen import Screen
from cli.settings import LaunchSettings
from cli.watch import watch

if TYPE_CHECKING:
    from cli.stack import Stack

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a trace with the values of variables could show a secret
    rich_markup_mode=None,  # plain lines, the same in a terminal and in a log
    help="Strongroom: keys of an exchange, bound once and used without being seen. Exit status: 0 done; 1 refused; "
    "2 wrong option; 3 done, and not connected; 4 not available, a repeat does no harm; 5 it may have been done, look; "
    "130 Ctrl-C.",
)
for run in (
    bind,
    bindings.show,
    watch,
    bindings.verify,
    bindings.balances,
    rotate,
    bindings.revoke,
    execute,
    reconcile,
):
    app.command()(run)
app.command("list")(bindings.listed)
policy = typer.Typer(no_args_is_help=True, help="What may be signed.")
app.add_typer(policy, name="policy")
app.add_typer(audit.app, name="audit")
app.add_typer(freeze.app, name="freeze")
app.add_typer(tenants.app, name="tenants")
app.add_typer(revocations.app, name="revocations")
app.add_typer(webhooks.app, name="webhooks")
EVERYTHING = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
WATCH_PERIOD = 0.5
WRONG = 2  # as typer says of a wrong option
STOPPED = 130  # as a shell says of Ctrl-C
SERVICES = ("gateway", "vault", "verifier")  # what the image of the command line does not hold


class What(StrEnum):
    """What `bootstrap` prepares."""

    IDENTITIES = "identities"
    VAULT = "vault"


class BindingScope(StrEnum):
    """What a binding may be used for."""

    SPOT = "spot"
    FUTURES = "futures"


class Stopped(BaseException):
    """Somebody asked us to end: Ctrl-C, SIGTERM, or the terminal is gone."""


@app.command()
def up() -> None:
    """Start the whole stack, bind a sample key, stay up until Ctrl-C."""
    raise typer.Exit(_run(stay=True))


@app.command()
def demo() -> None:
    """Start the whole stack, bind a sample key, exit 0 once it is connected."""
    raise typer.Exit(_run(stay=False))


@app.command(context_settings=EVERYTHING)
def simulator(context: typer.Context) -> None:
    """Run the Bitget simulator alone; `strongroom simulator --help` lists its options."""
    from simulator.__main__ import main as simulate  # noqa: PLC0415  the other commands start faster without it

    raise typer.Exit(simulate(context.args))


@app.command()
def bootstrap(
    what: Annotated[What, typer.Argument(help="identities: certificates and tokens; vault: initialise and unseal")],
    home: Annotated[Path, typer.Option(help="folder with one folder per process")] = Path("/run/strongroom"),
    url: Annotated[str, typer.Option(help="address of the Vault to unseal")] = "https://hashicorp-vault:8200",
) -> None:
    """Prepare what docker-compose.yml starts: certificates and tokens, or an initialised and unsealed Vault."""
    from cli.bootstrap import unseal_vault, write_identities  # noqa: PLC0415

    try:
        write_identities(home) if what is What.IDENTITIES else unseal_vault(home, url)
    except (LaunchError, OSError) as error:
        sys.stderr.write(f"strongroom: {error}\n")
        raise typer.Exit(1) from None


@policy.command()
def explain(
    method: Annotated[str, typer.Argument(help="GET or POST")],
    target: Annotated[str, typer.Argument(help="path of the exchange, with a query if there is one")],
    body: Annotated[str, typer.Argument(help="JSON body of a POST")] = "",
    *,
    scope: Annotated[
        list[BindingScope] | None, typer.Option(help="scope of the binding; both, if none is named")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    tenant_rules: Annotated[
        Path | None, typer.Option(help="JSON of a tenant's rules, of the tenant over REST, or the file of tenants")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="id of a tenant in the file of tenants")] = None,
) -> None:
    """Say whether a request would be signed, by which rule and why. Exit 0 if it would be, 1 if it is refused."""
    from vault.denials import NONE  # noqa: PLC0415

    from cli.explain import denials_in  # noqa: PLC0415
    from cli.explain import explain as explained  # noqa: PLC0415

    try:
        denials = denials_in(tenant_rules, tenant) if tenant_rules else NONE
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error), param_hint="--tenant-rules") from None
    found = explained(method, target, body, [one.value for one in scope or BindingScope], denials)
    typer.echo(json.dumps(found.as_dict()) if as_json else found.text())
    raise typer.Exit(0 if found.allowed else 1)


def _run(*, stay: bool) -> int:
    """Run the stack; return 0, or 1 when it cannot run (one line says why) or a demo's sample is not connected."""
    screen = Screen()
    try:
        with _stoppable():
            return _launch(LaunchSettings.from_environment(), screen, stay=stay)
    except Stopped:
        screen.line("Stopped.")
        return 0 if stay else 1
    except LaunchError as error:
        sys.stderr.write(f"strongroom: {error}\n")
        return 1


def _launch(settings: LaunchSettings, screen: Screen, *, stay: bool) -> int:
    from cli.stack import Stack  # noqa: PLC0415  a wrong setting is told faster without it

    with Stack(settings, screen.progress) as stack:
        with screen.busy("Starting Strongroom"):
            stack.start()
        if not stay:
            return 0 if _bind_sample(stack, screen) else 1
        try:
            _bind_sample(stack, screen)
        except LaunchError as error:
            screen.line(f"The sample key could not be bound: {error}", "red")
        return _watch(stack, screen)


def _watch(stack: "Stack", screen: Screen) -> NoReturn:
    """Keep everything running until somebody asks us to end."""
    screen.line(f"REST     {stack.description['gateway_url']}/v1")
    screen.line(f"Console  {stack.description['console_url']}")
    screen.line(f"Everything else is in {stack.file}. Ctrl-C stops it all.")
    while True:
        stack.revive()
        time.sleep(WATCH_PERIOD)


def _bind_sample(stack: "Stack", screen: Screen) -> bool:
    """Bind the first sample key; tell whether it is connected. With a real exchange there is nothing to bind."""
    from cli.sample import SampleClient  # noqa: PLC0415

    if not stack.description["sample_keys"]:
        screen.line("No sample key is bound on a real exchange.")
        return True
    client = SampleClient(stack.description["gateway_url"], stack.description["tenants"][0]["token"], screen)
    binding = client.connect(stack.description["sample_keys"][0])
    screen.details(binding)
    return binding.status == "connected" and not binding.stale


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn the signals that ask us to end into Stopped, so that every `finally` runs."""

    def stop(_number: int, _frame: object) -> NoReturn:
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    yield


def main() -> None:
    """Run the command line; what a person can act on is one line, and so is Ctrl-C."""
    try:
        with _stoppable():
            app()
    except LaunchError as error:
        sys.stderr.write(f"strongroom: {error}\n")
        sys.exit(1)
    except UnicodeEncodeError:
        sys.stderr.write("strongroom: an argument is no text in UTF-8\n")
        sys.exit(WRONG)
    except ModuleNotFoundError as error:
        if error.name not in SERVICES:
            raise
        sys.stderr.write(f"strongroom: this needs the package strongroom-{error.name}, which is not installed here\n")
        sys.exit(1)
    except Stopped:
        sys.stderr.write("strongroom: stopped\n")
        sys.exit(STOPPED)


if __name__ == "__main__":
    main()
