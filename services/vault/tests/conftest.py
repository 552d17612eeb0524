"""One real OpenBao for the whole run, a fresh tenant for each test, and the service's parts on them."""

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import aiohttp
import hvac
import pytest
from aiohttp import web
from cli import pki
from cli.openbao import OpenBao
from cli.processes import clean_environment, free_port
from common import trail
from common.clock import SystemClock
from common.secret import Secret
from common.trail_check import Check
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from strongroom.types.v1.binding_pb2 import EXCHANGE_BITGET, KEY_TYPE_HMAC, SCOPE_FUTURES, SCOPE_SPOT
from strongroom.vault.v1.binding_store_pb2 import BindRequest, Credential
from vault import policy
from vault.actor import Actor
from vault.asked import Asked, asked
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.enrolment import Enrolments
from vault.freezer import Freezer
from vault.hashicorp.directory import VaultDirectory
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue, OwnKeyValue
from vault.hashicorp.login import Connection, Logins, admin_client, signer_role
from vault.hashicorp.provision import Tenant, provision
from vault.hashicorp.transit import Transit
from vault.listing import Listing
from vault.reconcile import Reconciler
from vault.registry import Registry
from vault.revocations import Revocations
from vault.rotation import Rotations
from vault.rules import Rules
from vault.settlement import Settlements
from vault.signer import Signer
from vault.update import Updates
from yarl import URL

PASSPHRASE = "Passphrase01"


class TestClock(SystemClock):
    """The system's clock, which a test can move forward."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead = 0.0

    def unix(self) -> float:
        return super().unix() + self.ahead

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


class SteadyClock(SystemClock):
    """A clock for logins, whose life of a token a test can shorten; its date is right, for Vault looks at it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass
class Server:
    """A provisioned OpenBao, the key with which the service logs in, and an administrator's client."""

    bao: OpenBao
    connection: Connection
    login_key: Path
    login_public_key: str
    admin: hvac.Client

    def tenant(self, rules: Rules | None = None) -> str:
        """Register a new tenant and return its id."""
        tenant = secrets.token_hex(13)
        self.provision(Tenant(tenant, "Test", rules))
        return tenant

    def provision(self, *tenants: Tenant) -> list[str]:
        said: list[str] = []
        provision(self.admin, self.login_public_key, tenants, said.append)
        return said


@contextlib.contextmanager
def provisioned_server(bao: OpenBao, connection: Connection, home: Path) -> Iterator[Server]:
    """Prepare a running server, or a cluster by its addresses, for the service."""
    private, public = pki.ensure_login_key(home / "keys")
    admin = admin_client(connection, Secret(bao.root_token))
    try:
        made = Server(bao, connection, private, public.read_text(), admin)
        made.provision()
        yield made
    finally:
        admin.adapter.close()


@pytest.fixture(scope="session")
def provisioned() -> Callable[[OpenBao, Connection, Path], contextlib.AbstractContextManager[Server]]:
    return provisioned_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("vault")
    with OpenBao(home / "bao") as bao, provisioned_server(bao, Connection(bao.url), home) as made:
        yield made


@pytest.fixture
def tenant(server: Server) -> str:
    return server.tenant()


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


@pytest.fixture
def login_clock() -> SteadyClock:
    return SteadyClock()


@dataclass
class Parts:
    """The service's parts on one connection to Vault."""

    http: VaultHttp
    documents: KeyValue
    own: OwnKeyValue
    keys: Transit
    directory: VaultDirectory
    audit: AuditLog
    audit_file: Path  # there is nothing in it before the first line
    bindings: Bindings
    rotations: Rotations
    settlements: Settlements
    updates: Updates
    enrolments: Enrolments
    registry: Registry
    listing: Listing
    signer: Signer
    freezer: Freezer
    revocations: Revocations
    reconciler: Reconciler


def trail_lines(folder: Path) -> list[dict[str, Any]]:
    """Return what was written of actions in an audit folder, whose chain must hold."""
    check = Check([file.path for file in trail.files_of(folder)])
    lines = [dict(line.fields) for line in check.read()]
    assert check.faults == []
    return [line for line in lines if "phase" in line]


@pytest.fixture
def told() -> Callable[[Path], list[dict[str, Any]]]:
    return trail_lines


