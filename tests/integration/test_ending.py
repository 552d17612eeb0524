"""Each process is told to end while it is at work: what it has begun is finished, and it ends within its time."""

import asyncio
import http.client
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import pytest
import redis
from cli.processes import Child
from common import context
from common.errors import Unavailable
from common.rpc import client
from common.rpc.tls import Identity
from strongroom.signing.v1 import signing_service_pb2 as signing
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from tests.integration.conftest import Driver, eventually
from tests.integration.load import INFO
from tests.integration.test_proxy import ASSETS, Bound
from tests.integration.test_using_a_key import Service, asked

GRACE_S = 10
CUSTOMERS, STREAMS = 8, 4


@pytest.fixture(scope="module")
def bound(running: Driver) -> Bound:
    return Bound(running)


def end(child: Child) -> int:
    """Tell a process to end; return its exit status, or fail when it takes longer than it may."""
    assert child.process is not None
    child.ask_to_stop()
    began = time.monotonic()
    status = child.process.wait(GRACE_S)
    print(f"{child.name} ended after {time.monotonic() - began:.1f} s")
    return status


class Customer(threading.Thread):
    """One connection that asks again and again until it is told to connect elsewhere, as a balancer's does."""

    def __init__(self, bound: Bound) -> None:
        super().__init__(daemon=True)
        place = urlsplit(bound.base)
        self._connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        self._path, self._token = place.path, bound.token
        self.answers: list[int] = []
        self.cut = ""

    def run(self) -> None:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        read = json.dumps({"method": "GET", "path": ASSETS})
        for number in range(10_000):
            try:
                if number % 2:
                    self._connection.request("GET", self._path, headers=headers)
                else:
                    self._connection.request("POST", self._path + "/requests", read, headers)
                answer = self._connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.cut = repr(error)
                return
            self.answers.append(answer.status)
            if answer.getheader("Connection") == "close":
                return


class Reader(threading.Thread):
    """One open event stream; `whole` when it ended as streams end, and was not cut."""

    def __init__(self, driver: Driver) -> None:
        super().__init__(daemon=True)
        self._driver, self.opened, self.whole = driver, threading.Event(), False

    def run(self) -> None:
        with self._driver.client() as client, client.stream("GET", "/v1/events", timeout=60) as answer:
            assert answer.status_code == 200
            self.opened.set()
            self.whole = "".join(answer.iter_text()).endswith("retry: 2000\n\n")


@pytest.fixture
def slow(driver: Driver, bound: Bound) -> Iterator[None]:
    """Let the exchange take its time with the account's assets, so that calls are under way at any moment."""
    driver.faults({"kind": "latency", "seconds": 0.3, "account": bound.account["api_key"], "path": ASSETS})
    yield
    driver.faults()


@pytest.mark.bar(54)
@pytest.mark.usefixtures("slow")
def test_a_gateway_that_ends_answers_all_that_was_asked_and_ends_its_streams(driver: Driver, bound: Bound) -> None:
    customers = [Customer(bound) for _ in range(CUSTOMERS)]
    readers = [Reader(driver) for _ in range(STREAMS)]
    for thread in (*readers, *customers):
        thread.start()
    assert all(reader.opened.wait(20) for reader in readers)
    eventually(lambda: all(customer.answers for customer in customers))
    gateway = driver.child("gateway")
    assert end(gateway) == 0
    for thread in (*readers, *customers):
        thread.join(GRACE_S)
    gateway.start()
    assert [customer.cut for customer in customers] == [""] * CUSTOMERS
    assert {status for customer in customers for status in customer.answers} == {200}
    assert all(reader.whole for reader in readers)


