"""Real Valkey, the real simulator, and a small vault in place of the vault service."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Queue as Handover
from threading import Thread
from typing import Any

import pytest
from cli.pki import Authority, Leaf
from cli.processes import free_port
from cli.tokens import TokenIssuer
from cli.valkey import Valkey
from common import redis as connections
from common.clock import SystemClock
from common.rpc import server
from common.rpc.tls import Identity
from common.tokens import TokenVerifier
from redis.asyncio import Redis
from simulator import Account, Exchange, config, running
from strongroom.types.v1.binding_pb2 import (
    STATUS_CONNECTED,
    Binding,
    Verdict,
)
from strongroom.vault.v1 import binding_store_pb2, signer_pb2
from strongroom.vault.v1.binding_store_pb2_grpc import add_BindingStoreServicer_to_server
from strongroom.vault.v1.signer_pb2_grpc import add_SignerServicer_to_server
from strongroom.verifier.v1.verification_service_pb2 import Event
from verifier.bitget.budget import Caller
from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.reach import Reach
from verifier.bitget.shared_budget import SharedBudget
from verifier.jobs import ASKED, ATTEMPTS, BACKGROUND, DUE, SOON, Job, Outcome, Queue
from verifier.reconcile import Reconciler
from verifier.schedule import Schedule
from verifier.status import Status
from verifier.verify import Verification
from verifier.worker import Handler, Pool

from services.verifier.tests.small_vault import BOTH, TENANT, SignerFace, SmallVault, StoreFace

EGRESS = ("203.0.113.10", "203.0.113.11")
# Keys without a TTL: the queue's own, from which each entry goes with its job.
OWNED = {key.encode() for key in (ASKED, BACKGROUND, DUE, SOON, ATTEMPTS)}


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

    def records(self, count: int, tenant: str = TENANT) -> list[Binding]:
        """Put connected bindings into the vault, as if they had been verified long ago."""
        made = []
        for _ in range(count):
            binding = Binding(id=secrets.token_hex(16), tenant_id=tenant, revision=2)
            binding.verdict.status = STATUS_CONNECTED
            self.vault.records[binding.id] = binding
            made.append(binding)
        return made

    def reconciler(self) -> Reconciler:
        return Reconciler(
            redis=self.redis,
            vault=self.vault,
            status=self.status,
            queue=self.queue,
            schedule=self.schedule,
            interval_s=86_400,
            calls_per_minute=5400,
            clock=SystemClock(),
        )

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


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30.0) -> Any:
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
    url, loop = ready.get(timeout=60)
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


class Free:
    """A budget that holds nobody up."""

    async def turn(self, caller: Caller, endpoint: str) -> None: ...

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None: ...

    async def refused(self, caller: Caller, endpoint: str, *, address: bool) -> None: ...


@pytest.fixture
async def no_limits(bench: Bench) -> AsyncIterator[None]:
    """Let the bench ask as often as it likes, in tests of other matters: the limits are waited for in test_budget."""
    bench.exchange.limits.enforced = False
    async with open_session() as session:
        bench.client = BitgetClient(session, bench.url, Free(), SystemClock())
        yield


@pytest.fixture
def wait_until() -> Callable[..., Awaitable[Any]]:
    return until


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
        leaf, (redis_url, password_file) = self.leaf(name), self.redis.account(name)
        common = {
            "health_address": f"127.0.0.1:{free_port()}",
            "tls_cert_file": leaf.cert_file,
            "tls_key_file": leaf.key_file,
            "tls_ca_file": leaf.ca_file,
            "jwt_issuer": self.issuer.issuer,
            "jwks_file": self.issuer.jwks_file,
            "vault_target": self.vault_target,
            "redis_url": redis_url,
            "redis_password_file": password_file,
            "egress_ips": ",".join(EGRESS),
        }
        return {key: str(value) for key, value in {**common, **own}.items()}


@pytest.fixture
async def site(bench: Bench, valkey: Valkey, tmp_path: Path) -> AsyncIterator[Site]:
    authority, issuer = Authority.create(tmp_path / "pki"), TokenIssuer.create(tmp_path / "issuer")
    leaf = authority.issue("vault")
    target = f"127.0.0.1:{free_port()}"
    tokens = TokenVerifier(issuer.issuer, issuer.jwks_file, SystemClock())
    store, signer = StoreFace(bench.vault, tokens), SignerFace(bench.vault, tokens)
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