class OneTenant(VaultDirectory):
    """The directory cut down to one tenant: what other tests left is not this test's business."""

    def __init__(self, whole: VaultDirectory, tenant: str) -> None:
        self._whole, self._tenant = whole, tenant
        self.names = whole.names  # type: ignore[method-assign]

    async def tenants(self) -> list[str]:
        return [tenant for tenant in await self._whole.tenants() if tenant == self._tenant]

    async def keys(self) -> list[tuple[str, str]]:
        return [key for key in await self._whole.keys() if key[0] == self._tenant]


@dataclass
class Maker:
    """Make the parts, on any connection; what it made is closed after the test."""

    server: Server
    tenant: str
    folder: Path
    clock: TestClock
    login_clock: SteadyClock
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    made: list[Parts] = field(default_factory=list)

    async def __call__(self, connection: Connection | None = None, *, steps: Any = None) -> Parts:
        connection = connection or self.server.connection
        http = VaultHttp(connection, Logins(connection, self.server.login_key, self.login_clock))
        await http.__aenter__()
        audit = AuditLog(self.folder / f"audit-{next(self.numbers)}", self.clock)
        audit.start()
        documents, own, keys, directory = KeyValue(http), OwnKeyValue(http), Transit(http), VaultDirectory(http)
        bindings = Bindings(documents, own, keys, audit, self.clock, steps=steps)
        enrolments = Enrolments(documents, own, audit)
        freezer = Freezer(own, bindings.records, audit, self.clock)
        common: dict[str, Any] = {"documents": documents, "audit": audit, "clock": self.clock}
        writing: dict[str, Any] = {"bindings": bindings, "keys": keys, "steps": steps, **common}
        settlements = Settlements(**writing)
        one_tenant = OneTenant(directory, self.tenant)
        parts = Parts(
            http,
            documents,
            own,
            keys,
            directory,
            audit,
            audit.path,
            bindings,
            Rotations(settlements=settlements, **writing),
            settlements,
            Updates(bindings.records, audit, self.clock),
            enrolments,
            Registry(own, self.clock),
            Listing(documents, directory),
            Signer(KeyValue(http, signer_role), keys, audit, policy.load(), freezer=freezer, clock=self.clock),
            freezer,
            Revocations(bindings, enrolments, documents, own, audit, clock=self.clock, steps=steps),
            Reconciler(bindings=bindings, settlements=settlements, directory=one_tenant, **common),
        )
        self.made.append(parts)
        return parts


@pytest.fixture
async def make(
    server: Server, tenant: str, tmp_path: Path, clock: TestClock, login_clock: SteadyClock
) -> AsyncIterator[Maker]:
    maker = Maker(server, tenant, tmp_path, clock, login_clock)
    yield maker
    for parts in maker.made:
        await parts.http.__aexit__()
        await parts.audit.stop()


@pytest.fixture
async def parts(make: Maker) -> Parts:
    return await make()


@pytest.fixture
def actor(tenant: str) -> Actor:
    return Actor(tenant, "gateway", "somebody", "a-client")


def bind_request(idempotency_key: str = "", **credential: Any) -> BindRequest:
    """Return a good bind request with a new key; `credential` replaces its parts."""
    parts: Mapping[str, Any] = {
        "key_type": KEY_TYPE_HMAC,
        "api_key": f"bg_{secrets.token_hex(16)}",
        "secret_key": secrets.token_hex(32),
        "passphrase": PASSPHRASE,
        **credential,
    }
    return BindRequest(
        idempotency_key=idempotency_key or secrets.token_hex(8),
        exchange=EXCHANGE_BITGET,
        label="Main",
        subject="customer-1",
        scopes=[SCOPE_SPOT, SCOPE_FUTURES],
        credential=Credential(**parts),
    )


@pytest.fixture
def request_of() -> Callable[..., BindRequest]:
    return bind_request


@pytest.fixture
def sealed_request_of(parts: Parts) -> Callable[..., Any]:
    """Return a maker of sealed bind requests with a new key; awaited, for it asks for the wrapping key."""

    async def make_one(idempotency_key: str = "") -> BindRequest:
        key = serialization.load_pem_public_key((await parts.bindings.wrapping_key()).pem.encode())
        aes, oaep = os.urandom(32), padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        wrapped = key.encrypt(aes, oaep) + aes_key_wrap_with_padding(aes, secrets.token_hex(32).encode())  # type: ignore[union-attr]
        return bind_request(idempotency_key, secret_key="", wrapped_secret=base64.b64encode(wrapped).decode())

    return make_one


