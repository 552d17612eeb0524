"""Real Valkey, the real simulator, and a small vault that keeps records in memory and signs in this process."""

import asyncio
import base64
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import pytest
from cli.valkey import Valkey
from common import redis as connections
from common.clock import SystemClock, timestamp
from common.errors import Aborted, BindingRevoked, NotFound
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
    Verdict,
)
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, Header, SignResponse
from strongroom.verifier.v1.verification_service_pb2 import Event
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.pace import Pace
from verifier.jobs import Job, Outcome, Queue
from verifier.schedule import Schedule
from verifier.status import Status
from verifier.verify import Verification
from verifier.worker import Handler, Pool

TENANT = "t" * 26
EGRESS = ("203.0.113.10", "203.0.113.11")
BOTH = (SCOPE_SPOT, SCOPE_FUTURES)


@dataclass
class Credential:
    """What the small vault signs with."""

    api_key: str
    secret_key: str
    passphrase: str


@dataclass
class SmallVault:
    """Records with check-and-set and a signer: what the verifier's port promises, without a server."""

    records: dict[str, Binding] = field(default_factory=dict)
    credentials: dict[str, Credential] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
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

    async def scan(self) -> AsyncIterator[Binding]:
        for record in list(self.records.values()):
            yield record

    async def sign(self, tenant: str, binding: str, request: ExchangeRequest, demo: bool) -> SignResponse:
        if (await self.describe(tenant, binding)).verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        credential, moment = self.credentials[binding], str(time.time_ns() // 1_000_000)
        query = "&".join(f"{item.name}={quote(item.value, safe='')}" for item in request.query)
        target = f"{request.path}?{query}" if query else request.path
        message = f"{moment}{request.method}{target}".encode() + request.body
        signature = base64.b64encode(hmac.digest(credential.secret_key.encode(), message, "sha256")).decode()
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
        return SignResponse(method=request.method, target=target, headers=pairs, body=request.body)


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
    egress: tuple[str, ...] = EGRESS

    def verification(self) -> Verification:
        return Verification(
            vault=self.vault,
            exchange=self.client,
            status=self.status,
            schedule=self.schedule,
            egress=self.egress,
            clock=SystemClock(),
        )

    async def verify(self, binding: Binding, attempt: int = 0, cause: str = "request") -> Outcome:
        """Run one verification directly."""
        job = Job(binding.tenant_id, binding.id, cause, attempt)
        return await self.verification().run(job, int(time.time() * 1000))

    async def verdict(self, account: Account | str, scopes: Sequence[Any] = BOTH, **changed: str) -> Verdict:
        """Bind an account, verify it once and return the verdict that the record then carries."""
        if isinstance(account, str):
            account = self.exchange.named(account)
        binding = self.vault.bind(account, scopes, **changed)
        await self.verify(binding)
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

    def pool(self, *, consumer: str = "one", lease_s: float = 30.0, slots: int = 8) -> Pool:
        queue = Queue(self.redis, consumer)
        handler = Handler(queue, self.status, self.verification(), self.schedule, SystemClock())
        return Pool(
            queue=queue,
            handler=handler,
            lost=asyncio.Event(),
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
        if key not in (b"sr:jobs", b"sr:due", b"sr:due:attempts") and await client.ttl(key) < 0:
            orphans.append(key)
    await client.flushall()
    await client.aclose()
    assert not orphans, orphans


@pytest.fixture
async def bench(redis: Redis) -> AsyncIterator[Bench]:
    exchange = config.load()
    clock, schedule = SystemClock(), Schedule(86_400, Random(7).uniform)
    async with running(exchange) as addresses, open_session() as session:
        yield Bench(
            redis=redis,
            exchange=exchange,
            vault=SmallVault(),
            client=BitgetClient(session, addresses.url, Pace(clock), clock),
            url=addresses.url,
            schedule=schedule,
            status=Status(redis, clock),
            queue=Queue(redis, "bench"),
        )


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[Any]]:
    return until


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return tmp_path / "pki"
