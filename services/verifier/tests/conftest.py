"""Real Valkey, the real simulator, and a small vault that keeps records in memory and signs in this process."""

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue as Handover
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from cli.pki import Authority, Leaf
from cli.processes import free_port
from cli.tokens import TokenIssuer
from cli.valkey import Valkey
from common import redis as connections
from common.clock import SystemClock, timestamp
from common.errors import Aborted, BindingRevoked, NotFound, PolicyRefused
from common.rpc import server
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from redis.asyncio import Redis
from simulator import Account, Exchange, config, running
from strongroom.types.v1.binding_pb2 import (
    EXCHANGE_BITGET,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    STATUS_CONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    STATUS_REVOKED,
    Binding,
    CredentialInfo,
    TenantRules,
    Verdict,
)
from strongroom.vault.v1 import binding_store_pb2, signer_pb2
from strongroom.vault.v1.binding_store_pb2 import (
    DescribeManyResponse,
    DescribeResponse,
    EnrollResponse,
    NamesResponse,
    TransitionResponse,
)
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreServicer, add_BindingStoreServicer_to_server
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, Header, SignedRequest, SignResponse
from strongroom.vault.v1.signer_pb2_grpc import SignerServicer, add_SignerServicer_to_server
from strongroom.verifier.v1.verification_service_pb2 import Event
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.reach import Reach
from verifier.bitget.shared_budget import SharedBudget
from verifier.jobs import ASKED, ATTEMPTS, BACKGROUND, DUE, SOON, Job, Outcome, Queue
from verifier.schedule import Schedule
from verifier.status import Status
from verifier.verify import Verification
from verifier.worker import Handler, Pool

TENANT = "t" * 26
EGRESS = ("203.0.113.10", "203.0.113.11")
# Keys without a TTL: the queue's own, from which each entry goes with its job.
OWNED = {key.encode() for key in (ASKED, BACKGROUND, DUE, SOON, ATTEMPTS)}
BOTH = (SCOPE_SPOT, SCOPE_FUTURES)


@dataclass
class Credential:
    """What the small vault signs with."""

    api_key: str
    secret_key: str
    passphrase: str


