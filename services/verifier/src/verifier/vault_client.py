"""Own the verifier's narrow view of the vault service: describe, sign, transition, scan.

It can neither bind nor revoke, and holds nothing.
"""

from collections.abc import AsyncIterator
from typing import Final, Protocol

import grpc
from common.errors import NotFound, PermissionDenied
from common.rpc import client
from strongroom.types.v1.binding_pb2 import Binding, Verdict
from strongroom.vault.v1.binding_store_pb2 import DescribeRequest, ScanRequest, TransitionRequest
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.signer_pb2 import ExchangeRequest, SignRequest, SignResponse
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

CALL_S: Final = 5.0
SCAN_S: Final = 300.0


class Vault(Protocol):
    """What the verifier may ask of the vault service. Errors are those of the common family."""

    async def describe(self, tenant: str, binding: str) -> Binding:
        """Return one record; raise NotFound, for a tenant that does not exist too."""

    async def sign(self, tenant: str, binding: str, request: ExchangeRequest, demo: bool) -> SignResponse:
        """Return the bytes to send for a verification read; raise BindingRevoked or NotFound when it has ended."""

    async def transition(self, tenant: str, binding: str, revision: int, verdict: Verdict) -> Binding:
        """Record a verdict reached from `revision` and return the record; raise Aborted when it has changed."""

    def scan(self) -> AsyncIterator[Binding]:
        """Yield every binding of every tenant."""


class VaultClient:
    """The vault service over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._store = BindingStoreStub(channel)
        self._signer = SignerStub(channel)

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

    async def sign(self, tenant: str, binding: str, request: ExchangeRequest, demo: bool) -> SignResponse:
        """See `Vault`."""
        message = SignRequest(tenant_id=tenant, binding_id=binding, request=request, demo=demo)
        signed: SignResponse = await client.call(self._signer.Sign, message, timeout_s=CALL_S)
        return signed

    async def transition(self, tenant: str, binding: str, revision: int, verdict: Verdict) -> Binding:
        """See `Vault`."""
        request = TransitionRequest(tenant_id=tenant, binding_id=binding, expected_revision=revision, verdict=verdict)
        answer = await client.call(self._store.Transition, request, timeout_s=CALL_S)
        recorded: Binding = answer.binding
        return recorded

    async def scan(self) -> AsyncIterator[Binding]:
        """See `Vault`."""
        async for item in client.stream(self._store.Scan, ScanRequest(), timeout_s=SCAN_S):
            yield item.binding
