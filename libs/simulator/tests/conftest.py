"""A caller that signs for itself (with `cryptography`, apart from the code under test) and an exchange whose clock
stands still."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from simulator import Account, Exchange, Setup, build_app, config
from simulator.calls import Table

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
NOW = 1_700_000_000_000


class Clock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self.ms = NOW

    def __call__(self) -> int:
        return self.ms


class Caller:
    """Signs and sends requests as one account's owner; header values given to `call` replace those made here, None
    drops one."""

    def __init__(self, http: httpx.AsyncClient, account: Account, clock: Clock) -> None:
        self._http, self._account, self._clock = http, account, clock

    def headers(self, method: str, target: str, body: str = "") -> dict[str, str]:
        timestamp = str(self._clock.ms)
        mac = HMAC(self._account.secret_key.encode(), SHA256())
        mac.update(f"{timestamp}{method}{target}{body}".encode())
        demo = {"paptrading": "1"} if self._account.demo else {}
        return {
            "ACCESS-KEY": self._account.api_key,
            "ACCESS-SIGN": base64.b64encode(mac.finalize()).decode(),
            "ACCESS-TIMESTAMP": timestamp,
            "ACCESS-PASSPHRASE": self._account.passphrase,
            **demo,
        }

    async def call(self, target: str, changed: dict[str, str | None] | None = None) -> httpx.Response:
        merged = {**self.headers("GET", target), **(changed or {})}
        return await self._http.get(
            target, headers={name: value for name, value in merged.items() if value is not None}
        )

    async def post(self, target: str, body: Any = None) -> httpx.Response:
        sent = json.dumps({} if body is None else body)
        headers = {**self.headers("POST", target, sent), "Content-Type": "application/json"}
        return await self._http.post(target, headers=headers, content=sent)

    async def ask(self, target: str, body: Any = None) -> Any:
        """Return the data of a GET, or of a POST with `body`; fails when it is refused."""
        reply = (await (self.call(target) if body is None else self.post(target, body))).json()
        assert reply["code"] == "00000", reply
        return reply["data"]

    async def refusal(self, target: str, body: Any) -> str:
        return str((await self.post(target, body)).json()["code"])

    async def code(self, target: str, changed: dict[str, str | None] | None = None) -> str:
        return str((await self.call(target, changed)).json()["code"])


@pytest.fixture
def vectors() -> dict[str, Any]:
    return VECTORS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_account() -> Callable[..., Account]:
    """An account with the vectors' credentials; keyword arguments are fields of the YAML form."""

    def make(**changed: Any) -> Account:
        base = {
            "name": "one",
            "api_key": VECTORS["key"],
            "passphrase": VECTORS["passphrase"],
            "uid": "1001",
            "permissions": ["uta_mgt", "uta_trade"],
            "authorities": ["stor", "stow", "coor", "coow"],
        }
        secret = {} if "public_key_pem" in changed else {"secret_key": VECTORS["secret"]}
        return config.account({**base, **secret, **changed})

    return make


@pytest.fixture
async def serve(clock: Clock) -> AsyncIterator[Callable[..., tuple[Exchange, Caller]]]:
    """Return an exchange holding these accounts and a caller for the first; requests come from 198.51.100.4."""
    clients: list[httpx.AsyncClient] = []

    def start(*accounts: Account, endpoints: Table | None = None) -> tuple[Exchange, Caller]:
        exchange = Exchange(Setup(accounts=accounts), clock)
        transport = httpx.ASGITransport(build_app(exchange, endpoints), client=("198.51.100.4", 40000))
        clients.append(httpx.AsyncClient(transport=transport, base_url="http://exchange.test"))
        return exchange, Caller(clients[-1], accounts[0], clock)

    yield start
    for client in clients:
        await client.aclose()
