"""Own `strongroom reconcile`: have every record in Vault compared with what Redis knows, and see how far that is.

It asks the workers, by the one key that they look at, and does nothing itself. Its address is never shown.
"""

import json
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from cli.processes import LaunchError
from cli.room import UNAVAILABLE, complain, text
from cli.screen import Screen
from cli.settings import LaunchSettings

if TYPE_CHECKING:
    import redis

POLL_S: Final = 0.2
# The workers' own names (verifier.missed, verifier.reconcile), which a test compares: the image has no code of theirs.
WANTED: Final = "sr:{reconcile}:wanted"
WANTED_S: Final = 86_400
CURSOR: Final = "sr:{reconcile}:cursor"


def reconcile(
    *,
    redis_url: Annotated[
        str, typer.Option(envvar="STRONGROOM_REDIS_URL", help="Redis; without it that of the stack on this machine")
    ] = "",
    redis_password_file: Annotated[
        Path | None, typer.Option(envvar="STRONGROOM_REDIS_PASSWORD_FILE", help="the file with its password")
    ] = None,
    wait: Annotated[bool, typer.Option(help="wait until it is done")] = True,
) -> None:
    """Have every record compared with Redis now: a worker begins within STRONGROOM_RECONCILE_SECONDS (operators)."""
    from redis.exceptions import RedisError  # noqa: PLC0415  the other commands start faster without it

    try:
        with _connected(redis_url, redis_password_file) as server:
            server.set(WANTED, secrets.token_hex(8), ex=WANTED_S)
            complain("the workers are asked for it")
            if wait:
                _follow(server)
    except RedisError as error:
        complain(f"Redis cannot be asked ({type(error).__name__})")
        raise typer.Exit(UNAVAILABLE) from None


def _follow(server: "redis.Redis") -> None:
    """Return once no worker is asked any more: its round was a whole one, and has ended."""
    screen = Screen(err=True)
    told = ""
    with screen.busy("Waiting for a worker"):
        while server.exists(WANTED):
            done, total = server.hmget(CURSOR, ["done", "total"])
            if done and total and (now := f"{int(done)} of {int(total)} records are compared") != told:
                screen.progress(now)
                told = now
            time.sleep(POLL_S)
    complain("every record is compared")


def _connected(url: str, password_file: Path | None) -> "redis.Redis":
    """Return a client of that Redis, or of the stack that runs on this machine."""
    import redis  # noqa: PLC0415

    if not url:
        file = LaunchSettings.from_environment().home / "stack.json"
        if not file.exists():
            raise LaunchError(f"No stack runs here ({file} is missing): start one, or give --redis-url.")
        url = json.loads(file.read_text())["redis_url"]
    password: dict[str, Any] = {"password": text(password_file).strip()} if password_file else {}
    try:
        return redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=2, **password)
    except ValueError:
        raise LaunchError("--redis-url must begin with redis:// or rediss://.") from None
