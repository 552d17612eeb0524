"""Own `strongroom execute`: one call of the exchange through a binding. Its answer is the exchange's, unchanged.

The body of the answer is on standard output, what we have to say on standard error. Nothing is repeated here.
"""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import unquote

import typer
from common import strict_json

from cli.room import REFUSED, AsJson, command, complain, printable

if TYPE_CHECKING:
    from strongroom_client import Answer, Strongroom

DONE: Final = "00000"  # the exchange's code for a call that it has carried out


@command
def execute(
    room: "Strongroom",
    binding_id: Annotated[str, typer.Argument(help="the binding's id")],
    method: Annotated[str, typer.Argument(help="GET or POST")],
    target: Annotated[str, typer.Argument(help="path of the exchange, with a query if there is one", metavar="PATH")],
    body: Annotated[str, typer.Argument(help="JSON body of a POST; - reads standard input")] = "",
    *,
    idempotency_key: Annotated[
        str,
        typer.Option(help="an order without a client order id gets one that follows from it: a repeat has one effect"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Have one call signed and sent. Exit 0 if the exchange has done it, 1 if it or our policy refused."""
    path, query = _split(target)
    answer = room.execute(
        binding_id,
        method,
        path,
        query=query,
        body=_body(sys.stdin.read() if body == "-" else body),
        idempotency_key=idempotency_key or None,
    )
    if as_json:
        typer.echo(json.dumps(_told(answer)))
    else:
        _write(answer.content)
    if answer.reason:
        complain(answer.reason)
    raise typer.Exit(0 if _done(answer) else REFUSED)


def _split(target: str) -> tuple[str, dict[str, str] | None]:
    """Return path and decoded query; a name that comes twice has two readings."""
    path, _, text = target.partition("?")
    pairs = [pair.partition("=") for pair in text.split("&")] if text else []
    query = {unquote(name): unquote(value) for name, _, value in pairs}
    if len(query) != len(pairs):
        raise typer.BadParameter("a name comes twice in the query")
    return path, query or None


def _body(text: str) -> Any:
    try:
        return strict_json.loads(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(f"the body is no JSON ({type(error).__name__}), or has a name twice") from None


def _done(answer: "Answer") -> bool:
    try:
        told = answer.json()
    except ValueError:
        return answer.is_success
    return answer.is_success and (not isinstance(told, dict) or told.get("code", DONE) == DONE)


def _told(answer: "Answer") -> dict[str, Any]:
    """Return all of an answer; its body as it is read, or as text when it is no JSON."""
    try:
        body = answer.json()
    except ValueError:
        body = answer.content.decode(errors="replace")
    return {"status": answer.status, "reason": answer.reason, "headers": dict(answer.headers), "body": body}


def _write(content: bytes) -> None:
    """Write the body as it came, and for a person without what a terminal would obey."""
    if sys.stdout.isatty():
        lines = content.decode(errors="replace").splitlines()
        sys.stdout.write("".join(f"{printable(line)}\n" for line in lines))
        return
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()
