"""A whole gateway on loopback: real uvicorn, real mTLS gRPC to small vault and verifier services, real Valkey.

Everything runs on one event loop in a thread of its own; tests are plain functions. Each test has a tenant of its own,
and what is to go wrong is set for that tenant alone.
"""

import asyncio
import hashlib
import logging
import random
import threading
import time
from collections import defaultdict
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
from common import errors
from common.clock import SystemClock, timestamp
from common.rpc.server import authorization, build
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from gateway import schemas
from gateway.server import Gateway, listen
from gateway.settings import GatewaySettings
from strongroom.types.v1 import binding_pb2 as pb
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
from strongroom.verifier.v1 import verification_service_pb2 as verification
from strongroom.verifier.v1 import verification_service_pb2_grpc as verification_grpc

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
NOW = 1_795_000_000
SECRET = "5f4dcc3b5aa765d61d8327deb882cf99aabbccddeeff00112233445566778899"


class World:
    """What the services behind the gateway hold, what they were asked, and what goes wrong for whom."""

    def __init__(self, tokens: TokenVerifier) -> None:
        self.tokens = tokens
        self.records: dict[tuple[str, str], pb.Binding] = {}
        self.binds: dict[tuple[str, str], store.BindRequest] = {}
        self.observations: dict[str, pb.Observation] = {}
        self.trouble: defaultdict[str, dict[str, Exception]] = defaultdict(dict)
        self.submitted: list[tuple[str, str, int]] = []
        self.metadata: list[dict[str, Any]] = []
        self.freezes: dict[tuple[str, str], freezes.Freeze] = {}
        self.trail_asked: list[trail.ReadTrailRequest] = []
        self.lifted: list[str] = []
        self.tenants: dict[str, tenants.Tenant] = {}
        self.revocations: dict[tuple[str, str], revocations.Revocation] = {}
        self.verdict = True

    def enter(self, rpc: Any, operation: str) -> str:
        """Return the caller's tenant; raise what is to go wrong for it in `operation`."""
        self.metadata.append(dict(rpc.invocation_metadata()))
        tenant = self.tokens.verify(authorization(rpc)).tenant
        if operation in self.trouble[tenant]:
            raise self.trouble[tenant][operation]
        return tenant

    def page(self, tenant: str, request: Any) -> tuple[list[pb.Binding], str]:
        """Return the tenant's records that `request` asks for, and the next `after`."""
        mine = sorted((r for (owner, _), r in self.records.items() if owner == tenant), key=lambda r: r.id)
        mine = [r for r in mine if r.id > request.after and request.subject in ("", r.subject)]
        mine = [r for r in mine if request.status in (pb.STATUS_UNSPECIFIED, r.verdict.status)]
        page = mine[: request.limit]
        return page, page[-1].id if len(mine) > len(page) else ""

    def put(self, tenant: str, **fields: Any) -> pb.Binding:
        """Keep and return a connected binding."""
        identifier = fields.pop("id", "".join(random.choices("0123456789abcdef", k=32)))
        record = pb.Binding(
            id=identifier,
            tenant_id=tenant,
            exchange=pb.EXCHANGE_BITGET,
            revision=fields.pop("revision", 2),
            created_at=timestamp(NOW),
            updated_at=timestamp(NOW),
            scopes=fields.pop("scopes", [pb.SCOPE_SPOT]),
            verdict=fields.pop("verdict", pb.Verdict(status=pb.STATUS_CONNECTED)),
            credential=pb.CredentialInfo(
                version=1,
                key_type=fields.pop("key_type", pb.KEY_TYPE_HMAC),
                api_key_hint="bg_1…9f0a",
                stored_at=timestamp(NOW),
            ),
            **fields,
        )
        self.records[tenant, identifier] = record
        return record

    def connect(self, record: pb.Binding) -> None:
        """Do what a verification of a good key does."""
        record.verdict.CopyFrom(
            pb.Verdict(
                status=pb.STATUS_CONNECTED,
                environment=pb.ENVIRONMENT_LIVE,
                account=pb.Account(uid="77", mode=pb.ACCOUNT_MODE_UNIFIED, keys_limit=10),
                permissions=pb.Permissions(read=pb.ANSWER_YES, withdraw=pb.ANSWER_NO),
                ip_whitelist=pb.IpWhitelist(bound=True, addresses=["203.0.113.7"]),
                strategies=[pb.Strategy(id="spot_trading", available=True)],
            )
        )
        record.revision += 1
        self.observations[record.id] = self.observation()

    @staticmethod
    def observation(age: float = 0) -> pb.Observation:
        """Return an observation with balances that are `age` seconds old."""
        then = timestamp(time.time() - age)
        held = pb.Balances(
            total_usdt="1000.50", as_of=then, spot=[pb.CoinBalance(coin="BTC", available="1", locked="0", total="1")]
        )
        return pb.Observation(balances=held, last_verified_at=then)


