"""Own a command's way to the gateway: where it is, with whose token, and what a failure is to whoever typed it.

A token is read from its file for each call, so that it may be replaced meanwhile; it is no argument and never printed.
"""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.processes import LaunchError
from cli.settings import LaunchSettings

if TYPE_CHECKING:
    from strongroom_client import Strongroom

REFUSED: Final = 1
NOT_CONNECTED: Final = 3  # it was done, and the key is not connected
UNAVAILABLE: Final = 4  # nothing was done, or what was done can be repeated without a second effect
OUTCOME_UNKNOWN: Final = 5  # it may have been done: look before it is repeated
Url = Annotated[str, typer.Option(envvar="STRONGROOM_URL", help="the gateway; without it the stack on this machine")]
TokenFile = Annotated[Path | None, typer.Option(envvar="STRONGROOM_TOKEN_FILE", help="the file with your access token")]
CaFile = Annotated[
    Path | None, typer.Option(envvar="STRONGROOM_CA_FILE", help="the authority of the gateway's certificate (PEM)")
]
TenantName = Annotated[
    str, typer.Option(envvar="STRONGROOM_TENANT", help="which tenant of the stack on this machine: name or id")
]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON value a line, for programs")]
_WHERE: Final[dict[str, tuple[Any, Any]]] = {
    "url": (Url, ""), "token_file": (TokenFile, None), "ca_file": (CaFile, None), "tenant": (TenantName, ""),
}  # fmt: skip


def command(run: Callable[..., None]) -> Callable[..., None]:
    """Return `run` as a tenant's command: its client is made of four options more, its failures end the process."""
    return _command(run, _WHERE)


def operators(run: Callable[..., None]) -> Callable[..., None]:
    """Return `run` as a command of the platform's operator, as `command` does; a token names no tenant then."""
    return _command(run, {name: option for name, option in _WHERE.items() if name != "tenant"})


def _command(run: Callable[..., None], where: dict[str, tuple[Any, Any]]) -> Callable[..., None]:
    @functools.wraps(run)
    def started(**given: Any) -> None:
        own = {name: value for name, value in given.items() if name not in where}
        with failures(), _room(admin="tenant" not in where, **{name: given[name] for name in where}) as room:
            run(room, **own)

    own = list(inspect.signature(run).parameters.values())[1:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=usual, annotation=kind)
        for name, (kind, usual) in where.items()
    ]
    made: Any = started  # typer reads its options from these two
    made.__signature__ = inspect.Signature([*own, *options])
    made.__annotations__ = {one.name: one.annotation for one in [*own, *options]}
    return started


@contextmanager
def failures() -> Iterator[None]:
    """End with one line, the findings that came with a refusal, and the exit status that says what to do."""
    from strongroom_client import ApiError, OutcomeUnknown, StrongroomError, Throttled, Unavailable  # noqa: PLC0415

    try:
        yield
    except StrongroomError as error:
        complain(str(error))
        for finding in error.findings if isinstance(error, ApiError) else ():
            complain(f"{finding.title}. {finding.remedy}")
        status = UNAVAILABLE if isinstance(error, Unavailable | Throttled) else REFUSED
        raise typer.Exit(OUTCOME_UNKNOWN if isinstance(error, OutcomeUnknown) else status) from None


def complain(line: str) -> None:
    """Write one line of ours to standard error."""
    sys.stderr.write(f"strongroom: {printable(line)}\n")


def printable(line: str) -> str:
    """Return a line without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in line)


def text(file: Path) -> str:
    """Return the text of a file that somebody named; raise LaunchError when it cannot be read."""
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"{file} cannot be read ({type(error).__name__}).") from None


def _room(*, admin: bool, url: str, token_file: Path | None, ca_file: Path | None, tenant: str = "") -> "Strongroom":
    from strongroom_client import Strongroom  # noqa: PLC0415  a wrong option is told faster without it

    if ca_file:
        text(ca_file)
    authority = str(ca_file) if ca_file else None
    if not url and token_file is None:
        return Strongroom(*_stack(tenant, admin=admin), ca_file=authority)
    if token_file is None:
        raise LaunchError("--url needs --token-file.")
    if not url:
        raise LaunchError("--token-file needs --url.")
    once = text(token_file).strip()  # a pipe tells it once

    def token() -> str:
        return text(token_file).strip() if token_file.is_file() else once

    try:
        return Strongroom(url, token, ca_file=authority)
    except OSError as error:
        raise LaunchError(f"{ca_file} is no authority ({type(error).__name__}).") from None


def _stack(tenant: str, *, admin: bool) -> tuple[str, str]:
    """Return address and token of the stack that runs on this machine."""
    file = LaunchSettings.from_environment().home / "stack.json"
    if not file.exists():
        raise LaunchError(f"No stack runs here ({file} is missing): start one, or give --url and --token-file.")
    stack = json.loads(file.read_text())
    if admin:
        return stack["gateway_url"], stack["admin_token"]
    found = [one for one in stack["tenants"] if tenant in ("", one["name"], one["id"])]
    if not found:
        raise LaunchError(f"The stack has no tenant {tenant}.")
    return stack["gateway_url"], found[0]["token"]
