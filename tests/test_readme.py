"""The README's commands, run as they stand there against a stack of their own, and what it says they print."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.processes import clean_environment, free_port

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 240.0  # for a busy machine: what ends is noticed at once


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the README marked `language`, in order."""
    return [text for marked, text in FENCE.findall(README) if marked == language]


def shown(sample: str) -> list[str]:
    """Return what a sample of output promises: its lines up to an ellipsis, but none with an address or a path."""
    lines = (line.split("...")[0].rstrip() for line in sample.splitlines())
    return [line for line in lines if line.strip() and "8080" not in line and "stack.json" not in line]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run `strongroom up` in an empty folder, and yield that folder once the stack is up."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / ".venv").symlink_to(sys.prefix)
    settings = {"STRONGROOM_HOME": str(folder / ".strongroom"), "STRONGROOM_PORT": str(free_port())}
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli", "up"], cwd=folder, env=clean_environment(**settings), stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while "Ctrl-C stops it all" not in (folder / "up.log").read_text():
            assert process.poll() is None, (folder / "up.log").read_text()
            assert time.monotonic() < deadline, (folder / "up.log").read_text()
            time.sleep(0.05)
        yield folder
    finally:
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    assert not (folder / ".strongroom" / "stack.json").exists()


def test_the_first_two_commands_are_make_up_and_make_test() -> None:
    assert FENCE.findall(README)[0] == ("", "make up\nmake test\n")
    assert "$" not in README[: README.index("make up")]


def test_every_make_target_it_names_is_listed_by_make_help() -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    documents = README + (ROOT / "CONTRIBUTING.md").read_text()
    targets = set(re.findall(r"(?:^|`)(?:[A-Z_]+=\S+ )?make ([a-z-]+)", documents, re.MULTILINE))
    assert targets >= {"up", "demo", "test", "check", "protos", "locks"}
    assert targets <= {line.split()[0] for line in listed.splitlines()}


def test_make_up_prints_what_the_readme_shows(up: Path) -> None:
    printed = (up / "up.log").read_text()
    sample = next(block for block in blocks("") if block.startswith("unified-trader"))
    assert [line for line in shown(sample) if line not in printed] == []
    assert (up / ".strongroom" / "stack.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands need curl")
def test_the_commands_bind_follow_verify_refuse_execute_and_revoke(up: Path) -> None:
    ending = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script = "set -euo pipefail\n" + ending + "\n".join(blocks("sh"))
    with (up / "curl.log").open("wb") as log:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=up,
            env=clean_environment(),
            stdout=log,
            stderr=log,
            timeout=PATIENCE_S,
            check=False,
        )
    printed = (up / "curl.log").read_text()
    assert done.returncode == 0, printed
    refused = next(block for block in blocks("") if block.startswith("rejected"))
    assert [line for line in shown(refused) if line not in printed] == []
    events = re.findall(r'"status":"(\w+)","reason":(\S+?),', printed)
    assert events == [
        ("pending", "null"),
        ("connected", "null"),
        ("pending", "null"),
        ("rejected", '"invalid_secret"'),
        ("revoked", "null"),
        ("revoked", "null"),
    ]
    assert '"status": "connected"' in printed
    assert printed.count("204") >= 2
    assert "sealed: nobody here saw the secret" in printed
    assert re.search(r'^\{"code":"00000".*"orderId"', printed, re.MULTILINE), printed
    assert "refused  withdraw" in printed
    left = {path.name for path in (up / ".strongroom").iterdir()}
    assert not left & {"header", "bind.json", "wrong.json", "bound.json", "verified.json", "refused.json"}