class VaultService(store_grpc.BindingStoreServicer):
    """The vault service's manners, in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    def _record(self, tenant: str, identifier: str) -> pb.Binding:
        record = self.world.records.get((tenant, identifier))
        if record is None:
            raise errors.NotFound(detail="A text that the gateway must not depend on.")
        return record

    async def Bind(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "bind")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        earlier = self.world.binds.get((tenant, identifier))
        if earlier is not None:
            if earlier != request:
                raise errors.IdempotencyMismatch()
            return store.BindResponse(binding=self._record(tenant, identifier), created=False)
        for (owner, bound), other in self.world.binds.items():
            if owner == tenant and other.credential.api_key == request.credential.api_key:
                raise errors.AlreadyExists(binding_id=bound)
        self.world.binds[tenant, identifier] = request
        record = self.world.put(
            tenant,
            id=identifier,
            label=request.label,
            subject=request.subject,
            scopes=request.scopes,
            revision=1,
            verdict=pb.Verdict(status=pb.STATUS_PENDING),
            whitespace_removed=request.whitespace_removed,
            key_type=request.credential.key_type,
        )
        return store.BindResponse(binding=record, created=True)

    async def WrappingKey(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "wrapping_key")
        return store.WrappingKeyResponse(public_key="a public key", fingerprint="f" * 64)

    async def Describe(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "describe")
        return store.DescribeResponse(binding=self._record(tenant, request.binding_id))

    async def List(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "list")
        page, following = self.world.page(tenant, request)
        return store.ListResponse(bindings=page, next_after=following)

    async def Revoke(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "revoke")
        record = self._record(tenant, request.binding_id)
        record.verdict.CopyFrom(pb.Verdict(status=pb.STATUS_REVOKED))
        return store.RevokeResponse(binding=record)


class FreezesService(freezes_grpc.FreezesServicer):
    """The vault service's freezes, in memory: what was asked, by whom, and errors that it is told to raise."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def CreateFreeze(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "freeze")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        made = freezes.Freeze(
            id=identifier,
            target=request.target,
            reason=request.reason,
            allow_cancels=request.allow_cancels,
            made_at=timestamp(NOW),
            made_by="local",
        )
        return freezes.CreateFreezeResponse(freeze=self.world.freezes.setdefault((tenant, identifier), made))

    async def ListFreezes(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "freezes")
        mine = [one for (owner, _), one in self.world.freezes.items() if owner == tenant]
        return freezes.ListFreezesResponse(freezes=mine)

    async def LiftFreeze(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "lift")
        if self.world.freezes.pop((tenant, request.freeze_id), None) is None:
            raise errors.NotFound()
        self.world.lifted.append(request.reason)
        return freezes.LiftFreezeResponse()


class TenantsService(tenants_grpc.TenantsServicer):
    """The vault service's registry of tenants, in memory."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def CreateTenant(self, request: Any, rpc: Any) -> Any:
        operator = self.world.enter(rpc, "create_tenant")
        name = hashlib.sha256(f"{operator}{request.idempotency_key}".encode()).hexdigest()[:26]
        made = tenants.Tenant(id=name, name=request.name, revision=1, created_at=timestamp(NOW))
        made.rules.CopyFrom(request.rules)
        made.quotas.CopyFrom(request.quotas)
        return tenants.CreateTenantResponse(tenant=self.world.tenants.setdefault(name, made), created=True)

    async def GetTenant(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get_tenant")
        return tenants.GetTenantResponse(tenant=self._found(request.tenant_id))

    async def PageTenants(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "page_tenants")
        names = sorted(name for name in self.world.tenants if name > request.after)
        page = [self.world.tenants[name] for name in names[: request.limit]]
        return tenants.PageTenantsResponse(tenants=page, next_after=page[-1].id if len(names) > len(page) else "")

    async def ChangeTenant(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "change_tenant")
        found = self._found(request.tenant_id)
        if request.expected_revision not in (0, found.revision):
            raise errors.Aborted()
        found.revision += 1
        for part in ("name", "disabled"):
            if request.HasField(part):
                setattr(found, part, getattr(request, part))
        for part in ("rules", "quotas"):
            if request.HasField(part):
                getattr(found, part).CopyFrom(getattr(request, part))
        return tenants.ChangeTenantResponse(tenant=found)

    def _found(self, name: str) -> Any:
        if name not in self.world.tenants:
            raise errors.NotFound()
        return self.world.tenants[name]


class TrailService(trail_grpc.TrailServicer):
    """The vault service's trail, in memory: three lines of the tenant, and what was asked."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def ReadTrail(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "trail")
        self.world.trail_asked.append(request)
        start = int(request.cursor or 3)
        entries = [
            trail.TrailEntry(
                sequence=10 + number,
                hash=f"{number:064x}",
                time=timestamp(NOW + number),
                action="sign",
                phase="outcome" if number % 2 else "intent",
                outcome="done" if number % 2 else "",
                intent=9 + number if number % 2 else 0,
                binding_id="b" * 32,
                service="worker",
                request_id=tenant,
                details={"status": "STATUS_CONNECTED"},
            )
            for number in range(start, max(0, start - request.limit), -1)
        ]
        following = str(start - request.limit) if start > request.limit else ""
        return trail.ReadTrailResponse(entries=entries, next_cursor=following, looked_back_to=timestamp(NOW))


