"""Own the floor: the same writes to OpenBao and the same calls to the exchange, bare, in the best order.

No gRPC, no queue, no audit, no verdict, no check of what comes back beyond its status. As a program it is one bare
client that verifies for a while: its task comes as JSON on standard input, its counts leave on standard output.
"""

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from common.clock import SystemClock
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from vault.hashicorp.login import SERVICE, Connection, Logins, Role, signer_role, tenant_role
from vault.hashicorp.transit import OAEP
from yarl import URL

from tests.bench.accounts import Account


@dataclass(frozen=True)
class Script:
    """The targets that a verification calls: `first` one after the other, `then` all at once."""

    first: tuple[str, ...]
    then: tuple[str, ...]

    @property
    def calls(self) -> int:
        """How many calls that is."""
        return len(self.first) + len(self.then)


@dataclass(frozen=True)
class Places:
    """Where everything is, and who the bare clients are."""

    vault_url: str
    bitget_url: str
    login_key: str
    tenant: str


class Pace:
    """Let `per_minute` calls through, evenly; 0: as many as may be."""

    def __init__(self, per_minute: float) -> None:
        self._interval = 60 / per_minute if per_minute else 0.0
        self._next = time.monotonic()

    async def turn(self) -> None:
        """Wait for this call's turn."""
        if self._interval:
            now = time.monotonic()
            at = max(self._next, now)
            self._next = at + self._interval
            if at > now:
                await asyncio.sleep(at - now)


class Bare:
    """One bare client; use as an async context manager."""

    def __init__(self, places: Places, pace: Pace | None = None) -> None:
        self._places = places
        self._logins = Logins(Connection(places.vault_url), Path(places.login_key), SystemClock())
        self._pace = pace or Pace(0)
        self._wrapping_key: RSAPublicKey | None = None
        self.calls = 0
        self.refused = 0

    async def __aenter__(self) -> "Bare":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=64), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def bind(self, account: Account, script: Script | None, pending: Any, judged: Any) -> str:
        """Make all writes of a bind, and the exchange calls between them; return the binding's id.

        What does not need one another goes at once: the claim, the import with its test, and the credential document;
        later the account, the holder and the rest of the calls.
        """
        name = os.urandom(16).hex()
        secret = {"api_key": account.api_key, "passphrase": account.passphrase}
        fingerprint, *_ = await asyncio.gather(
            self._claim(account, name), self._import(account, name), self.write("credentials", name, secret, 0)
        )
        await self.write("bindings", name, pending, 0)
        if script:
            for target in script.first:
                await self._call(account, name, target)
            await asyncio.gather(
                self.write("accounts", f"{account.uid}-{name}", {"members": {name: "live"}}, 0),
                self._vault(
                    SERVICE, "POST", f"strongroom/data/holders/{fingerprint}", _document({"holders": [name]}, 0)
                ),
                *(self._call(account, name, target) for target in script.then),
            )
            await self.write("bindings", name, judged, 1)
        return name

    async def verify(self, account: Account, name: str, script: Script) -> None:
        """Read the record, and make the exchange calls, each signed by Transit."""
        await self._vault(self._role, "GET", f"strongroom/data/bindings/{self._places.tenant}/{name}")
        for target in script.first:
            await self._call(account, name, target)
        await asyncio.gather(*(self._call(account, name, target) for target in script.then))

    async def write(self, collection: str, name: str, data: Any, cas: int) -> None:
        """Write one version of a document of the tenant."""
        path = f"strongroom/data/{collection}/{self._places.tenant}/{name}"
        await self._vault(self._role, "POST", path, _document(data, cas))

    @property
    def _role(self) -> Role:
        return tenant_role(self._places.tenant)

    async def _claim(self, account: Account, name: str) -> str:
        """Claim the key under its keyed fingerprint, which Transit makes."""
        body = {"input": _base64(f"api-key:1:{account.api_key}".encode())}
        made = await self._vault(SERVICE, "POST", "transit/hmac/strongroom-fingerprint/sha2-256", body)
        fingerprint = base64.b64decode(made["hmac"].rpartition(":")[2]).hex()
        await self.write("fp", fingerprint, {"binding_id": name, "claimed_at": int(time.time())}, 0)
        return fingerprint

    async def _import(self, account: Account, name: str) -> None:
        """Import the secret key and have it sign once."""
        if self._wrapping_key is None:
            told = await self._vault(SERVICE, "GET", "transit/wrapping_key")
            key = serialization.load_pem_public_key(told["public_key"].encode())
            assert isinstance(key, RSAPublicKey)
            self._wrapping_key = key
        ephemeral = os.urandom(32)
        wrapped = aes_key_wrap_with_padding(ephemeral, account.secret_key.encode())
        ciphertext = _base64(self._wrapping_key.encrypt(ephemeral, OAEP) + wrapped)
        body = {"type": "hmac", "hash_function": "SHA256", "ciphertext": ciphertext}
        await self._vault(self._role, "POST", f"transit/keys/{self._places.tenant}.{name}/import", body)
        await self.signature(name, os.urandom(16))

    async def _call(self, account: Account, name: str, target: str) -> None:
        """Make one exchange call, signed by Transit."""
        await self._pace.turn()
        stamp = str(int(time.time() * 1000))
        headers = {
            "ACCESS-KEY": account.api_key,
            "ACCESS-SIGN": await self.signature(name, f"{stamp}GET{target}".encode()),
            "ACCESS-TIMESTAMP": stamp,
            "ACCESS-PASSPHRASE": account.passphrase,
            "Content-Type": "application/json",
            "locale": "en-US",
        }
        url = URL(self._places.bitget_url + target, encoded=True)
        async with self._session.get(url, headers=headers, allow_redirects=False) as answer:
            await answer.read()
            self.calls += 1
            self.refused += answer.status == 429

    async def signature(self, name: str, message: bytes) -> str:
        """Return Transit's HMAC of a message by the key of a binding."""
        path = f"transit/hmac/{self._places.tenant}.{name}/sha2-256"
        made = await self._vault(signer_role(self._places.tenant), "POST", path, {"input": _base64(message)})
        return str(made["hmac"].rpartition(":")[2])

    async def _vault(self, role: Role, method: str, path: str, body: Any = None) -> dict[str, Any]:
        token = (await self._logins.token(role)).reveal()
        url = URL(f"{self._places.vault_url}/v1/{path}", encoded=True)
        async with self._session.request(method, url, json=body, headers={"X-Vault-Token": token}) as answer:
            raw = await answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path} answered {answer.status}")
        return json.loads(raw)["data"] if raw else {}


