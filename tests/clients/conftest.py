"""A simulator in a process of its own, and what a client must know to use it: nothing but an address and a key. Another
address in place of the exchange's is one more value of `base_url`."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from simulator import config

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "clients.txt"
MODES = ("classic", "unified")


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


@pytest.fixture
def exchange(running_exchange: Exchange) -> Exchange:
    """The simulator as at its start: no orders, untouched balances."""
    httpx.post(f"{running_exchange.control_url}/reset").raise_for_status()
    httpx.delete(f"{running_exchange.control_url}/stats").raise_for_status()
    return running_exchange


@pytest.fixture
def base_url(exchange: Exchange) -> str:
    """Where clients send their requests."""
    return exchange.url


@pytest.fixture(params=MODES)
def credentials(request: pytest.FixtureRequest, base_url: str) -> Credentials:
    """The sample key of a classic and of a unified account."""
    rows = config.read()["accounts"]
    row = next(one for one in rows if one["name"] == f"{request.param}-trader")
    return Credentials(base_url, request.param, row["api_key"], row["secret_key"], row["passphrase"])


def _addresses(process: subprocess.Popen[bytes], ready: Path) -> Exchange:
    deadline = time.monotonic() + 30
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    told = json.loads(ready.read_text())
    return Exchange(told["url"], told["control_url"])
