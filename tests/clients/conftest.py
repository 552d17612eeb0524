"""What a client must know to trade: nothing but an address and a key. They are the exchange's, which is the simulator
in a process of its own, or a binding's at Strongroom, with the same exchange behind the whole stack."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack
from simulator import config
from strongroom_client import Credential, Strongroom

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "clients.txt"
MODES = ("classic", "unified")
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Exchange:
    """A running simulator with its limits on."""

    url: str
    control_url: str

    def arrived(self) -> dict[str, int]:
        """Return how many requests came, by method and path."""
        counted: dict[str, int] = httpx.get(f"{self.control_url}/stats").json()["arrived"]
        return counted


@dataclass(frozen=True)
class Credentials:
    """What a client is given."""

    base_url: str
    mode: str
    api_key: str
    secret: str = field(repr=False)
    passphrase: str = field(repr=False)


@pytest.fixture(scope="session")
def clients_python() -> Path:
    """Make the clients' environment from its lock, once, and return its interpreter."""
    home = Path(sys.prefix) / "clients"
    python, made = home / "bin" / "python", home / "lock.txt"
    if not made.exists() or made.read_bytes() != LOCK.read_bytes():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home)], check=True)
        install = [*uv, "pip", "install", "--quiet", "--python", str(python), "--require-hashes", "-r", str(LOCK)]
        subprocess.run(install, check=True)
        made.write_bytes(LOCK.read_bytes())
    return python


@pytest.fixture(scope="session")
def running_exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    ready = tmp_path_factory.mktemp("exchange") / "ready.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--ready-file", str(ready)], stdout=subprocess.DEVNULL
    )
    try:
        yield _addresses(process, ready)
    finally:
        process.terminate()
        process.wait(10)


@dataclass(frozen=True)
class Platform:
    """The whole stack, with the sample keys bound: the exchange behind it, and what stands for each key."""

    exchange: Exchange
    credentials: dict[str, Credentials]


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("platform")
    with Stack(LaunchSettings(home, free_port(), None, "127.0.0.1", "info"), lambda _: None) as stack:
        stack.start()
        facts = stack.description
        token = facts["tenants"][0]["token"]
        with Strongroom(facts["gateway_url"], token) as room:
            bound = {mode: _bind(room, _sample(mode)) for mode in MODES}
        made = {
            mode: Credentials(f"{facts['gateway_url']}/v1/bindings/{name}/proxy", mode, token, "unused", "unused")
            for mode, name in bound.items()
        }
        yield Platform(Exchange(facts["bitget_url"], facts["simulator_control_url"]), made)


@pytest.fixture
def exchange(way: str, request: pytest.FixtureRequest) -> Exchange:
    """The simulator as at its start: no orders, untouched balances."""
    direct = way == "direct"
    found: Exchange = (
        request.getfixturevalue("running_exchange") if direct else request.getfixturevalue("platform").exchange
    )
    httpx.post(f"{found.control_url}/reset").raise_for_status()
    httpx.delete(f"{found.control_url}/stats").raise_for_status()
    return found


@pytest.fixture(params=MODES)
def credentials(way: str, request: pytest.FixtureRequest, exchange: Exchange) -> Credentials:
    """The sample key of a classic and of a unified account, or what stands for it at Strongroom."""
    if way == "proxy":
        platform: Platform = request.getfixturevalue("platform")
        return platform.credentials[request.param]
    row = _sample(request.param)
    return Credentials(exchange.url, request.param, row["api_key"], row["secret_key"], row["passphrase"])


def _sample(mode: str) -> dict[str, Any]:
    return next(dict(one) for one in config.read()["accounts"] if one["name"] == f"{mode}-trader")


def _bind(room: Strongroom, account: dict[str, Any]) -> str:
    """Bind an account, wait for its verdict however busy the machine is, and return the binding's name."""
    credential = Credential(account["api_key"], account["secret_key"], account["passphrase"])
    binding = room.bind(credential, wait=30)
    deadline = time.monotonic() + PATIENCE_S
    while binding.status != "connected" and time.monotonic() < deadline:
        binding = room.verify(binding.id, wait=30)
    assert binding.status == "connected"
    return binding.id


def _addresses(process: subprocess.Popen[bytes], ready: Path) -> Exchange:
    deadline = time.monotonic() + PATIENCE_S
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = json.loads(ready.read_text())
    return Exchange(told["url"], told["control_url"])
