"""A whole gateway on loopback: real uvicorn, real mTLS gRPC to small vault and verifier services, real Valkey.

Everything runs on one event loop in a thread of its own; tests are plain functions. Each test has a tenant of its own,
and what is to go wrong is set for that tenant alone.
"""

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import httpx
import pytest
import structlog
import uvloop
from cli.pki import Authority
from cli.processes import free_port
from cli.tokens import TokenIssuer
from cli.valkey import Valkey
from common.clock import SystemClock
from common.rpc.server import build
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from gateway import schemas
from gateway.server import Gateway, listen
from gateway.settings import GatewaySettings
from strongroom.signing.v1 import signing_service_pb2 as signing
from strongroom.signing.v1 import signing_service_pb2_grpc as signing_grpc
from strongroom.vault.v1 import binding_store_pb2 as store
from strongroom.vault.v1 import binding_store_pb2_grpc as store_grpc
from strongroom.vault.v1 import freezes_pb2 as freezes
from strongroom.vault.v1 import freezes_pb2_grpc as freezes_grpc
from strongroom.vault.v1 import revocations_pb2 as revocations
from strongroom.vault.v1 import revocations_pb2_grpc as revocations_grpc
from strongroom.vault.v1 import tenants_pb2 as tenants
from strongroom.vault.v1 import tenants_pb2_grpc as tenants_grpc
from strongroom.vault.v1 import trail_pb2 as trail
from strongroom.vault.v1 import trail_pb2_grpc as trail_grpc
from strongroom.vault.v1 import webhooks_pb2 as webhooks
from strongroom.vault.v1 import webhooks_pb2_grpc as webhooks_grpc
from strongroom.verifier.v1 import market_service_pb2 as market
from strongroom.verifier.v1 import market_service_pb2_grpc as market_grpc
from strongroom.verifier.v1 import verification_service_pb2 as verification
from strongroom.verifier.v1 import verification_service_pb2_grpc as verification_grpc

from services.gateway.tests.vault_in_memory import (
    FreezesService,
    RevocationsService,
    TenantsService,
    TrailService,
    VaultService,
    WebhooksService,
)
from services.gateway.tests.verifier_in_memory import MarketService, SigningService, VerifierService
from services.gateway.tests.world import World

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
SECRET = "5f4dcc3b5aa765d61d8327deb882cf99aabbccddeeff00112233445566778899"


class Background:
    """One event loop in a thread; `run` waits for a coroutine on it."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Awaitable[Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Served:
    """A running gateway: `url` and `ops_url`, `port` for raw sockets."""

    def __init__(self, background: Background, values: dict[str, str], *, console: bool) -> None:
        self._background = background
        public, private = listen("127.0.0.1:0"), listen("127.0.0.1:0")
        self.port = public.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        settings = GatewaySettings.model_validate({**values, "console_url": self.url} if console else values)
        self.ops_url = f"http://127.0.0.1:{private.getsockname()[1]}"
        background.run(self._start(settings, public, private))
        until(lambda: httpx.get(f"{self.ops_url}/readyz").status_code == 200)

    async def _start(self, settings: GatewaySettings, *sockets: Any) -> None:
        self._stopping = asyncio.Event()
        self.gateway = Gateway(settings)
        self._task = asyncio.create_task(self.gateway.run(self._stopping, *sockets))

    def stop(self) -> None:
        self._background.loop.call_soon_threadsafe(self._stopping.set)
        self._background.run(self._ended())

    async def _ended(self) -> None:
        await self._task


def until(condition: Callable[[], Any], seconds: float = 30) -> Any:
    """Poll until `condition` is true, and return what it said."""
    deadline = time.monotonic() + seconds
    while not (result := _tried(condition)):
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)
    return result


def _tried(condition: Callable[[], Any]) -> Any:
    try:
        return condition()
    except httpx.TransportError:
        return None


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    """Keep the background thread's logs out of the report; what is logged is tested on the real process."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def issuer(folder: Path) -> TokenIssuer:
    return TokenIssuer.create(folder / "issuer")


@pytest.fixture(scope="session")
def authority(folder: Path) -> Authority:
    return Authority.create(folder / "pki")


@pytest.fixture(scope="session")
def valkey(folder: Path) -> Iterator[Valkey]:
    with Valkey(folder / "valkey", appendonly=False) as server:
        yield server


@pytest.fixture(scope="session")
def background() -> Iterator[Background]:
    made = Background()
    yield made
    made.close()


