"""The embedded OpenBao: first start, second start, kill, pause, and what it keeps on disk."""

import stat
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import pytest
from cli.openbao import OpenBao
from cli.processes import LaunchError


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as made:
        yield made


def write(client: httpx.Client, server: OpenBao, value: str) -> None:
    headers = {"X-Vault-Token": server.root_token}
    client.put(f"{server.url}/v1/cubbyhole/kept", headers=headers, json={"value": value}).raise_for_status()


def read(client: httpx.Client, server: OpenBao) -> str:
    answer = client.get(f"{server.url}/v1/cubbyhole/kept", headers={"X-Vault-Token": server.root_token})
    return str(answer.raise_for_status().json()["data"]["value"])


def test_state_survives_a_stop_a_kill_and_a_start_on_another_port(tmp_path: Path, client: httpx.Client) -> None:
    with OpenBao(tmp_path / "bao") as server:
        write(client, server, "one")
        server.kill()
        server.start()
        assert read(client, server) == "one"
    started = time.monotonic()
    with OpenBao(tmp_path / "bao") as again:
        assert time.monotonic() - started < 5
        assert again.port != server.port
        assert read(client, again) == "one"


def test_everything_it_keeps_is_private_and_every_request_is_audited(tmp_path: Path, client: httpx.Client) -> None:
    with OpenBao(tmp_path / "bao") as server:
        write(client, server, "two")
        for name in ("init.json", "seal.key", "openbao.hcl", "audit.log", "logs/openbao.log"):
            assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600, name
        audit = (server.home / "audit.log").read_text()
        assert '"path":"cubbyhole/kept"' in audit
        assert server.root_token not in audit


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path, client: httpx.Client) -> None:
    with OpenBao(tmp_path / "bao") as server:
        pass
    (server.home / "init.json").unlink()
    (server.home / "initialising").touch()
    with OpenBao(tmp_path / "bao") as again:
        write(client, again, "three")


def test_state_without_its_token_is_never_thrown_away(tmp_path: Path) -> None:
    with OpenBao(tmp_path / "bao") as server:
        pass
    (server.home / "init.json").unlink()
    with pytest.raises(LaunchError, match=r"init\.json is gone"):
        OpenBao(tmp_path / "bao").__enter__()
    assert any((server.home / "raft").iterdir())


def test_a_paused_server_does_not_answer_and_goes_on_when_resumed(tmp_path: Path, client: httpx.Client) -> None:
    with OpenBao(tmp_path / "bao") as server:
        server.pause()
        asked = iter(lambda: client.get(f"{server.url}/v1/sys/health", timeout=0.3).status_code, None)
        with pytest.raises(httpx.ReadTimeout):  # the signal may reach the program a moment after the first request
            list(islice(asked, 20))
        server.resume()
        assert client.get(f"{server.url}/v1/sys/health").status_code == 200
        server.pause()
    assert not server.alive
