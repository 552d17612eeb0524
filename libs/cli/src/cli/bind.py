"""Own `strongroom bind`: ask for a key without showing it, seal its secret, bind it, say what came of it.

The secret leaves this process sealed unless `--plain` is given. It is never an argument, and never printed.
"""

import getpass
import json
import secrets
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from cli.processes import LaunchError
from cli.screen import Screen
from cli.settings import LaunchSettings

WAIT_S: Final = 30
NOT_CONNECTED: Final = 3
PARTS: Final = ("api_key", "secret_key", "passphrase")
Key = dict[str, str]


class Scope(StrEnum):
    """What a binding may be used for."""

    SPOT = "spot"
    FUTURES = "futures"


def bind(
    *,
    scope: Annotated[list[Scope], typer.Option(help="may be given twice")] = [Scope.SPOT, Scope.FUTURES],  # noqa: B006
    label: Annotated[str, typer.Option(help="a name for people")] = "",
    subject: Annotated[str, typer.Option(help="your own customer's id")] = "",
    from_file: Annotated[
        Path | None, typer.Option(help="JSON with api_key, secret_key, passphrase, key_type; - reads standard input")
    ] = None,
    private_key: Annotated[Path | None, typer.Option(help="the PEM file of a user-generated (RSA) key")] = None,
    url: Annotated[str, typer.Option(help="the gateway; without it the stack on this machine")] = "",
    token_file: Annotated[Path | None, typer.Option(help="the file with your access token")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="the authority of the gateway's certificate (PEM)")] = None,
    tenant: Annotated[str, typer.Option(help="which tenant of the stack on this machine")] = "",
    fingerprint: Annotated[str, typer.Option(help="seal to the wrapping key with this fingerprint only")] = "",
    plain: Annotated[bool, typer.Option("--plain", help="send the secret unsealed")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="wait for the verdict; exit 3 unless connected")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the binding as JSON")] = False,
) -> None:
    """Bind a key of the exchange. Its values are asked for and not shown; its secret is sealed before it leaves."""
    from cli.rest import Rest  # noqa: PLC0415  a wrong option is told faster without it

    if plain and fingerprint:
        raise LaunchError("--plain and --fingerprint exclude each other.")
    where, token = (url, _token(token_file)) if url or token_file else _stack(tenant)
    key = _asked(private_key) if from_file is None else _read(from_file)
    body: dict[str, Any] = {"exchange": "bitget", "label": label, "subject": subject, "scopes": list(scope)}
    headers = {"Idempotency-Key": secrets.token_hex(16), **({"Prefer": f"wait={WAIT_S}"} if wait else {})}
    with Rest(where, token, ca_file) as rest:
        body["credential"] = key if plain else _sealed(key, rest.call("GET", "/v1/exchanges/bitget"), fingerprint)
        binding = rest.call("POST", "/v1/bindings", json=body, headers=headers)
    _show(binding, as_json=as_json)
    raise typer.Exit(NOT_CONNECTED if wait and binding["status"] != "connected" else 0)


def _show(binding: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(binding, indent=2) + "\n")
        return
    screen = Screen()
    screen.status(binding["id"], binding)
    screen.line(f"  {'credential':<14}{binding['credential']['api_key_hint']} {_how(binding)}")
    screen.details(binding)


def _how(binding: Mapping[str, Any]) -> str:
    return "(sealed: nobody here saw the secret)" if binding["credential"]["sealed"] else "(not sealed)"


def _sealed(key: Key, guide: Mapping[str, Any], pinned: str) -> Key:
    """Return the credential with its secret sealed to the wrapping key of the guide."""
    from cli.sealing import WrappingKey, hmac_secret, rsa_secret  # noqa: PLC0415

    if not guide.get("wrapping_key"):
        raise LaunchError("The gateway tells no wrapping key at the moment: try again.")
    wrapping = WrappingKey(str(guide["wrapping_key"]["public_key"]))
    if pinned and pinned.strip().lower() != wrapping.fingerprint:
        raise LaunchError("The gateway's wrapping key has another fingerprint: nothing was sent.")
    made = hmac_secret(key["secret_key"]) if key["key_type"] == "hmac" else rsa_secret(key["secret_key"].encode())
    sealed = {"wrapped_secret": wrapping.seal(made), "wrapping_key_fingerprint": wrapping.fingerprint}
    return {**{name: value for name, value in key.items() if name != "secret_key"}, **sealed}


def _asked(private_key: Path | None) -> Key:
    """Return the key as somebody types or pastes it; nothing of it is shown."""
    if not sys.stdin.isatty():
        raise LaunchError("There is no terminal to ask at: use --from-file.")
    api_key = getpass.getpass("API key: ").strip()
    if private_key is None:
        secret, key_type = getpass.getpass("Secret key: ").strip(), "hmac"
    else:
        secret, key_type = _text(private_key), "rsa"
    passphrase = getpass.getpass("Passphrase: ").strip()
    return _complete({"api_key": api_key, "secret_key": secret, "passphrase": passphrase, "key_type": key_type})


def _read(file: Path) -> Key:
    """Return the key of a JSON file; raise LaunchError without repeating anything of it."""
    try:
        told = json.loads(sys.stdin.read() if str(file) == "-" else _text(file))
    except ValueError:
        raise LaunchError("The key must be one JSON object.") from None
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise LaunchError("The key must be one JSON object of texts.")
    if unknown := told.keys() - {*PARTS, "key_type"}:
        raise LaunchError(f"The key has {len(unknown)} fields too many; known are {', '.join(PARTS)}, key_type.")
    return _complete({"key_type": "hmac", **told})


def _complete(key: Key) -> Key:
    missing = [name for name in PARTS if not key.get(name)]
    if missing:
        raise LaunchError(f"The key lacks {', '.join(missing)}.")
    if key["key_type"] not in ("hmac", "rsa"):
        raise LaunchError("key_type must be hmac or rsa.")
    return key


def _stack(tenant: str) -> tuple[str, str]:
    """Return address and token of the stack that runs on this machine."""
    file = LaunchSettings.from_environment().home / "stack.json"
    if not file.exists():
        raise LaunchError(f"No stack runs here ({file} is missing): start one, or give --url and --token-file.")
    stack = json.loads(file.read_text())
    found = [one for one in stack["tenants"] if tenant in ("", one["name"], one["id"])]
    if not found:
        raise LaunchError(f"The stack has no tenant {tenant}.")
    return stack["gateway_url"], found[0]["token"]


def _token(file: Path | None) -> str:
    if file is None:
        raise LaunchError("--url needs --token-file.")
    return _text(file).strip()


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LaunchError(f"{file} cannot be read ({type(error).__name__}).") from None