@pytest.fixture(scope="session")
def targets(background: Background, authority: Authority, issuer: TokenIssuer) -> Iterator[Any]:
    """The two services behind the gateway: `world`, `vault` and `verifier` (their addresses)."""
    world = World(TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock()))
    vault, verifier = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    parts: list[tuple[str, str, list[Any]]] = [
        (
            "vault",
            vault,
            [
                (
                    store.DESCRIPTOR.services_by_name["BindingStore"],
                    lambda server: store_grpc.add_BindingStoreServicer_to_server(VaultService(world), server),
                ),
                (
                    freezes.DESCRIPTOR.services_by_name["Freezes"],
                    lambda server: freezes_grpc.add_FreezesServicer_to_server(FreezesService(world), server),
                ),
                (
                    tenants.DESCRIPTOR.services_by_name["Tenants"],
                    lambda server: tenants_grpc.add_TenantsServicer_to_server(TenantsService(world), server),
                ),
                (
                    webhooks.DESCRIPTOR.services_by_name["Webhooks"],
                    lambda server: webhooks_grpc.add_WebhooksServicer_to_server(WebhooksService(world), server),
                ),
                (
                    trail.DESCRIPTOR.services_by_name["Trail"],
                    lambda server: trail_grpc.add_TrailServicer_to_server(TrailService(world), server),
                ),
                (
                    revocations.DESCRIPTOR.services_by_name["Revocations"],
                    lambda server: revocations_grpc.add_RevocationsServicer_to_server(
                        RevocationsService(world), server
                    ),
                ),
            ],
        ),
        (
            "verifier",
            verifier,
            [
                (
                    verification.DESCRIPTOR.services_by_name["VerificationService"],
                    lambda server: verification_grpc.add_VerificationServiceServicer_to_server(
                        VerifierService(world), server
                    ),
                ),
                (
                    signing.DESCRIPTOR.services_by_name["SigningService"],
                    lambda server: signing_grpc.add_SigningServiceServicer_to_server(SigningService(world), server),
                ),
                (
                    market.DESCRIPTOR.services_by_name["MarketService"],
                    lambda server: market_grpc.add_MarketServiceServicer_to_server(MarketService(world), server),
                ),
            ],
        ),
    ]

    async def start() -> list[grpc.aio.Server]:
        servers = []
        for name, address, services in parts:
            leaf = authority.issue(name)
            identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
            callers = {
                f"/{descriptor.full_name}/{method.name}": frozenset(["gateway"])
                for descriptor, _ in services
                for method in descriptor.methods
            }
            servers.append(build(address, identity, callers, "strongroom.internal", services))
            await servers[-1].start()
        return servers

    async def stop(servers: list[grpc.aio.Server]) -> None:
        for server in servers:
            await server.stop(0)

    servers = background.run(start())
    yield SimpleNamespace(world=world, vault=vault, verifier=verifier)
    background.run(stop(servers))


@pytest.fixture(scope="session")
def settings(targets: Any, authority: Authority, issuer: TokenIssuer, valkey: Valkey) -> dict[str, Any]:
    """The settings of a gateway, as texts without their prefix."""
    leaf, (redis_url, password_file) = authority.issue("gateway"), valkey.account("gateway")
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "health_address": f"127.0.0.1:{free_port()}",
        "tls_cert_file": str(leaf.cert_file),
        "tls_key_file": str(leaf.key_file),
        "tls_ca_file": str(leaf.ca_file),
        "jwt_issuer": issuer.issuer,
        "jwks_file": str(issuer.jwks_file),
        "redis_url": redis_url,
        "redis_password_file": str(password_file),
        "vault_target": targets.vault,
        "verifier_target": targets.verifier,
        "egress_ips": "203.0.113.7, 203.0.113.8",
        "streams_per_tenant": "3",
    }


@pytest.fixture(scope="session")
def serve(background: Background, settings: dict[str, Any]) -> Iterator[Callable[..., Served]]:
    """Start further gateways with changed settings."""
    running: list[Served] = []

    def start(*, console: bool = False, **changes: str) -> Served:
        running.append(Served(background, {**settings, **changes}, console=console))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def served(serve: Callable[..., Served]) -> Served:
    """The gateway that most tests share."""
    return serve()


@pytest.fixture
def world(targets: Any) -> Iterator[World]:
    yield targets.world
    targets.world.verdict = True


@pytest.fixture
def tenant() -> str:
    return "".join(random.choices(ALPHABET, k=26))


def _in_shape(answer: httpx.Response) -> None:
    """Check that an answer has exactly the fields and types of its documented schema."""
    path = answer.request.url.path
    if (
        not answer.is_success
        or not path.startswith("/v1/bindings")
        or "/proxy/" in path
        or path.endswith("/requests")
        or "json" not in answer.headers.get("content-type", "")
    ):
        return
    model: Any = schemas.BindingPage if path == "/v1/bindings" else schemas.Binding
    if answer.request.method == "POST":
        model = schemas.Binding
    elif path.endswith("/balances"):
        model = schemas.Balances
    answer.read()
    assert model.model_validate_json(answer.content, strict=True).model_dump(mode="json") == answer.json()


@pytest.fixture
def client(served: Served, issuer: TokenIssuer, tenant: str) -> Iterator[httpx.Client]:
    """A client with the tenant's full token, which holds every answer to its schema."""
    headers = {"Authorization": f"Bearer {issuer.issue(tenant)}"}
    hooks = {"response": [_in_shape]}
    with httpx.Client(base_url=served.url, headers=headers, timeout=30, event_hooks=hooks) as made:
        yield made


@pytest.fixture
def body() -> dict[str, Any]:
    """A good bind request with a key that nobody has bound."""
    key = "bg_" + "".join(random.choices("0123456789abcdef", k=32))
    return {
        "exchange": "bitget",
        "label": "Main",
        "subject": "customer-1",
        "scopes": ["spot", "futures"],
        "credential": {"api_key": key, "secret_key": SECRET, "passphrase": "Passphrase01"},
    }
