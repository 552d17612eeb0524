"""The commands and the Python of the documents, run as they stand there against one stack of their own, and what they
say is printed. The commands of a document are one script, as a person pastes its blocks into one terminal.
"""

import asyncio
import inspect
import itertools
import json
import re
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import clean_environment, free_port

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATIENCE_S = 240.0  # for a busy machine: what ends is noticed at once


def blocks(language: str, text: str = README) -> list[str]:
    """Return the fenced blocks of a document marked `language`, in order."""
    return [block for marked, block in FENCE.findall(text) if marked == language]


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


def run(up: Path, text: str) -> str:
    """Run the `sh` blocks of a document in the stack's folder; return all that was printed once they succeed."""
    ending = "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"
    script = "set -euo pipefail\n" + ending + "\n".join(blocks("sh", text))
    log = up / "commands.log"
    with log.open("wb") as printed:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=up,
            env=clean_environment(),
            stdout=printed,
            stderr=printed,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, log.read_text()
    return log.read_text()


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
    printed = run(up, README)
    refused = next(block for block in blocks("") if block.startswith("rejected"))
    assert [line for line in shown(refused) if line not in printed] == []
    events = re.findall(r'"status":"(\w+)","reason":(\S+?),', printed)
    # The stream begins while the end of the binding before it may still be on its way.
    assert events[-6:] == [
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


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tutorial's commands need curl")
def test_the_tutorial_leads_from_nothing_to_a_trade_an_event_and_the_end_of_the_key(up: Path) -> None:
    text = (ROOT / "docs/tutorial.md").read_text()
    before = {path.name for path in (up / ".strongroom").iterdir()}
    printed = run(up, text)
    samples = [line for block in blocks("", text)[1:] for line in shown(block)]
    assert samples
    assert [line for line in samples if line not in printed] == []
    assert re.search(r'^\{"code":"00000".*"orderId"', printed, re.MULTILINE), printed
    assert '"status":"live"' in printed
    for rule in ("refused  withdraw", "(rule tenant_order_notional, ", "(rule tenant_symbol, "):
        assert rule in printed
    assert "43118" in printed  # the exchange's own: this client order id is taken
    told: dict[str, list[str]] = {}  # the statuses of each binding in the events that name changes
    for binding, status in re.findall(r"^\d{4}-\S+Z +(\w+) +(\w+)(?: \(\w+\))?  \[", printed, re.MULTILINE):
        told.setdefault(binding, []).append(status)
    seen = [[status for status, _ in itertools.groupby(one)] for one in told.values()]
    assert ["connected", "limited", "connected", "revoked"] in seen, printed
    assert "no longer connected" in printed
    assert "permissions.futures_trade yes to no" in printed
    assert "binding_revoked" in printed
    assert {path.name for path in (up / ".strongroom").iterdir()} == before


HOW_TO = {
    "docs/how-to/platform-team.md": ["retry: 2000", "connected with version 2", "204", '"bindings": 500'],
    "docs/how-to/service-author.md": ['"orderId"', '"list":[{', "executed: 200", "of a stream: 2 signed"],
    "docs/how-to/sre.md": ["connected", "The trail holds."],
    "docs/how-to/security-officer.md": [
        *("found in: account.json key.json", "(rule frozen, ", "The trail holds.", "  revoked")
    ],
}


@pytest.mark.skipif(shutil.which("curl") is None, reason="the how-tos' commands need curl")
@pytest.mark.parametrize("name", HOW_TO)
def test_a_how_to_does_what_it_says(up: Path, name: str) -> None:
    before = {path.name for path in (up / ".strongroom").iterdir()}
    printed = run(up, (ROOT / name).read_text())
    assert [words for words in HOW_TO[name] if words not in printed] == []
    assert {path.name for path in (up / ".strongroom").iterdir()} == before


def test_every_how_to_with_commands_is_run() -> None:
    written = {path for path in ROOT.glob("docs/how-to/*.md") if blocks("sh", path.read_text())}
    assert {path.relative_to(ROOT).as_posix() for path in written} == HOW_TO.keys()


SNIPPETS = [
    pytest.param(text, id=f"{name}-{number}")
    for name in ("libs/client/README.md", "docs/client.md")
    for number, text in enumerate(blocks("python", (ROOT / name).read_text()))
]


@pytest.fixture
def names(up: Path) -> Iterator[dict[str, Any]]:
    """Return what Python in documents takes for granted: addresses, a token, a certificate, a binding, a free key."""
    facts = json.loads((up / ".strongroom" / "stack.json").read_text())
    token = facts["tenants"][0]["token"]
    key = next(one for one in facts["sample_keys"] if one["name"] == "classic-trader")
    files = {name: facts[f"client_{name}"] for name in ("cert_file", "key_file")}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=facts["gateway_url"], headers=headers, timeout=40, trust_env=False) as http:
        there = {one["label"]: one["id"] for one in http.get("/v1/bindings?status=connected").json()["items"]}
        yield {
            **{name: key[name] for name in ("api_key", "secret_key", "passphrase")}, **files, "token": token,
            "ca_file": facts["ca_file"], "url": facts["gateway_url"], "target": facts["verifier_target"],
            "binding_id": there["unified-trader"],
        }  # fmt: skip
        for one in http.get("/v1/bindings").json()["items"]:  # leave the key unbound for the next one
            if one["id"] != there["unified-trader"]:
                http.delete(f"/v1/bindings/{one['id']}")


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_what_the_documents_show_in_python_runs(names: dict[str, Any], snippet: str, capsys: Any) -> None:
    told = {name: value for name, value in names.items() if re.search(rf"\b{name}\b", snippet)}
    function = f"async def shown({', '.join(told)}):\n{textwrap.indent(snippet, '    ')}"
    made: dict[str, Any] = {}
    exec(compile(function, "snippet", "exec"), made)
    assert inspect.iscoroutinefunction(made["shown"])
    asyncio.run(made["shown"](**told))
    printed = capsys.readouterr().out
    assert printed.strip()
    assert names["secret_key"] not in printed
