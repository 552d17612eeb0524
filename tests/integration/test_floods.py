"""Floods on the whole stack, in their full size: what cannot be served is refused or closed, and memory stays bounded.

The gateway is measured by the kernel's own account of it, from a fresh start to its highest point.
"""

import asyncio
import contextlib
import resource
import secrets
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import pytest
from cli.tokens import TokenIssuer

from tests.integration.conftest import Driver, eventually
from tests.integration.test_incidents import operator
from tests.integration.test_proxy import ASSETS, Bound

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's account of memory")

HUGE, PIECE = 64 << 20, 1 << 20
DEEP = b'{"data":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
JSON = {"Content-Type": "application/json"}
EACH = 50  # streams that a tenant may have
# What a flood may add to the gateway's memory at its highest; docs/benchmarks.md has what was measured.
ANY_MB, STREAM_KB, CONNECTION_KB = 24, 90, 110
FILES = 12_000


def memory(pid: int, field: str = "VmHWM") -> int:
    """Return a process's memory in MB: the highest it had, or (VmRSS) what it has."""
    return int(Path(f"/proc/{pid}/status").read_text().split(field + ":")[1].split()[0]) // 1024


class Fresh:
    """A gateway that has just started, perhaps with other limits: what a flood adds to its memory."""

    def __init__(self, driver: Driver) -> None:
        self.driver, self.child = driver, driver.child("gateway")
        self._usual = dict(self.child.environment)
        self.before = 0

    def start(self, **limits: int) -> Self:
        """Start anew, and note the memory."""
        self.child.stop()
        self.child.environment = self._usual | {
            f"STRONGROOM_{name.upper()}": str(most) for name, most in limits.items()
        }
        self.child.start()
        with self.driver.client() as http:
            eventually(lambda: http.get("/v1/bindings").is_success)
        self.before = memory(self.child.pid)
        return self

    def end(self) -> None:
        """Leave a gateway with the usual limits."""
        if self.child.environment != self._usual:
            self.child.stop()
            self.child.environment = self._usual
            self.child.start()

    @property
    def added(self) -> int:
        return memory(self.child.pid) - self.before

    def serves(self) -> None:
        """Fail unless an ordinary request is answered."""
        with self.driver.client() as http:
            assert http.get("/v1/exchanges/bitget").status_code == 200


@pytest.fixture
def fresh(driver: Driver) -> Iterator[Fresh]:
    made = Fresh(driver)
    yield made
    made.end()


@pytest.fixture
def files() -> Iterator[None]:
    """Let this process open as many sockets as a flood has."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < FILES:
        pytest.skip(f"the system lets a process open {hard} files only; this flood needs {FILES} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(scope="module")
def bound(running: Driver) -> Bound:
    return Bound(running)


def routes(bound: Bound) -> list[str]:
    """Return the addresses that take a body: the usual ones, a request for the exchange, the drop-in base URL."""
    mine = f"/v1/bindings/{bound.id}"
    return ["/v1/bindings", f"{mine}/requests", f"{mine}/credential", f"{mine}/proxy/api/v3/trade/place-order"]


@pytest.mark.bar(53)
def test_bodies_of_64_mb_are_refused_on_every_route_with_and_without_a_length(bound: Bound, fresh: Fresh) -> None:
    fresh.start()
    with fresh.driver.client(**JSON) as http:
        for path in routes(bound):
            counted = http.post(path, content=b"x" * HUGE)
            chunked = http.post(path, content=(b"x" * PIECE for _ in range(HUGE // PIECE)))
            assert (counted.status_code, chunked.status_code) == (413, 413), path
    fresh.serves()
    assert fresh.added < ANY_MB


@pytest.mark.bar(53)
def test_json_of_ten_thousand_levels_is_refused_on_every_route(bound: Bound, fresh: Fresh) -> None:
    fresh.start()
    before = len(bound.arrived())
    with fresh.driver.client(**JSON) as http:
        for path in routes(bound):
            for body in (DEEP, DEEP[: len(DEEP) // 2], b"[" * 60_000):
                answer = http.post(path, content=body)
                assert (answer.status_code, answer.json()["code"]) == (400, "malformed_json"), path
    assert "/api/v3/trade/place-order" not in bound.arrived()[before:]
    fresh.serves()
    assert fresh.added < ANY_MB


@pytest.mark.bar(53)
@pytest.mark.parametrize("kind", ["long", "deep"])
def test_an_answer_of_64_mb_or_of_ten_thousand_levels_fills_no_memory(bound: Bound, fresh: Fresh, kind: str) -> None:
    fresh.start()
    verifier = fresh.driver.child("verifier").pid
    before = memory(verifier)
    fresh.driver.faults({"kind": kind, "account": bound.account["api_key"], "path": ASSETS})
    for _ in range(3):
        received, whole = taken(bound)
        assert received < 5 << 20
        assert whole == (kind == "deep")  # what is too long is cut, never shortened in silence
    fresh.driver.faults()
    assert bound.passed("GET", ASSETS)[0] == 200
    assert fresh.added < ANY_MB
    assert memory(verifier) - before < 2 * ANY_MB


def taken(bound: Bound) -> tuple[int, bool]:
    """Ask through the drop-in base URL; return how many bytes came, and whether the answer was whole."""
    received, headers = 0, {"ACCESS-KEY": bound.token}
    with httpx.stream("GET", bound.proxy + ASSETS, headers=headers, timeout=30, trust_env=False) as answer:
        try:
            for piece in answer.iter_raw():
                received += len(piece)
        except httpx.RemoteProtocolError:
            return received, False
    return received, True


class Crowd:
    """Many connections at once; `answers` counts the statuses of those that were answered."""

    def __init__(self, url: str) -> None:
        self._host, self._port = httpx.URL(url).host, httpx.URL(url).port
        self._room = asyncio.Semaphore(100)
        self._open: list[asyncio.StreamWriter] = []
        self.answers: Counter[str] = Counter()

    async def send(self, data: bytes) -> None:
        """Open a connection, send, and read the head of the answer; the connection stays."""
        async with self._room:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            self._open.append(writer)
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            self.answers[head[9:12].decode()] += 1
            assert (head[9:12] == b"503") == (b"retry-after: " in head.lower())

    async def trickle(self, data: bytes) -> str:
        """Send, and then a byte a second, until the connection ends; return the status that was told, or "closed"."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._open.append(writer)
        told = b""
        with contextlib.suppress(OSError):
            writer.write(data)
            while not reader.at_eof():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        told += await reader.read(4096)
                writer.write(b"x")
        return told[9:12].decode() if told else "closed"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for writer in self._open:
            writer.transport.abort()
        await asyncio.sleep(0)


