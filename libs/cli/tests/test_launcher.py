"""The launcher as people use it: whole processes, real servers, the sample bound through REST."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import clean_environment, free_port, port_is_free
from cli.sample import SampleClient
from cli.screen import Screen

from tests.integration.terminal import Terminal

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "cli"]
FIELDS = {"gateway_url", "verifier_target", "vault_target", "ca_file", "client_cert_file", "client_key_file"}
FIELDS |= {"bitget_url", "simulator_control_url", "redis_url", "vault_addr", "tenants", "admin_token", "sample_keys"}
FIELDS |= {"rsa_sample_keys"}


def environment(home: Path, port: int) -> dict[str, str]:
    return clean_environment(STRONGROOM_HOME=str(home), STRONGROOM_PORT=str(port))


def run(what: str, home: Path, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, what], env=environment(home, port), capture_output=True, text=True, timeout=240, check=False
    )


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def exists(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def described(home: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((home / "stack.json").read_text())
    return read


@contextmanager
def stack(home: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Run `strongroom up` until it is ready; end it with Ctrl-C, which must leave nothing running."""
    up = subprocess.Popen([*COMMAND, "up"], env=environment(home, port), stdout=subprocess.PIPE, text=True)
    try:
        assert up.stdout is not None
        for line in up.stdout:
            if "Ctrl-C" in line:
                break
        yield up
        if up.poll() is None:
            processes = described(home)["pids"]
            up.send_signal(signal.SIGINT)
            assert up.wait(120) == 0
            assert not any(exists(pid) for pid in processes.values())
    finally:
        up.kill()
        up.wait()
        assert up.stdout is not None
        up.stdout.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `stack.json` says of a stack that runs at a terminal; Ctrl-C there leaves nothing running."""
    home = tmp_path_factory.mktemp("running")
    with Terminal([*COMMAND, "up"], {**environment(home, free_port()), "TERM": "xterm"}) as up:
        up.expect("Ctrl-C")
        yield described(home)
        processes = described(home)["pids"]
        assert up.interrupt() == 0
        assert not any(exists(pid) for pid in processes.values())


def test_the_stack_survives_what_happens_to_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    with stack(home, port) as up:
        first = described(home)
        assert set(first) > FIELDS
        assert stat.S_IMODE((home / "stack.json").stat().st_mode) == 0o600
        assert all(exists(pid) for pid in first["pids"].values())

        second = run("up", home, free_port())
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "running already" in second.stderr
        assert described(home) == first

        taken = run("up", tmp_path / "other", port)
        assert (taken.returncode, taken.stderr.count("\n")) == (1, 1)
        assert f"Port {port} is taken" in taken.stderr

        os.kill(first["pids"]["worker"], signal.SIGKILL)
        until(lambda: described(home)["pids"]["worker"] != first["pids"]["worker"])

        processes = described(home)["pids"]
        up.kill()
        until(lambda: not any(exists(pid) for pid in processes.values()))

    again = run("demo", home, port)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "It was bound before" in again.stdout
    assert "connected" in again.stdout
    assert not (home / "stack.json").exists()
    assert port_is_free(port)
    key = first["sample_keys"][0]
    secrets = [key["api_key"], key["secret_key"], key["passphrase"], first["admin_token"], first["tenants"][0]["token"]]
    assert not any(secret in again.stdout + again.stderr for secret in secrets)


def test_a_revoked_sample_is_bound_anew(running: dict[str, Any]) -> None:
    token = running["tenants"][0]["token"]
    with httpx.Client(base_url=running["gateway_url"], headers={"Authorization": f"Bearer {token}"}) as client:
        bound = client.get("/v1/bindings").raise_for_status().json()["items"][0]
        assert bound["status"] == "connected"
        client.delete(f"/v1/bindings/{bound['id']}").raise_for_status()
    anew = SampleClient(running["gateway_url"], token, Screen()).connect(running["sample_keys"][0])
    assert anew.status == "connected"
    assert anew.id != bound["id"]


def test_a_key_that_was_bound_by_hand_is_found(running: dict[str, Any]) -> None:
    token, key = running["tenants"][0]["token"], running["sample_keys"][1]
    credential = {name: key[name] for name in ("api_key", "secret_key", "passphrase")}
    body = {"exchange": "bitget", "label": "mine", "subject": "me", "scopes": ["spot"], "credential": credential}
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "by-hand"}
    bound = httpx.post(f"{running['gateway_url']}/v1/bindings", json=body, headers=headers).raise_for_status().json()
    assert SampleClient(running["gateway_url"], token, Screen()).connect(key).id == bound["id"]


def test_a_refused_key_is_shown_with_its_reason_and_remedy(
    running: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {**running["sample_keys"][0], "name": "wrong", "api_key": "bg_00000000000000000000000000000000"}
    screen = Screen()
    seen = SampleClient(running["gateway_url"], running["tenants"][1]["token"], screen).connect(wrong)
    screen.details(seen)
    assert (seen.status, seen.reason) == ("rejected", "invalid_api_key")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["pending", "rejected"]
    assert any(seen.findings[0].remedy in line for line in lines)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("STRONGROOM_PROT", "1", "Unknown setting STRONGROOM_PROT"),
        ("STRONGROOM_PORT", "http", "STRONGROOM_PORT must be a port number"),
        ("STRONGROOM_BITGET_URL", "api.bitget.com", "STRONGROOM_BITGET_URL must be"),
    ],
)
def test_a_wrong_setting_is_told_in_one_line(tmp_path: Path, name: str, value: str, said: str) -> None:
    settings = {**environment(tmp_path / "home", 8080), name: value}
    ended = subprocess.run([*COMMAND, "demo"], env=settings, capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert said in ended.stderr
    assert not (tmp_path / "home").exists()