@pytest.fixture
def wanted(tenant: str) -> Callable[..., Asked]:
    """Return a maker of checked bind requests of the test's tenant."""

    def make_one(idempotency_key: str = "", **credential: Any) -> Asked:
        return asked(tenant, bind_request(idempotency_key, **credential))

    return make_one


@pytest.fixture(scope="session")
def rsa_key() -> Callable[[int], RSAPrivateKey]:
    """Return a maker of RSA keys, one for each size."""
    return functools.cache(lambda bits: generate_private_key(65537, bits))


def pem_of(key: Any, form: PrivateFormat = PrivateFormat.PKCS8, passphrase: bytes = b"") -> str:
    """Return a private key as PEM."""
    covered = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, covered).decode()


@pytest.fixture
def pem() -> Callable[..., str]:
    return pem_of


SEALED, HALF = b'{"errors": ["Vault is sealed"]}', b'{"data": {'


@dataclass
class Proxy:
    """Stand between the service and Vault. The next request that fits `method` and `part` meets `fault`, once."""

    upstream: str
    url: str = ""
    fault: str = ""
    method: str = ""
    part: str = ""
    lasting: bool = False
    seen: list[str] = field(default_factory=list)
    session: aiohttp.ClientSession | None = None

    def arm(self, fault: str, part: str = "", method: str = "POST", *, lasting: bool = False) -> None:
        self.fault, self.part, self.method, self.lasting = fault, part, method, lasting

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(f"{request.method} {request.path}")
        fault = ""
        if self.fault and self.method in ("", request.method) and self.part in request.path:
            fault = self.fault
            self.fault = fault if self.lasting else ""
        if fault.startswith("http"):
            raise web.HTTPTemporaryRedirect(fault + request.path)
        dropped = fault.endswith("before") or fault == "sealed"
        status, raw, index = (0, b"", {}) if dropped else await self._forward(request)
        if fault.startswith("cut"):
            request.transport.abort()  # type: ignore[union-attr]  # the connection is open while it is served
        if fault == "silence after":
            await asyncio.sleep(30)
        answers = {
            "sealed": (503, SEALED),
            "500 before": (500, b"{}"),
            "500 after": (500, b"{}"),
            "half a reply": (200, HALF),
        }
        status, raw = answers.get(fault, (status or 500, raw))
        return web.Response(body=raw, status=status, content_type="application/json", headers=index)

    async def _forward(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        assert self.session is not None
        headers = {name: value for name, value in request.headers.items() if name.startswith("X-Vault")}
        url = URL(self.upstream + request.raw_path, encoded=True)
        body = await request.read()
        async with self.session.request(request.method, url, data=body, headers=headers) as reply:
            index = {name: value for name, value in reply.headers.items() if name == "X-Vault-Index"}
            return reply.status, await reply.read(), index


@contextlib.asynccontextmanager
async def listening(handler: Callable[[web.Request], Any]) -> AsyncIterator[str]:
    """Serve `handler` for every request on a free port and yield the address."""
    runner = web.ServerRunner(web.Server(handler, handler_cancellation=True), shutdown_timeout=0)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def proxy(server: Any) -> AsyncIterator[Proxy]:
    made = Proxy(server.connection.url)
    async with aiohttp.ClientSession() as made.session, listening(made) as made.url:
        yield made


@pytest.fixture
def listen() -> Callable[..., Any]:
    return listening


@dataclass
class Killer:
    """The program of step_killer.py, and the audit folder that its victims leave."""

    orders: IO[str]
    answers: IO[str]
    audit_folder: Path

    def __call__(self, tenant: str, step: str, **order: Any) -> int:
        """Act in a process that dies at `step`; return its exit status."""
        self.orders.write(json.dumps({"tenant": tenant, "step": step, **order}) + "\n")
        self.orders.flush()
        return int(self.answers.readline())


@pytest.fixture(scope="module")
def kill(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    folder = tmp_path_factory.mktemp("killed")
    program = Path(__file__).with_name("step_killer.py")
    command = [sys.executable, str(program), server.connection.url, str(server.login_key), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Killer(process.stdin, process.stdout, folder / "killed")
        process.stdin.close()
        assert process.wait(10) == 0
