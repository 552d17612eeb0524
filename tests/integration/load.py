"""Own what customers do while something fails: they bind, read, revoke and have things signed, and a history keeps it.

An answer of 429 or 503 is a clear no; anything cut is not known. It asserts nothing by itself.
"""

import asyncio
import contextlib
import itertools
import json
import secrets
import threading
from collections import defaultdict
from typing import Any, Self

import httpx
from common.errors import StrongroomError
from common.rpc import client as rpc
from common.rpc.tls import Identity
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from tests.history import History
from tests.integration.conftest import Driver

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
REVOKE_EACH = 3
Event = dict[str, Any]


class Follower(threading.Thread):
    """A customer's event stream, which connects again wherever it was cut."""

    def __init__(self, driver: Driver, tenant: int) -> None:
        super().__init__(daemon=True)
        self.events: list[Event] = []
        self.resets = 0
        self.ending = threading.Event()
        self.opened = threading.Event()
        self._driver, self._tenant, self._last = driver, tenant, ""

    def run(self) -> None:
        while not self.ending.is_set():
            headers = {"Last-Event-ID": self._last} if self._last else {}
            with (
                contextlib.suppress(httpx.HTTPError),
                self._driver.client(self._tenant, **headers) as http,
                http.stream("GET", "/v1/events", timeout=20) as answer,
            ):
                if answer.status_code == 200:
                    self.opened.set()
                    self._read(answer)
            self.ending.wait(0.2)

    def _read(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(":")
            if line:
                fields |= {name: value.strip()} if name else {}
                continue
            if fields.get("event") == "reset":
                self.resets, self._last = self.resets + 1, ""
            elif "event" in fields:
                self._last = fields["id"]
                self.events.append(json.loads(fields["data"]))
            fields = {}
            if self.ending.is_set():
                return

    def told(self) -> dict[str, list[Event]]:
        """Return the events of each binding in the order in which they came."""
        found: dict[str, list[Event]] = defaultdict(list)
        for event in list(self.events):
            found[event["binding_id"]].append(event)
        return found


class Load:
    """Customers of the first two tenants at work until the end of the context; then `history` tells what they did."""

    def __init__(self, driver: Driver) -> None:
        self.history = History()
        self.followers = [Follower(driver, tenant) for tenant in (0, 1)]
        self.bound: dict[str, int] = {}
        self.revoked: set[str] = set()
        self.doubtful: set[str] = set()  # a DELETE of these was not answered by 204: they may have ended or not
        self.keys: dict[str, dict[str, Any]] = {}
        self._driver = driver
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._customer, args=(tenant,)) for tenant in (0, 1)]
        self._threads.append(threading.Thread(target=lambda: asyncio.run(self._sign())))

    def __enter__(self) -> Self:
        for follower in self.followers:
            follower.start()
            assert follower.opened.wait(20)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def settle(self) -> None:
        """Take what was not answered for what the record says of it."""
        for binding in list(self.doubtful):
            with self._driver.client(self.bound[binding]) as http:
                if http.get(f"/v1/bindings/{binding}").raise_for_status().json()["status"] == "revoked":
                    self.revoked.add(binding)

    def close(self) -> None:
        """Stop reading events."""
        for follower in self.followers:
            follower.ending.set()

    def done(self, kind: Any) -> int:
        """Return how many operations of a kind went well."""
        return len(self.history.of(kind))

    def _id(self, tenant: int) -> str:
        return str(self._driver.facts["tenants"][tenant]["id"])

    def _customer(self, tenant: int) -> None:
        """Bind a key and at once the same again, read, and with each third one end the oldest there is."""
        with self._driver.client(tenant) as http:
            for number in itertools.count():
                if self._ending.is_set():
                    return
                credential = self._driver.account()
                self._bind(http, tenant, credential)
                self._bind(http, tenant, credential)
                mine = [one for one, owner in list(self.bound.items()) if owner == tenant]
                for each in mine[-6:]:
                    self._get(http, tenant, each)
                if number % REVOKE_EACH == REVOKE_EACH - 1:
                    self._revoke(http, tenant, next(one for one in mine if one not in self.revoked))
                self._ending.wait(0.1)

    def _bind(self, http: httpx.Client, tenant: int, credential: dict[str, Any]) -> str:
        body = {"exchange": "bitget", "subject": "load", "scopes": ["spot"], "credential": credential}
        key = {"Idempotency-Key": secrets.token_hex(8)}
        tag = self._id(tenant)
        with self.history.op("bind", tag, key=credential["api_key"]) as op, contextlib.suppress(httpx.HTTPError):
            answer = http.post("/v1/bindings", json=body, headers=key)
            op.outcome = "ok" if answer.status_code in (201, 202) else "fail" if answer.is_client_error else "info"
            if op.outcome == "ok":
                op.binding = answer.json()["id"]
                self.keys[op.binding] = credential
                self.bound[op.binding] = tenant
        return op.binding

    def _get(self, http: httpx.Client, tenant: int, binding: str) -> None:
        with self.history.op("read", self._id(tenant), binding) as op, contextlib.suppress(httpx.HTTPError):
            answer = http.get(f"/v1/bindings/{binding}")
            if answer.status_code in (200, 404):
                op.outcome = "ok"
                live = answer.json().get("status") != "revoked"
                op.found = {"tag": self._id(tenant), "live": live} if answer.status_code == 200 else None

    def _revoke(self, http: httpx.Client, tenant: int, binding: str) -> None:
        self.doubtful.add(binding)
        with self.history.op("revoke", self._id(tenant), binding) as op, contextlib.suppress(httpx.HTTPError):
            if http.delete(f"/v1/bindings/{binding}").status_code == 204:
                op.outcome = "ok"
                self.revoked.add(binding)
                self.doubtful.discard(binding)

    async def _sign(self) -> None:
        """Have something signed for each binding in turn, revoked ones too, as the worker pool does."""
        folder = self._driver.stack.home / "pki"
        identity = Identity(folder / "worker.pem", folder / "worker.key", folder / "ca.pem")
        channel = rpc.channel(self._driver.facts["vault_target"], "vault", identity)
        stub = SignerStub(channel)
        while not self._ending.is_set():
            for binding, tenant in list(self.bound.items())[-12:]:
                with self.history.op("sign", self._id(tenant), binding) as op, contextlib.suppress(StrongroomError):
                    request = SignRequest(tenant_id=self._id(tenant), binding_id=binding, requests=[INFO])
                    await rpc.call(stub.Sign, request, timeout_s=5)
                    op.outcome, op.found = "ok", {"tag": self._id(tenant), "live": True}
            await asyncio.sleep(0.05)
        await channel.close()
