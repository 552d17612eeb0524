"""Customers of several tenants who bind, read, sign, rotate and revoke all at once, and log what became of each."""

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

import grpc
from common.errors import (
    Aborted,
    AlreadyExists,
    BindingRevoked,
    NotFound,
    StrongroomError,
)
from common.rpc.client import call, channel
from common.rpc.tls import Identity
from simulator.signature import HmacVerifier, prehash
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, STATUS_REVOKED, Account, Verdict
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import binding_store_pb2 as store
from strongroom.vault.v1 import revocations_pb2 as bulk
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.revocations_pb2_grpc import RevocationsStub
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub
from vault.asked import derived_id

from tests.history import History, Op

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
WORKS = Verdict(status=STATUS_CONNECTED, account=Account(uid="7"))
NO = (AlreadyExists, NotFound, BindingRevoked, Aborted)  # answers that surely had no effect
PATIENCE_S = 4.0
OPERATOR = "o" * 26
SUBJECTS = 6


class Ways:
    """Stubs of the service, as the gateway and as a worker; an asynchronous context manager."""

    def __init__(self, lives: Any) -> None:
        self._lives = lives
        self._opened: list[grpc.aio.Channel] = []

    async def __aenter__(self) -> "Ways":
        for name in ("gateway", "worker"):
            leaf = self._lives.authority.issue(name)
            identity = Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)
            self._opened.append(channel(self._lives.target, "vault", identity))
        gateway, worker = self._opened
        self.store, self.bulk = BindingStoreStub(gateway), RevocationsStub(gateway)
        self.oracle, self.verifier = SignerStub(worker), BindingStoreStub(worker)
        self.operator = f"Bearer {self._lives.issuer.issue(OPERATOR, ['admin'])}"
        return self

    async def __aexit__(self, *_: object) -> None:
        for way in self._opened:
            await way.close()

    def bearer(self, tenant: str) -> str:
        """Return what a tenant's own callers show."""
        return f"Bearer {self._lives.issuer.issue(tenant, ['bindings:read', 'bindings:write'])}"


@dataclass
class Tenant:
    """What its customers know together: the keys they own, and what they have asked for."""

    id: str
    bearer: str
    secrets: dict[str, str] = field(default_factory=dict)  # API key → secret key
    asked: dict[str, store.BindRequest] = field(default_factory=dict)  # binding → its bind
    known: list[str] = field(default_factory=list)  # bindings that were acknowledged
    orders: dict[str, tuple[bulk.RevokeManyRequest, float]] = field(default_factory=dict)  # bulk revocations, and when

    def credential(self, chance: random.Random) -> store.Credential:
        """Return a new key, or one that may be bound already; an API key shows whose it is."""
        if self.secrets and chance.random() < 0.4:
            api_key = chance.choice(list(self.secrets))
        else:
            api_key = f"bg_{self.id}{secrets.token_hex(8)}"
            self.secrets[api_key] = secrets.token_hex(32)
        return store.Credential(
            key_type=1, api_key=api_key, secret_key=self.secrets[api_key], passphrase="Passphrase01"
        )