def _document(data: Any, cas: int) -> dict[str, Any]:
    return {"data": data, "options": {"cas": cas}}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


async def verify_for(
    places: Places, bound: Sequence[tuple[Account, str, Script]], *, seconds: float, at_once: int, per_minute: float
) -> dict[str, float]:
    """Verify the bound accounts over and over for `seconds`, `at_once` of them together; return what was done."""
    done, turn = 0, 0
    async with Bare(places, Pace(per_minute)) as bare:
        await bare.verify(*bound[0])  # connected and logged in
        bare.calls = 0
        started = time.monotonic()

        async def one() -> None:
            nonlocal done, turn
            while time.monotonic() < started + seconds:
                turn += 1
                await bare.verify(*bound[turn % len(bound)])
                done += 1

        await asyncio.gather(*(one() for _ in range(at_once)))
        took = time.monotonic() - started
    return {"verifications": done, "calls": bare.calls, "refused": bare.refused, "seconds": took}


async def clients(
    count: int,
    places: Places,
    bound: Sequence[tuple[Account, str, Script]],
    *,
    seconds: float,
    at_once: int,
    per_minute: float,
) -> list[dict[str, float]]:
    """Run `count` bare clients, each a process with its share of the accounts and of the pace; return their counts."""

    async def one(number: int) -> dict[str, float]:
        mine = bound[number * len(bound) // count : (number + 1) * len(bound) // count]
        share = [(asdict(account), name, asdict(script)) for account, name, script in mine]
        task = {"places": asdict(places), "bound": share, "seconds": seconds, "at_once": at_once}
        task["per_minute"] = per_minute / count
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.floor", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate(json.dumps(task).encode())
        counts: dict[str, float] = json.loads(told)
        return counts

    return await asyncio.gather(*(one(number) for number in range(count)))


def main() -> None:
    """Do the task on standard input."""
    task = json.load(sys.stdin)
    places = Places(**task.pop("places"))
    bound = [
        (Account(**account), name, Script(tuple(script["first"]), tuple(script["then"])))
        for account, name, script in task.pop("bound")
    ]
    print(json.dumps(uvloop.run(verify_for(places, bound, **task))))


if __name__ == "__main__":
    main()
