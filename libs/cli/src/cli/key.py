"""Own how a key of the exchange comes to the command line: asked for without being shown, or read from a file.

It is never an argument, and no message repeats anything of it.
"""

import getpass
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import typer

from cli.processes import LaunchError
from cli.room import text

if TYPE_CHECKING:
    from strongroom_client import Credential

PARTS: Final = ("api_key", "secret_key", "passphrase")
FromFile = Annotated[
    Path | None, typer.Option(help="JSON with api_key, secret_key, passphrase, key_type; - reads standard input")
]
PrivateKey = Annotated[Path | None, typer.Option(help="the PEM file of a user-generated (RSA) key")]


def wanted(from_file: Path | None, private_key: Path | None) -> "Credential":
    """Return the key of a file, or as somebody types or pastes it; raise LaunchError for what is none."""
    from strongroom_client import Credential  # noqa: PLC0415  a wrong option is told faster without it

    if from_file and private_key:
        raise LaunchError("--from-file and --private-key exclude each other.")
    return Credential(**(_read(from_file) if from_file else _asked(private_key)))


def _asked(private_key: Path | None) -> dict[str, Any]:
    if not sys.stdin.isatty():
        raise LaunchError("There is no terminal to ask at: use --from-file.")
    api_key = getpass.getpass("API key: ").strip()
    if private_key is None:
        secret, key_type = getpass.getpass("Secret key: ").strip(), "hmac"
    else:
        secret, key_type = text(private_key), "rsa"
    passphrase = getpass.getpass("Passphrase: ").strip()
    return _complete({"api_key": api_key, "secret_key": secret, "passphrase": passphrase, "key_type": key_type})


def _read(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(sys.stdin.read() if str(file) == "-" else text(file))
    except ValueError:
        raise LaunchError("The key must be one JSON object.") from None
    if not isinstance(told, dict) or not all(isinstance(value, str) for value in told.values()):
        raise LaunchError("The key must be one JSON object of texts.")
    if unknown := told.keys() - {*PARTS, "key_type"}:
        raise LaunchError(f"The key has {len(unknown)} fields too many; known are {', '.join(PARTS)}, key_type.")
    return _complete({"key_type": "hmac", **cast("dict[str, str]", told)})


def _complete(key: dict[str, str]) -> dict[str, Any]:
    missing = [name for name in PARTS if not key.get(name)]
    if missing:
        raise LaunchError(f"The key lacks {', '.join(missing)}.")
    if key["key_type"] not in ("hmac", "rsa"):
        raise LaunchError("key_type must be hmac or rsa.")
    return key