def newcomers(driver: Driver, count: int) -> list[str]:
    """Make tenants at run time; return a token of each."""
    issuer, tokens = TokenIssuer.ensure(driver.stack.home / "issuer"), []
    with operator(driver) as admin:
        for _ in range(count):
            made = admin.post("/v1/admin/tenants", json={"name": f"crowd-{secrets.token_hex(8)}"})
            assert made.status_code == 201, made.text
            tokens.append(issuer.issue(made.json()["id"]))
    return tokens


def streams(fresh: Fresh) -> int:
    """Return how many streams the gateway says that it has open."""
    text = httpx.get(f"http://{fresh.child.health_address}/metrics", trust_env=False).text
    return int(float(text.split("\ngateway_event_streams ")[1].split()[0]))


@pytest.mark.bar(53)
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("wanted", "most"), [(500, 200), pytest.param(5000, 2000, marks=pytest.mark.drill)])
async def test_of_many_streams_as_many_are_served_as_there_is_room_for(wanted: int, most: int, fresh: Fresh) -> None:
    tokens = await asyncio.to_thread(newcomers, fresh.driver, wanted // EACH)
    await asyncio.to_thread(partial(fresh.start, streams=most))
    head = "GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n"
    heads = [head.format(token).encode() for token in tokens for _ in range(EACH)]
    async with Crowd(fresh.driver.facts["gateway_url"]) as crowd:
        await asyncio.gather(*(crowd.send(one) for one in heads))
        assert crowd.answers == {"200": most, "503": wanted - most}
        await asyncio.to_thread(fresh.serves)
        print(f"{most} streams of {wanted}: {fresh.before} MB and {fresh.added} MB")
        assert fresh.added < ANY_MB + most * STREAM_KB // 1024
    await asyncio.to_thread(eventually, lambda: streams(fresh) == 0)
    async with Crowd(fresh.driver.facts["gateway_url"]) as again:
        await again.send(heads[0])
        assert again.answers == {"200": 1}


@pytest.mark.bar(53)
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(("count", "most"), [(300, 200), pytest.param(5000, 4096, marks=pytest.mark.drill)])
async def test_what_only_trickles_is_cut_and_what_is_too_many_is_refused(count: int, most: int, fresh: Fresh) -> None:
    await asyncio.to_thread(partial(fresh.start, connections=most))
    trickles = (
        b"GET /v1/bindings HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000,
        b"POST /v1/bindings HTTP/1.1\r\nHost: a\r\nContent-Length: 65536\r\n\r\n" + b"x" * 60_000,
        b"GET /",
    )
    async with Crowd(fresh.driver.facts["gateway_url"]) as crowd:
        ends = await asyncio.gather(*(crowd.trickle(trickles[number % 3]) for number in range(count)))
    print(f"{count} trickles: {Counter(ends)}, {fresh.before} MB and {fresh.added} MB")
    assert set(ends) == {"closed", "408", "503"}
    assert fresh.added < ANY_MB + most * CONNECTION_KB // 1024
    await asyncio.to_thread(fresh.serves)