class Customer:
    """One of them: one operation after the other, each chosen by chance."""

    def __init__(self, ways: Ways, tenant: Tenant, others: list[Tenant], history: History, seed: str) -> None:
        self._ways, self._tenant, self._others, self._history = ways, tenant, others, history
        self._random = random.Random(seed)
        self.faults: list[str] = []

    async def go_on(self, stopping: asyncio.Event) -> None:
        """Act until told to stop."""
        ways = [self.bind, self.read, self.sign, self.rotate, self.revoke, self.revoke_many]
        while not stopping.is_set():
            act = self._random.choices(ways, [4, 3, 6, 2, 1.5, 0.3])[0]
            await act()
            last = self._history.ops[-1].outcome if self._history.ops else "ok"
            await asyncio.sleep(self._random.uniform(0, 0.4 if last == "info" else 0.02))

    async def bind(self) -> None:
        """Bind a key, or ask once more what was asked before."""
        tenant, again = self._tenant, self._random.random() < 0.3
        if again and tenant.asked:
            request = self._random.choice(list(tenant.asked.values()))
        else:
            request = store.BindRequest(
                idempotency_key=secrets.token_hex(8),
                exchange=1,
                label=tenant.id,
                subject=f"customer-{self._random.randrange(SUBJECTS)}",
                scopes=[1],
                credential=tenant.credential(self._random),
            )
        name = derived_id(tenant.id, request.idempotency_key)
        tenant.asked[name] = request
        with self._history.op("bind", tenant.id, name, request.credential.api_key) as op:
            if await self._told(op, self._ways.store.Bind, request, authorization=tenant.bearer):
                tenant.known.append(name)

    async def read(self, name: str = "") -> Op:
        """Read a binding of one's own or, now and then, of somebody else."""
        with self._history.op("read", self._tenant.id, name or self._any(foreign=0.1)) as op:
            request = store.DescribeRequest(binding_id=op.binding)
            told = await self._told(op, self._ways.store.Describe, request, authorization=self._tenant.bearer)
            if told is not None:
                one = told.binding
                op.found = {"tag": one.label, "live": one.verdict.status != STATUS_REVOKED}
            elif op.outcome == "fail":
                op.outcome = "ok"  # it was told that there is none
        return op

    async def sign(self, name: str = "") -> Op:
        """Have a request signed, and hold the signature against the key that its header names."""
        with self._history.op("sign", self._tenant.id, name or self._any(foreign=0.1)) as op:
            request = SignRequest(binding_id=op.binding, tenant_id=self._tenant.id, requests=[INFO])
            told = await self._told(op, self._ways.oracle.Sign, request)
            if told is not None:
                headers = {one.name: one.value for one in told.signed[0].headers}
                op.version, api_key = told.credential_version, headers["ACCESS-KEY"]
                op.found = {"tag": api_key[3:29], "live": True}
                self._hold(op, api_key, headers)
        return op

    def _hold(self, op: Op, api_key: str, headers: dict[str, str]) -> None:
        owners = [one for one in self._others if api_key in one.secrets]
        message = prehash(headers["ACCESS-TIMESTAMP"].encode(), b"GET", INFO.path.encode(), b"", b"")
        verifiers = [HmacVerifier(one.secrets[api_key]) for one in owners]
        if not any(one.accepts(message, headers["ACCESS-SIGN"].encode()) for one in verifiers):
            self.faults.append(f"mismatched: {op.binding} signed by another key than its header names")

    async def rotate(self) -> None:
        """Replace a credential, or have a replacement fail; what is told is of the promotion."""
        tenant = self._tenant
        credential = tenant.credential(self._random)
        with self._history.op("rotate", tenant.id, self._any(), credential.api_key) as op:
            stage = store.StageRequest(
                binding_id=op.binding, idempotency_key=secrets.token_hex(8), credential=credential
            )
            staged = await self._told(op, self._ways.store.Stage, stage, authorization=tenant.bearer)
            if staged is None:
                return
            op.outcome, op.version = "info", staged.version
            if self._random.random() < 0.2:
                await self.abandon(op.binding, staged.version)
                return
            order = store.PromoteRequest(
                binding_id=op.binding,
                tenant_id=tenant.id,
                expected_revision=staged.binding.revision,
                version=staged.version,
                verdict=WORKS,
            )
            for _ in range(2):
                if await self._told(op, self._ways.verifier.Promote, order) is not None:
                    return
                op.outcome = "info"  # the first may have been done, and its answer lost

    async def abandon(self, name: str, version: int) -> Op:
        """Give a staged version up, as the verifier does with a key that does not work."""
        order = store.AbandonRequest(
            binding_id=name, tenant_id=self._tenant.id, version=version, reason="invalid_secret"
        )
        op = Op("rotate", self._tenant.id, name)
        await self._told(op, self._ways.verifier.Abandon, order)
        return op

    async def revoke(self) -> None:
        """End a binding; ask again half of the time when nobody knows."""
        with self._history.op("revoke", self._tenant.id, self._any()) as op:
            request = store.RevokeRequest(binding_id=op.binding)
            for _ in range(self._random.choice([1, 3])):
                if await self._told(op, self._ways.store.Revoke, request, authorization=self._tenant.bearer):
                    break

    async def revoke_many(self) -> None:
        """Order the end of everything of one subject; what came of it is looked up when all is over."""
        selector = bulk.RevocationSelector(
            tenant_id=self._tenant.id, subject=f"customer-{self._random.randrange(SUBJECTS)}"
        )
        order = bulk.RevokeManyRequest(idempotency_key=secrets.token_hex(8), selector=selector, reason="a drill")
        self._tenant.orders[order.idempotency_key] = order, time.monotonic()
        op = Op("revoke", self._tenant.id)
        await self._told(op, self._ways.bulk.RevokeMany, order, authorization=self._ways.operator)

    def _any(self, *, foreign: float = 0.0) -> str:
        """Return a binding that was asked for, whatever became of it."""
        tenant = self._tenant if self._random.random() >= foreign else self._random.choice(self._others)
        known = tenant.known if tenant.known and self._random.random() < 0.8 else list(tenant.asked)
        return self._random.choice(known[-20:] or ["0" * 32])

    async def _told(self, op: Op, method: Any, request: Any, *, authorization: str | None = None) -> Any:
        """Make one call, write down how it ended, and return its answer if there is one."""
        try:
            answer = await call(method, request, timeout_s=PATIENCE_S, authorization=authorization)
        except NO:
            op.outcome = "fail"
        except StrongroomError as error:
            op.outcome = "info"
            if error.kind in ("internal", "invalid_argument", "idempotency_mismatch", "permission_denied"):
                self.faults.append(f"wrong: {op.kind} {op.binding} was told {error.kind} {error.reason}")
        else:
            op.outcome = "ok"
            return answer
        return None
