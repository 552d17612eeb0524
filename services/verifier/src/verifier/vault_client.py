"""Own the verifier's narrow view of the vault service: describe, sign, record verdicts, enroll, and what exists.

It can neither bind nor revoke, and holds nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple, Protocol

import grpc
from common.errors import NotFound, PermissionDenied
from common.rpc import client
from strongroom.types.v1.binding_pb2 import Binding, Environment, Finding, Verdict
from strongroom.types.v1.request_pb2 import ExchangeRequest, SignedRequest
from strongroom.vault.v1.binding_store_pb2 import (
    AbandonRequest,
    DescribeManyRequest,
    DescribeRequest,
    EnrollRequest,
    EnrollResponse,
    NamesRequest,
    PromoteRequest,
    TransitionRequest,
)
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

CALL_S: Final = 5.0
MANY_S: Final = 20.0
NAMES_S: Final = 300.0
# The most that one DescribeMany may ask for.
MANY: Final = 200
# The most that one Sign may ask for.
BATCH: Final = 8


class Vault(Protocol):
    """What the verifier may ask of the vault service. Errors are those of the common family."""

    async def describe(self, tenant: str, binding: str) -> Binding:
        """Return one record; raise NotFound, for a tenant that does not exist too."""

    async def sign(  # noqa: PLR0917  what a request is signed with
        self,
        tenant: str,
        binding: str,
        request: ExchangeRequest,
        demo: bool,
        clock_offset_ms: int = 0,
        version: int = 0,
    ) -> tuple[SignedRequest, int]:
        """Return the bytes to send for a verification read, and the time in ms that was signed.

        Raises BindingRevoked or NotFound when the binding has ended. `clock_offset_ms` is added to the signer's time:
        by how much the exchange's clock is ahead of it. `version` is that of a credential that is to replace the one in
        use; 0 is the one in use.
        """

    async def transition(self, tenant: str, binding: str, revision: int, verdict: Verdict) -> Binding:
        """Record a verdict reached from `revision` and return the record; raise Aborted when it has changed."""

    async def promote(self, tenant: str, binding: str, revision: int, version: int, verdict: Verdict) -> Binding:
        """Put a replacement into use, for which `verdict` was reached from `revision`; return the record.

        It returns when the old one is fenced and destroyed, and finishes what a crash left. Raises Aborted.
        """

    async def abandon(
        self, tenant: str, binding: str, version: int, reason: str, findings: Sequence[Finding]
    ) -> Binding:
        """Give a replacement up for good and return the record; raise Aborted when there is none."""

    async def enroll(
        self, tenant: str, binding: str, uid: str, environment: Environment.ValueType, version: int = 0
    ) -> EnrollResponse:
        """Record to which account a key has been proven to belong; return who else has it, and the tenant's rules.

        Safe to repeat; raise BindingRevoked for a binding that has ended.
        """

    def names(self) -> AsyncIterator[tuple[str, Sequence[str]]]:
        """Yield (tenant, up to 1000 binding ids), every binding of every tenant, in the order of tenants and ids."""

    async def describe_many(self, tenant: str, bindings: Sequence[str]) -> list[Binding]:
        """Return up to 200 records of one tenant; ids without a record are left out."""


class _What(NamedTuple):
    """What the requests of one Sign have in common."""

    tenant: str
    binding: str
    demo: bool
    clock_offset_ms: int
    version: int


_Waiting = tuple[ExchangeRequest, "asyncio.Future[tuple[SignedRequest, int]]"]


class VaultClient:
    """The vault service over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._store = BindingStoreStub(channel)
        self._signer = SignerStub(channel)
        self._asked: dict[_What, list[_Waiting]] = {}
        self._calls: set[asyncio.Task[None]] = set()

    async def describe(self, tenant: str, binding: str) -> Binding:
        """See `Vault`; as this workload, for a job that has no caller."""
        request = DescribeRequest(tenant_id=tenant, binding_id=binding)
        try:
            answer = await client.call(self._store.Describe, request, timeout_s=CALL_S, wait=True)
        except PermissionDenied as error:
            if error.reason != "not_provisioned":
                raise
            raise NotFound() from None
        found: Binding = answer.binding
        return found

    async def describe_for(self, authorization: str | None, binding: str) -> Binding:
        """Return one record of the caller whose `authorization` is passed on; raise NotFound or Unauthenticated."""
        request = DescribeRequest(binding_id=binding)
        answer = await client.call(self._store.Describe, request, timeout_s=CALL_S, authorization=authorization)
        found: Binding = answer.binding
        return found

    async def sign(  # noqa: PLR0917  what a request is signed with
        self,
        tenant: str,
        binding: str,
        request: ExchangeRequest,
        demo: bool,
        clock_offset_ms: int = 0,
        version: int = 0,
    ) -> tuple[SignedRequest, int]:
        """See `Vault`; what is asked for the same binding in one turn of the event loop is one call."""
        what, loop = _What(tenant, binding, demo, clock_offset_ms, version), asyncio.get_running_loop()
        if what not in self._asked:
            self._asked[what] = []
            loop.call_soon(self._send, what)
        answer: asyncio.Future[tuple[SignedRequest, int]] = loop.create_future()
        self._asked[what].append((request, answer))
        return await answer

    def _send(self, what: _What) -> None:
        waiting = [one for one in self._asked.pop(what) if not one[1].done()]  # who was cancelled waits no more
        for start in range(0, len(waiting), BATCH):
            call = asyncio.create_task(self._sign(what, waiting[start : start + BATCH]))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    async def _sign(self, what: _What, waiting: list[_Waiting]) -> None:
        """Have the requests signed in one call and tell everybody who still waits."""
        message = SignRequest(
            tenant_id=what.tenant,
            binding_id=what.binding,
            requests=[request for request, _ in waiting],
            demo=what.demo,
            clock_offset_ms=what.clock_offset_ms,
            credential_version=what.version,
        )
        try:
            told = await client.call(self._signer.Sign, message, timeout_s=CALL_S)
            for (_, answer), signed in zip(waiting, told.signed, strict=True):
                if not answer.done():
                    answer.set_result((signed, told.stamped_at_ms))
        except Exception as error:  # noqa: BLE001  whatever it was, nobody may be left waiting
            for _, answer in waiting:
                if not answer.done():
                    answer.set_exception(error)

    async def transition(self, tenant: str, binding: str, revision: int, verdict: Verdict) -> Binding:
        """See `Vault`."""
        request = TransitionRequest(tenant_id=tenant, binding_id=binding, expected_revision=revision, verdict=verdict)
        answer = await client.call(self._store.Transition, request, timeout_s=CALL_S)
        recorded: Binding = answer.binding
        return recorded

    async def promote(self, tenant: str, binding: str, revision: int, version: int, verdict: Verdict) -> Binding:
        """See `Vault`."""
        request = PromoteRequest(
            tenant_id=tenant, binding_id=binding, expected_revision=revision, version=version, verdict=verdict
        )
        answer = await client.call(self._store.Promote, request, timeout_s=CALL_S)
        promoted: Binding = answer.binding
        return promoted

    async def abandon(
        self, tenant: str, binding: str, version: int, reason: str, findings: Sequence[Finding]
    ) -> Binding:
        """See `Vault`."""
        request = AbandonRequest(
            tenant_id=tenant, binding_id=binding, version=version, reason=reason, findings=findings
        )
        answer = await client.call(self._store.Abandon, request, timeout_s=CALL_S)
        left: Binding = answer.binding
        return left

    async def enroll(
        self, tenant: str, binding: str, uid: str, environment: Environment.ValueType, version: int = 0
    ) -> EnrollResponse:
        """See `Vault`."""
        request = EnrollRequest(
            tenant_id=tenant, binding_id=binding, uid=uid, environment=environment, credential_version=version
        )
        answer: EnrollResponse = await client.call(self._store.Enroll, request, timeout_s=CALL_S)
        return answer

    async def names(self) -> AsyncIterator[tuple[str, Sequence[str]]]:
        """See `Vault`."""
        async for item in client.stream(self._store.Names, NamesRequest(), timeout_s=NAMES_S):
            yield item.tenant_id, list(item.binding_ids)

    async def describe_many(self, tenant: str, bindings: Sequence[str]) -> list[Binding]:
        """See `Vault`."""
        request = DescribeManyRequest(tenant_id=tenant, binding_ids=bindings)
        try:
            answer = await client.call(self._store.DescribeMany, request, timeout_s=MANY_S)
        except PermissionDenied as error:
            if error.reason != "not_provisioned":
                raise
            return []
        return list(answer.bindings)
