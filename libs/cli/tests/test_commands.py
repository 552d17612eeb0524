"""What holds for every command, without a stack: help, completion, and nothing secret among the arguments."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli import reconcile
from cli.__main__ import app
from cli.processes import LaunchError, clean_environment
from cli.settings import LaunchSettings
from typer.main import get_command
from verifier import missed
from verifier.reconcile import CURSOR

STRONGROOM = Path(sys.executable).with_name("strongroom")
WANTED = {
    "bind", "list", "show", "watch", "verify", "rotate", "revoke", "execute", "balances", "freeze create",
    "freeze list", "freeze lift", "tenants list", "tenants show", "tenants create", "tenants change", "tenants disable",
    "tenants enable", "audit list", "audit report", "audit verify", "audit heads", "policy explain", "reconcile",
    "simulator", "up", "demo", "bootstrap", "revocations start", "revocations show",
    *(f"webhooks {word}" for word in ("add", "list", "change", "pause", "resume", "remove", "secret", "attempts")),
    "webhooks dead-letters", "webhooks replay",
}  # fmt: skip


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command that does something, with its name as it is typed."""
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
        return
    for word, one in inner.items():
        yield from commands(one, f"{name} {word}".strip())


ALL = dict(commands(get_command(app)))


def ran(*words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**settings)
    return subprocess.run([STRONGROOM, *words], env=environment, capture_output=True, text=True, check=False)


def test_every_command_is_there_and_says_what_it_does() -> None:
    assert ALL.keys() == WANTED
    assert all(one.help and one.help.rstrip().endswith((".", "options.")) for one in ALL.values())


def test_no_argument_or_option_takes_a_secret_or_a_token() -> None:
    named = {(name, word) for name, one in ALL.items() for parameter in one.params for word in parameter.opts}
    secret = ("secret", "passphrase", "password", "token", "api-key", "api_key")
    risky = {(name, word) for name, word in named if any(part in word for part in secret)}
    assert {word for _, word in risky} <= {"--token-file", "--redis-password-file", "--secret-file"}
    assert len(named) > 60


@pytest.mark.parametrize(
    ("token", "words", "said"),
    [
        (b"t\xc3\xb6ken", [], "as access token is none"),
        (b"one\ntwo", [], "as access token is none"),
        (b"", [], "as access token is none"),
        (b"\xff\xfe", [], "cannot be read"),
        (b"canary", ["--url", "https://[::1"], "must begin with https://"),
        (b"canary", ["--url", "https://"], "must begin with https://"),
        (b"canary", ["--url", "http://192.0.2.1"], "must begin with https://"),
        (b"canary", ["--ca-file", "/etc/hostname"], "is no authority"),
        (b"canary", ["--ca-file", "/nothing/there"], "cannot be read"),
        (b"canary", ["--subject", "\udcff"], "no text in UTF-8"),
    ],
)
def test_a_wrong_way_to_the_gateway_is_one_line_without_the_token(
    tmp_path: Path, token: bytes, words: list[str], said: str
) -> None:
    (tmp_path / "token").write_bytes(token)
    done = ran("list", "--url", "http://127.0.0.1:1", "--token-file", str(tmp_path / "token"), *words)
    assert (done.returncode in (1, 2), done.stdout, done.stderr.count("\n")) == (True, "", 1), done.stderr
    assert said in done.stderr
    assert "canary" not in done.stderr


def test_what_tells_a_command_where_the_gateway_is_stops_no_stack() -> None:
    told = {"STRONGROOM_URL": "https://x", "STRONGROOM_TOKEN_FILE": "x", "STRONGROOM_CA_FILE": "x"}
    assert LaunchSettings.from_environment({**told, "STRONGROOM_TENANT": "x"}).port == 8080
    with pytest.raises(LaunchError, match="STRONGROOM_TOKEN"):
        LaunchSettings.from_environment({"STRONGROOM_TOKEN": "x"})


def test_a_comparison_is_asked_for_by_the_names_that_the_workers_know() -> None:
    assert (reconcile.WANTED, reconcile.WANTED_S) == (missed.WANTED, missed.WANTED_S)
    assert reconcile.CURSOR == CURSOR


@pytest.mark.parametrize("words", [[], ["--help"], ["freeze", "--help"], ["execute", "--help"]])
def test_help_is_plain_text(words: list[str]) -> None:
    done = ran(*words)
    assert "Usage: strongroom" in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_offered_for_each_shell(shell: str) -> None:
    script = ran("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (script.returncode, "_STRONGROOM_COMPLETE" in script.stdout) == (0, True), script.stderr


def test_bash_completes_commands_options_and_their_values(tmp_path: Path) -> None:
    path = f"{STRONGROOM.parent}:{os.environ['PATH']}"
    script = ran("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1").stdout
    (tmp_path / "completion").write_text(script)
    for typed, offered in ((["re"], "revoke"), (["freeze", "l"], "lift"), (["list", "--status", "con"], "connected")):
        words = " ".join(f"'{word}'" for word in ("strongroom", *typed))
        asked = f"source completion; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _strongroom_completion strongroom"
        shell = subprocess.run(
            ["bash", "-c", f"{asked}; printf '%s\\n' \"${{COMPREPLY[@]}}\""],
            cwd=tmp_path, env=clean_environment() | {"PATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert offered in shell.stdout.split(), shell.stdout + shell.stderr
