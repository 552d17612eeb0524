"""One real OpenBao for the whole run, a fresh tenant for each test, and the service's parts on them."""

import base64
import contextlib
import functools
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import aiohttp
import grpc
import hvac
import pytest
from cli import pki
from cli.openbao import OpenBao
from cli.processes import clean_environment
from cli.tokens import TokenIssuer
from common import trail
from common.rpc.client import channel
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
from strongroom.vault.v1.binding_store_pb2 import BindRequest, Credential, StageRequest
from vault.actor import Actor
from vault.asked import Asked, asked
from vault.hashicorp.login import Connection, admin_client
from vault.hashicorp.provision import Tenant, provision, register
from vault.rules import Rules

from services.vault.tests.parts import Maker, Parts, SteadyClock, TestClock
from services.vault.tests.proxy import Proxy, listening
from services.vault.tests.service import VaultProcess, World, settings_of

PASSPHRASE = "Passphrase01"


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
        register(self.admin, Tenant(tenant, "Test", rules), lambda _: None)
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


def trail_lines(folder: Path) -> list[dict[str, Any]]:
    """Return what was written of actions in an audit folder, whose chain must hold."""
    check = Check([file.path for file in trail.files_of(folder)])
    lines = [dict(line.fields) for line in check.read()]
    assert check.faults == []
    return [line for line in lines if "phase" in line]


@pytest.fixture
def told() -> Callable[[Path], list[dict[str, Any]]]:
    return trail_lines


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


@pytest.fixture
def worker(tenant: str) -> Actor:
    return Actor(tenant, "worker")


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
def replace(request_of: Callable[..., BindRequest]) -> Callable[..., StageRequest]:
    """Return a maker of rotation requests with a new key."""

    def make_one(binding: str, key: str = "", **credential: Any) -> StageRequest:
        like = request_of(key, **credential)
        return StageRequest(binding_id=binding, idempotency_key=like.idempotency_key, credential=like.credential)

    return make_one


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


@pytest.fixture(scope="module")
def world(server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A service for the tests of one file."""
    folder = tmp_path_factory.mktemp("service")
    authority, issuer = pki.Authority.create(folder / "pki"), TokenIssuer.create(folder / "issuer")
    with VaultProcess(settings_of(server, folder, authority, issuer), folder) as process:
        yield World(process, folder, authority, issuer)


@pytest.fixture
async def connect(world: World) -> AsyncIterator[Callable[..., grpc.aio.Channel]]:
    """Open channels as a workload, by default one of the service's own authority."""
    opened: list[grpc.aio.Channel] = []

    def open_one(name: str, leaf: pki.Leaf | None = None) -> grpc.aio.Channel:
        leaf = leaf or world.authority.issue(name)
        opened.append(channel(world.process.target, "vault", world.identity(leaf)))
        return opened[-1]

    yield open_one
    for one in opened:
        await one.close()
