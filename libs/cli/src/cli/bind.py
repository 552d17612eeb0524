"""Own `strongroom bind` and `strongroom rotate`: a key's way in. What came of it is said, and is the exit status.

The secret leaves this process sealed unless `--plain` is given. It is never an argument, and never printed.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli import key
from cli.processes import LaunchError
from cli.room import NOT_CONNECTED, AsJson, command
from cli.screen import Screen, dumped, waiting

if TYPE_CHECKING:
    from strongroom_client import Binding, Strongroom

WAIT_S: Final = 30
Fingerprint = Annotated[str, typer.Option(help="seal to the wrapping key with this fingerprint only")]
Plain = Annotated[bool, typer.Option("--plain", help="send the secret unsealed")]
Wait = Annotated[bool, typer.Option("--wait", help="wait for the verdict; exit 3 unless connected")]


class Scope(StrEnum):
    """What a binding may be used for."""

    SPOT = "spot"
    FUTURES = "futures"


@command
def bind(
    room: "Strongroom",
    *,
    scope: Annotated[list[Scope], typer.Option(help="may be given twice")] = [Scope.SPOT, Scope.FUTURES],  # noqa: B006
    label: Annotated[str, typer.Option(help="a name for people")] = "",
    subject: Annotated[str, typer.Option(help="your own customer's id")] = "",
    from_file: key.FromFile = None,
    private_key: key.PrivateKey = None,
    fingerprint: Fingerprint = "",
    plain: Plain = False,
    wait: Wait = False,
    as_json: AsJson = False,
) -> None:
    """Bind a key of the exchange. Its values are asked for and not shown; its secret is sealed before it leaves."""
    credential = key.wanted(from_file, private_key)
    with waiting(wait, "Waiting for the verdict"):
        binding = room.bind(
            credential,
            scopes=[one.value for one in scope],
            label=label,
            subject=subject,
            wait=WAIT_S if wait else 0,
            **_how(plain, fingerprint),
        )
    _show(binding, as_json=as_json)
    raise typer.Exit(NOT_CONNECTED if wait and binding.status != "connected" else 0)


@command
def rotate(
    room: "Strongroom",
    binding_id: Annotated[str, typer.Argument(help="the binding's id")],
    *,
    from_file: key.FromFile = None,
    private_key: key.PrivateKey = None,
    fingerprint: Fingerprint = "",
    plain: Plain = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait until it is in use; exit 3 unless it is")] = False,
    as_json: AsJson = False,
) -> None:
    """Replace a binding's key by a new one of the same account; until that is proven the old one stays in use."""
    credential = key.wanted(from_file, private_key)
    with waiting(wait, "Waiting until the new key is in use"):
        binding = room.rotate(binding_id, credential, wait=WAIT_S if wait else 0, **_how(plain, fingerprint))
    _show(binding, as_json=as_json)
    raise typer.Exit(NOT_CONNECTED if wait and binding.rotation is not None else 0)


def _how(plain: bool, fingerprint: str) -> dict[str, Any]:
    if plain and fingerprint:
        raise LaunchError("--plain and --fingerprint exclude each other.")
    return {"plain": plain, "fingerprint": fingerprint or None}


def _show(binding: "Binding", *, as_json: bool) -> None:
    if as_json:
        typer.echo(dumped(binding))
        return
    screen = Screen()
    screen.status(binding.id, binding)
    screen.details(binding)