def signed(secret_key: str, message: bytes) -> bytes:
    """Return what Transit would make with this secret key: an RSA signature for a PEM, a MAC for any other text."""
    if not secret_key.startswith("-----BEGIN"):
        return hmac.digest(secret_key.encode(), message, "sha256")
    key = load_pem_private_key(secret_key.encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key.sign(message, PKCS1v15(), SHA256())


@dataclass
class SmallVault:
    """Records with check-and-set and a signer: what the verifier's port promises, without a server."""

    records: dict[str, Binding] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    enrolled: dict[str, tuple[str, int]] = field(default_factory=dict)
    rules: TenantRules = field(
        default_factory=lambda: TenantRules(errors=["withdraw_enabled", "withdraw_without_ip_list"])
    )
    # By how much this signer's clock is ahead of the true one.
    signer_ahead_ms: int = 0
    transitions: int = 0
    down: Exception | None = None
    before_transition: Callable[[], None] | None = None

    def bind(self, account: Account, scopes: Sequence[Any] = BOTH, *, tenant: str = TENANT, **changed: str) -> Binding:
        """Keep a simulated account's key; `changed` replaces parts of the credential."""
        binding_id = secrets.token_hex(16)
        credential = {"api_key": account.api_key, "secret_key": account.secret_key, "passphrase": account.passphrase}
        self.credentials[binding_id] = Credential(**{**credential, **changed})
        now = timestamp(time.time())
        self.records[binding_id] = Binding(
            id=binding_id,
            tenant_id=tenant,
            exchange=EXCHANGE_BITGET,
            scopes=scopes,
            created_at=now,
            updated_at=now,
            credential=CredentialInfo(version=1),
            verdict=Verdict(status=STATUS_PENDING),
            revision=1,
        )
        return self.records[binding_id]

    def revoke(self, binding_id: str) -> None:
        record = self.records[binding_id]
        record.verdict.CopyFrom(Verdict(status=STATUS_REVOKED))
        record.revision += 1
        record.updated_at.CopyFrom(timestamp(time.time()))

    async def describe(self, tenant: str, binding: str) -> Binding:
        if self.down is not None:
            raise self.down
        record = self.records.get(binding)
        if record is None or record.tenant_id != tenant:
            raise NotFound()
        copy = Binding()
        copy.CopyFrom(record)
        return copy

    async def transition(self, tenant: str, binding: str, revision: int, verdict: Verdict) -> Binding:
        if self.before_transition is not None:
            self.before_transition()
        record = self.records[binding]
        if record.revision != revision:
            raise Aborted()
        record.verdict.CopyFrom(verdict)
        record.revision += 1
        record.proven = record.proven or verdict.status in (STATUS_CONNECTED, STATUS_LIMITED)
        self.transitions += 1
        return await self.describe(tenant, binding)

    async def enroll(self, tenant: str, binding: str, uid: str, environment: Any) -> EnrollResponse:
        if (await self.describe(tenant, binding)).verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        if not uid:
            return EnrollResponse(rules=self.rules)
        joined = self.enrolled.get(binding) != (uid, environment)
        self.enrolled[binding] = (uid, environment)
        key = self.credentials[binding].api_key
        live = {
            other: record.tenant_id
            for other, record in self.records.items()
            if other != binding and record.verdict.status != STATUS_REVOKED and other in self.enrolled
        }
        members = [other for other, owner in live.items() if owner == tenant and self.enrolled[other][0] == uid]
        return EnrollResponse(
            siblings=sorted(other for other in members if self.enrolled[other][1] == environment),
            keys_bound=len(members) + 1,
            bound_elsewhere=any(
                owner != tenant and self.credentials[other].api_key == key for other, owner in live.items()
            ),
            rules=self.rules,
            joined=joined,
        )

    async def names(self) -> AsyncIterator[tuple[str, list[str]]]:
        for tenant in sorted({record.tenant_id for record in self.records.values()}):
            found = sorted(name for name, record in self.records.items() if record.tenant_id == tenant)
            for start in range(0, len(found), 1000):
                yield tenant, found[start : start + 1000]

    async def describe_many(self, tenant: str, bindings: Sequence[str]) -> list[Binding]:
        return [
            await self.describe(tenant, name)
            for name in bindings
            if name in self.records and self.records[name].tenant_id == tenant
        ]

    async def sign(
        self, tenant: str, binding: str, request: ExchangeRequest, demo: bool, clock_offset_ms: int = 0
    ) -> tuple[SignedRequest, int]:
        if (await self.describe(tenant, binding)).verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        if self.records[binding].frozen:
            raise PolicyRefused("frozen", rule="frozen", freeze_id="f" * 32)
        credential = self.credentials[binding]
        stamp = time.time_ns() // 1_000_000 + self.signer_ahead_ms + clock_offset_ms
        moment = str(stamp)
        query = "&".join(f"{item.name}={quote(item.value, safe='')}" for item in request.query)
        target = f"{request.path}?{query}" if query else request.path
        message = f"{moment}{request.method}{target}".encode() + request.body
        signature = base64.b64encode(signed(credential.secret_key, message)).decode()
        headers = {
            "ACCESS-KEY": credential.api_key,
            "ACCESS-SIGN": signature,
            "ACCESS-TIMESTAMP": moment,
            "ACCESS-PASSPHRASE": credential.passphrase,
            "Content-Type": "application/json",
            "locale": "en-US",
            **({"paptrading": "1"} if demo else {}),
        }
        self.signed.append(target)
        pairs = [Header(name=name, value=value) for name, value in headers.items()]
        return SignedRequest(method=request.method, target=target, headers=pairs, body=request.body), stamp


@dataclass
class ShiftedClock(SystemClock):
    """The machine's clock, ahead by some seconds; its monotonic side is not."""

    ahead: float = 0.0

    def unix(self) -> float:
        return super().unix() + self.ahead


@dataclass
class Bench:
    """Everything one verifier needs, on real Redis and the simulated exchange."""

    redis: Redis
    exchange: Exchange
    vault: SmallVault
    client: BitgetClient
    url: str
    schedule: Schedule
    status: Status
    queue: Queue
    clock: ShiftedClock
    egress: tuple[str, ...] = EGRESS
    lost: asyncio.Event = field(default_factory=asyncio.Event)

    def verification(self) -> Verification:
        return Verification(
            vault=self.vault,
            exchange=self.client,
            status=self.status,
            schedule=self.schedule,
            egress=self.egress,
            clock=self.clock,
        )

    async def verify(self, binding: Binding, attempt: int = 0, cause: str = "request") -> Outcome:
        """Run one verification directly."""
        job = Job(binding.tenant_id, binding.id, cause, attempt)
        known = await self.status.read(job.tenant, job.binding)
        return await self.verification().run(job, int(time.time() * 1000), known)

    async def settled(self, binding: Binding) -> Outcome:
        """Verify until the submitter gets its answer, making the looks that are planned as if it were time for them."""
        while True:
            outcome = await self.verify(binding)
            if outcome.reply:
                return outcome
            self.clock.ahead += outcome.next_s or 0.0

    async def verdict(self, account: Account | str, scopes: Sequence[Any] = BOTH, **changed: str) -> Verdict:
        """Bind an account, verify it and return the verdict that the record then carries."""
        if isinstance(account, str):
            account = self.exchange.named(account)
        binding = self.vault.bind(account, scopes, **changed)
        await self.settled(binding)
        return self.vault.records[binding.id].verdict

    def change(self, name: str, **fields: Any) -> Account:
        """Change a simulated account as its control port would."""
        known = self.exchange.named(name)
        account = config.account({**config.document(known), **fields})
        self.exchange.accounts.pop(known.api_key)
        self.exchange.accounts[account.api_key] = account
        return account

    def fault(self, **fields: Any) -> None:
        self.exchange.faults.replace(config.faults([fields]))

    async def events(self, tenant: str = TENANT) -> list[Event]:
        entries = await self.redis.xrange(f"sr:{{{tenant}}}:events")
        return [Event.FromString(fields[b"event"]) for _, fields in entries]

    def pool(self, *, consumer: str = "one", lease_s: float = 30.0, slots: int = 8, handler: Any = None) -> Pool:
        queue = Queue(self.redis, consumer)
        handler = handler or Handler(queue, self.status, self.verification(), self.schedule, SystemClock())
        return Pool(
            queue=queue,
            handler=handler,
            lost=self.lost,
            slots=slots,
            lease_s=lease_s,
            schedule=self.schedule,
            clock=SystemClock(),
        )


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 10.0) -> Any:
    """Poll until the condition gives something true; fail after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.01)


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with Valkey(tmp_path_factory.mktemp("valkey"), appendonly=False) as server:
        yield server


@pytest.fixture
async def redis(valkey: Valkey) -> AsyncIterator[Redis]:
    """An empty Redis; afterwards every key must have a TTL or an owner that removes it."""
    client = connections.connect(valkey.url)
    await client.flushall()
    yield client
    orphans = []
    async for key in client.scan_iter():
        if key not in OWNED and await client.ttl(key) == -1:
            orphans.append(key)
    await client.flushall()
    await client.aclose()
    assert not orphans, orphans


@pytest.fixture(scope="session")
def simulator() -> Iterator[tuple[Exchange, str]]:
    """The exchange in a thread of its own: starting it for each test would take longer than the tests."""
    exchange, ready, done = config.load(), Handover[tuple[str, asyncio.AbstractEventLoop]](), asyncio.Event()

    async def serve() -> None:
        async with running(exchange) as addresses:
            ready.put((addresses.url, asyncio.get_running_loop()))
            await done.wait()

    thread = Thread(target=asyncio.run, args=[serve()])
    thread.start()
    url, loop = ready.get(timeout=10)
    yield exchange, url
    loop.call_soon_threadsafe(done.set)
    thread.join()


@pytest.fixture
async def bench(redis: Redis, simulator: tuple[Exchange, str]) -> AsyncIterator[Bench]:
    exchange, url = simulator
    exchange.reset()
    exchange.limits.enforced = True
    clock, schedule = SystemClock(), Schedule(86_400, lambda low, high: low + 0.05 * (high - low))
    async with open_session() as session:
        yield Bench(
            redis=redis,
            exchange=exchange,
            vault=SmallVault(),
            client=BitgetClient(session, url, SharedBudget(redis, clock, Reach(session, url)), clock),
            url=url,
            schedule=schedule,
            status=Status(redis, clock),
            queue=Queue(redis, "bench"),
            clock=ShiftedClock(),
        )


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[Any]]:
    return until


class StoreFace(BindingStoreServicer):
    """The small vault's records over gRPC, with the callers' rules of the real one."""

    def __init__(self, vault: SmallVault, tokens: TokenVerifier) -> None:
        self._vault = vault
        self._tokens = tokens

    async def Describe(self, request: Any, context: Any) -> DescribeResponse:
        tenant = request.tenant_id
        if server.peer.get() != "worker":
            tenant = self._tokens.verify(server.authorization(context)).tenant
        return DescribeResponse(binding=await self._vault.describe(tenant, request.binding_id))

    async def Transition(self, request: Any, context: Any) -> TransitionResponse:
        recorded = await self._vault.transition(
            request.tenant_id, request.binding_id, request.expected_revision, request.verdict
        )
        return TransitionResponse(binding=recorded, changed=True)

    async def Enroll(self, request: Any, context: Any) -> EnrollResponse:
        return await self._vault.enroll(request.tenant_id, request.binding_id, request.uid, request.environment)

    async def Names(self, request: Any, context: Any) -> AsyncIterator[NamesResponse]:
        async for tenant, names in self._vault.names():
            yield NamesResponse(tenant_id=tenant, binding_ids=names)

    async def DescribeMany(self, request: Any, context: Any) -> DescribeManyResponse:
        return DescribeManyResponse(bindings=await self._vault.describe_many(request.tenant_id, request.binding_ids))


class SignerFace(SignerServicer):
    """The small vault's signer over gRPC."""

    def __init__(self, vault: SmallVault) -> None:
        self._vault = vault

    async def Sign(self, request: Any, context: Any) -> SignResponse:
        what = (request.demo, request.clock_offset_ms)
        told = [await self._vault.sign(request.tenant_id, request.binding_id, one, *what) for one in request.requests]
        return SignResponse(signed=[signed for signed, _ in told], stamped_at_ms=told[0][1])