def trail(driver: Driver) -> list[dict[str, Any]]:
    """Return the audit trail."""
    files = sorted((driver.stack.home / "audit").iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def begun(driver: Driver, bound: Bound) -> int:
    """Return how many of the account's assets were asked for by callers, as the trail says before each is signed."""
    wanted = {"binding": bound.id, "path": ASSETS, "service": "verifier", "phase": "intent"}
    return sum(wanted.items() <= line.items() for line in trail(driver))


@pytest.fixture
async def service(driver: Driver) -> AsyncIterator[Service]:
    facts = driver.facts
    identity = Identity(*(Path(facts[name]) for name in ("client_cert_file", "client_key_file", "ca_file")))
    async with client.channel(facts["verifier_target"], "verifier", identity) as opened:
        yield Service(driver, opened)


@pytest.mark.bar(54)
async def test_a_verifier_that_ends_hands_on_every_answer_and_ends_its_streams(
    driver: Driver, bound: Bound, service: Service
) -> None:
    """The calls under way take longer than a stop usually does; what comes too late is told so."""
    driver.faults({"kind": "latency", "seconds": 4, "account": bound.account["api_key"], "path": ASSETS})
    stream: Any = service.stub.SignStream(timeout=60, metadata=(("authorization", service.token),))
    request = asked("GET", "/api/v3/account/info")
    await stream.write(signing.SignStreamRequest(id=1, binding_id=bound.id, request=request))
    assert (await stream.read()).id == 1
    before = begun(driver, bound)
    wanted = [asyncio.create_task(service.execute(bound.id, asked("GET", ASSETS))) for _ in range(CUSTOMERS)]
    await asyncio.to_thread(eventually, lambda: begun(driver, bound) == before + CUSTOMERS)
    ended = asyncio.create_task(asyncio.to_thread(end, driver.child("verifier")))
    late = await asyncio.to_thread(eventually, lambda: refused(bound))
    assert (late.json()["code"], late.headers["retry-after"]) == ("unavailable", "2")
    assert await ended == 0
    told = [body["code"] for _, body in await asyncio.gather(*wanted)]
    assert told == ["00000"] * CUSTOMERS
    assert await stream.code() is grpc.StatusCode.UNAVAILABLE  # go on elsewhere; what was read was answered
    driver.faults()
    await asyncio.to_thread(driver.child("verifier").start)


def refused(bound: Bound) -> Any:
    answer = bound.execute(method="GET", path="/api/v3/account/info")
    return answer if answer.status_code == 503 else None


@pytest.mark.bar(54)
async def test_a_vault_service_that_ends_signs_all_that_it_has_begun(driver: Driver, bound: Bound) -> None:
    folder, done, missed = driver.stack.home / "pki", set(), set()
    identity = Identity(folder / "worker.pem", folder / "worker.key", folder / "ca.pem")
    wanted = SignRequest(tenant_id=driver.facts["tenants"][0]["id"], binding_id=bound.id, requests=[INFO])

    async def sign(stub: SignerStub) -> None:
        """Have things signed until nobody is there; keep the names of the calls."""
        while True:
            name = secrets.token_hex(16)
            context.current.set(context.accept(name, None))
            try:
                await client.call(stub.Sign, wanted, timeout_s=20)
            except Unavailable:
                missed.add(name)
                return
            done.add(name)

    async with client.channel(driver.facts["vault_target"], "vault", identity) as channel:
        calls = [asyncio.create_task(sign(SignerStub(channel))) for _ in range(4 * CUSTOMERS)]
        await asyncio.to_thread(eventually, lambda: len(done) > 4 * CUSTOMERS)
        assert await asyncio.to_thread(end, driver.child("vault")) == 0
        await asyncio.gather(*calls)
    lines = trail(driver)
    phases = {name: [line["phase"] for line in lines if line.get("request_id") == name] for name in done | missed}
    assert all(phases[name] == ["intent", "outcome"] for name in done)
    assert all(not phases[name] for name in missed)  # not begun: a repeat is safe
    assert len(missed) == 4 * CUSTOMERS
    await asyncio.to_thread(driver.child("vault").start)
    await asyncio.to_thread(eventually, lambda: driver.bind(driver.account()).status_code == 201)


def connected(driver: Driver) -> Any:
    """Bind a key and return the binding with its verdict: a service that was just started may take its time."""
    made = driver.bind(driver.account()).json()
    with driver.client() as http:
        return eventually(
            lambda: found if (found := http.get(f"/v1/bindings/{made['id']}").json())["last_verified_at"] else None
        )


@pytest.mark.bar(54)
def test_a_worker_that_ends_finishes_its_jobs_and_leaves_the_others_to_the_next(driver: Driver) -> None:
    bindings = [connected(driver) for _ in range(CUSTOMERS)]
    driver.faults({"kind": "latency", "seconds": 1, "path": "/api/v3/account/info"})
    worker = driver.child("worker")
    with driver.client() as http, redis.Redis.from_url(driver.facts["redis_url"]) as server:
        assert all(http.post(f"/v1/bindings/{one['id']}/verify").status_code == 202 for one in bindings)
        held = lambda: server.xpending("sr:{jobs}:asked", "workers")["pending"]  # noqa: E731
        eventually(lambda: held() > 0)
        assert end(worker) == 0
        said = [json.loads(line) for line in worker.log_file.read_text().splitlines() if '"worker_drained"' in line]
        assert said[-1]["count"] == 0  # nothing was given up
        assert held() == 0
        worker.start()
        driver.faults()
        for one in bindings:
            path = f"/v1/bindings/{one['id']}"
            eventually(lambda path=path, one=one: http.get(path).json()["last_verified_at"] > one["last_verified_at"])
            assert http.get(path).json()["status"] == "connected"
        assert server.xlen("sr:{jobs}:dead") == 0