class RevocationsService(revocations_grpc.RevocationsServicer):
    """The vault service's bulk revocation, in memory: an order is done when it is looked at."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def RevokeMany(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "revoke_many")
        identifier = hashlib.sha256(f"{tenant}{request.idempotency_key}".encode()).hexdigest()[:32]
        taken = revocations.Revocation(
            id=identifier,
            selector=request.selector,
            reason=request.reason,
            dry_run=request.dry_run,
            state=revocations.REVOCATION_STATE_MATCHING,
            requested_at=timestamp(NOW),
            requested_by="local",
        )
        self.world.revocations[tenant, identifier] = taken
        return revocations.RevokeManyResponse(revocation=taken)

    async def DescribeRevocation(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "describe_revocation")
        found = self.world.revocations.get((tenant, request.revocation_id))
        if found is None:
            raise errors.NotFound()
        found.state, found.matched, found.revoked = revocations.REVOCATION_STATE_DONE, 3, 2
        found.finished_at.CopyFrom(timestamp(NOW + 1))
        del found.binding_ids[:], found.failed[:]
        found.binding_ids.extend(["0" * 32, "1" * 32, "2" * 32])
        found.failed.append(revocations.RevocationFailure(binding_id="1" * 32, reason="vault_unavailable"))
        return revocations.DescribeRevocationResponse(revocation=found)


class VerifierService(verification_grpc.VerificationServiceServicer):
    """The verifier's manners, in memory: every key is good while `world.verdict` holds."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def Submit(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "submit")
        self.world.submitted.append((tenant, request.binding_id, request.wait_seconds))
        record = self.world.records[tenant, request.binding_id]
        if not self.world.verdict or not request.wait_seconds or record.verdict.status == pb.STATUS_REVOKED:
            return verification.SubmitResponse(verified=False)
        self.world.connect(record)
        return verification.SubmitResponse(verified=True, observation=self.world.observations.get(record.id))

    async def Get(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get")
        return verification.GetResponse(observation=self.world.observations.get(request.binding_id))

    async def List(self, request: Any, rpc: Any) -> Any:
        self.world.enter(rpc, "get")
        seen = [self.world.observations.get(one, pb.Observation()) for one in request.binding_ids]
        return verification.ListResponse(observations=seen)

    async def Page(self, request: Any, rpc: Any) -> Any:
        tenant = self.world.enter(rpc, "page")
        page, following = self.world.page(tenant, request)
        entries = [verification.PageEntry(binding=one, observation=self.world.observations.get(one.id)) for one in page]
        return verification.PageResponse(entries=entries, next_after=following)


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

    def __init__(self, background: Background, settings: GatewaySettings) -> None:
        self._background = background
        public, private = listen("127.0.0.1:0"), listen("127.0.0.1:0")
        self.port = public.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
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


def until(condition: Callable[[], Any], seconds: float = 5) -> Any:
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
                )
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
    leaf = authority.issue("gateway")
    return {
        "listen": f"127.0.0.1:{free_port()}",
        "health_address": f"127.0.0.1:{free_port()}",
        "tls_cert_file": str(leaf.cert_file),
        "tls_key_file": str(leaf.key_file),
        "tls_ca_file": str(leaf.ca_file),
        "jwt_issuer": issuer.issuer,
        "jwks_file": str(issuer.jwks_file),
        "redis_url": valkey.address,
        "redis_password_file": str(valkey.password_file),
        "vault_target": targets.vault,
        "verifier_target": targets.verifier,
        "egress_ips": "203.0.113.7, 203.0.113.8",
        "streams_per_tenant": "3",
    }


@pytest.fixture(scope="session")
def serve(background: Background, settings: dict[str, Any]) -> Iterator[Callable[..., Served]]:
    """Start further gateways with changed settings."""
    running: list[Served] = []

    def start(**changes: str) -> Served:
        running.append(Served(background, GatewaySettings.model_validate({**settings, **changes})))
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
    with httpx.Client(base_url=served.url, headers=headers, timeout=10, event_hooks=hooks) as made:
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