@dataclass
class Site:
    """What real processes need: identities, tokens, and the small vault listening with mTLS."""

    folder: Path
    authority: Authority
    issuer: TokenIssuer
    vault_target: str
    redis: Valkey

    def leaf(self, name: str) -> Leaf:
        return self.authority.issue(name)

    def settings(self, name: str, **own: Any) -> dict[str, str]:
        """Return the settings of a process of ours, by their lower-case names."""
        leaf = self.leaf(name)
        common = {
            "health_address": f"127.0.0.1:{free_port()}",
            "tls_cert_file": leaf.cert_file,
            "tls_key_file": leaf.key_file,
            "tls_ca_file": leaf.ca_file,
            "jwt_issuer": self.issuer.issuer,
            "jwks_file": self.issuer.jwks_file,
            "vault_target": self.vault_target,
            "redis_url": self.redis.address,
            "redis_password_file": self.redis.password_file,
            "egress_ips": ",".join(EGRESS),
        }
        return {key: str(value) for key, value in {**common, **own}.items()}


@pytest.fixture
async def site(bench: Bench, valkey: Valkey, tmp_path: Path) -> AsyncIterator[Site]:
    authority, issuer = Authority.create(tmp_path / "pki"), TokenIssuer.create(tmp_path / "issuer")
    leaf = authority.issue("vault")
    target = f"127.0.0.1:{free_port()}"
    tokens = TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock())
    store, signer = StoreFace(bench.vault, tokens), SignerFace(bench.vault)
    services = [
        (
            binding_store_pb2.DESCRIPTOR.services_by_name["BindingStore"],
            lambda made: add_BindingStoreServicer_to_server(store, made),
        ),
        (signer_pb2.DESCRIPTOR.services_by_name["Signer"], lambda made: add_SignerServicer_to_server(signer, made)),
    ]
    everyone = frozenset(("verifier", "worker"))
    callers = {f"/{item.full_name}/{method.name}": everyone for item, _ in services for method in item.methods}
    identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
    rpc = server.build(target, identity, callers, "strongroom.internal", services)
    await rpc.start()
    yield Site(tmp_path, authority, issuer, target, valkey)
    await rpc.stop(0)
