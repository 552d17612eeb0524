"""A small vault that keeps records in memory and signs in this process, by itself and over gRPC."""

import base64
import hmac
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from common.clock import timestamp
from common.errors import Aborted, BindingRevoked, NotFound, PolicyRefused
from common.rpc import server
from common.tokens import TokenVerifier
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from simulator import Account
from strongroom.types.v1.binding_pb2 import (
    ENVIRONMENT_DEMO,
    EXCHANGE_BITGET,
    ROTATION_STATE_FAILED,
    ROTATION_STATE_VERIFYING,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    STATUS_CONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    STATUS_REVOKED,
    Binding,
    CredentialInfo,
    Rotation,
    TenantRules,
    Verdict,
)
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header, SignedRequest
from strongroom.vault.v1.binding_store_pb2 import (
    DescribeManyResponse,
    DescribeResponse,
    EnrollResponse,
    NamesResponse,
    TransitionResponse,
)
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreServicer
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, PURPOSE_SIGN, SignRequest, SignResponse
from strongroom.vault.v1.signer_pb2_grpc import SignerServicer
from vault import policy, trading
from vault.canonical import canonical

TENANT = "t" * 26
TABLE = trading.load()
CAMEL_CASE = policy.load().camel_case_paths
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
    staged: dict[str, Credential] = field(default_factory=dict)
    signed: list[str] = field(default_factory=list)
    enrolled: dict[str, tuple[str, int]] = field(default_factory=dict)
    rules: TenantRules = field(
        default_factory=lambda: TenantRules(errors=["withdraw_enabled", "withdraw_without_ip_list"])
    )
    # By how much this signer's clock is ahead of the true one.
    signer_ahead_ms: int = 0
    # What was signed for callers: the texts, and how many at once.
    prehashes: list[bytes] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    before_sign: Callable[[], Awaitable[None]] | None = None
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

    def stage(self, binding_id: str, account: Account, **changed: str) -> Binding:
        """Keep a key that is to replace a binding's as its next version."""
        record = self.records[binding_id]
        credential = {"api_key": account.api_key, "secret_key": account.secret_key, "passphrase": account.passphrase}
        number = record.credential.version + 1
        self.staged[binding_id] = Credential(**{**credential, **changed})
        staged = CredentialInfo(version=number, key_type=record.credential.key_type)
        now = timestamp(time.time())
        record.rotation.CopyFrom(Rotation(state=ROTATION_STATE_VERIFYING, credential=staged, started_at=now))
        record.revision += 1
        return record

    async def promote(self, tenant: str, binding: str, revision: int, version: int, verdict: Verdict) -> Binding:
        record = self.records[binding]
        if record.rotation.state == ROTATION_STATE_VERIFYING:
            if record.revision != revision or record.rotation.credential.version != version:
                raise Aborted()
            record.credential.CopyFrom(record.rotation.credential)
            self.credentials[binding] = self.staged.pop(binding)
            record.verdict.CopyFrom(verdict)
            record.proven = True
        record.ClearField("rotation")
        record.revision += 2
        return await self.describe(tenant, binding)

    async def abandon(self, tenant: str, binding: str, version: int, reason: str, findings: Any) -> Binding:
        record = self.records[binding]
        if record.rotation.state != ROTATION_STATE_VERIFYING or record.rotation.credential.version != version:
            raise Aborted()
        del self.staged[binding]
        record.rotation.state, record.rotation.reason = ROTATION_STATE_FAILED, reason
        record.rotation.findings.extend(findings)
        record.revision += 2
        return await self.describe(tenant, binding)

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

    async def enroll(self, tenant: str, binding: str, uid: str, environment: Any, version: int = 0) -> EnrollResponse:
        if (await self.describe(tenant, binding)).verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        if not uid:
            return EnrollResponse(rules=self.rules)
        joined = self.enrolled.get(binding) != (uid, environment)
        self.enrolled[binding] = (uid, environment)
        key = (self.staged if version else self.credentials)[binding].api_key
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

    async def sign_for(self, tenant: str, request: SignRequest) -> SignResponse:
        """Sign a batch for a caller: all of it or nothing."""
        if self.before_sign is not None:
            await self.before_sign()
        record = await self.describe(tenant, request.binding_id)
        if record.verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        wanted = [canonical(one, CAMEL_CASE) for one in request.requests]
        for one in wanted:
            TABLE.decide(one, frozenset(record.scopes))
        credential = self.credentials[request.binding_id]
        stamp = time.time_ns() // 1_000_000 + self.signer_ahead_ms + request.clock_offset_ms
        self.batches.append(len(wanted))
        answer = SignResponse(credential_version=record.credential.version, stamped_at_ms=stamp)
        for one in wanted:
            signature = base64.b64encode(signed(credential.secret_key, one.prehash(stamp))).decode()
            headers = {
                "ACCESS-KEY": credential.api_key,
                "ACCESS-TIMESTAMP": str(stamp),
                "ACCESS-PASSPHRASE": credential.passphrase,
                "Content-Type": "application/json",
                "locale": "en-US",
                **({"paptrading": "1"} if record.verdict.environment == ENVIRONMENT_DEMO else {}),
                "ACCESS-SIGN": signature,
            }
            pairs = [Header(name=name, value=value) for name, value in headers.items()]
            self.prehashes.append(one.prehash(stamp))
            self.signed.append(one.target())
            answer.signed.add(method=one.method, target=one.target(), headers=pairs, body=one.body)
        return answer

    async def sign(
        self,
        tenant: str,
        binding: str,
        request: ExchangeRequest,
        demo: bool,
        clock_offset_ms: int = 0,
        version: int = 0,
    ) -> tuple[SignedRequest, int]:
        if (await self.describe(tenant, binding)).verdict.status == STATUS_REVOKED:
            raise BindingRevoked()
        if self.records[binding].frozen:
            raise PolicyRefused("frozen", rule="frozen", freeze_id="f" * 32)
        credential = (self.staged if version else self.credentials)[binding]
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
    """The small vault's signer over gRPC, with the real canonical form and table of calls for callers."""

    def __init__(self, vault: SmallVault, tokens: TokenVerifier) -> None:
        self._vault = vault
        self._tokens = tokens

    async def Sign(self, request: Any, context: Any) -> SignResponse:
        if request.purpose:
            caller = self._tokens.verify(server.authorization(context))
            caller.require({PURPOSE_EXECUTE: "requests:execute", PURPOSE_SIGN: "requests:sign"}[request.purpose])
            assert server.peer.get() == "verifier"
            assert not request.demo
            assert not request.tenant_id
            return await self._vault.sign_for(caller.tenant, request)
        what = (request.demo, request.clock_offset_ms)
        told = [await self._vault.sign(request.tenant_id, request.binding_id, one, *what) for one in request.requests]
        return SignResponse(signed=[signed for signed, _ in told], stamped_at_ms=told[0][1])
