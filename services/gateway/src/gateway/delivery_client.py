"""Own the deliverer's way to the vault service: who wants events where, and a signature for each delivery.

It names the tenants itself; its identity opens these three calls and no other.
"""

from dataclasses import dataclass
from typing import Final

import grpc
from common.rpc.client import call
from strongroom.vault.v1 import webhooks_pb2 as messages
from strongroom.vault.v1.webhooks_pb2_grpc import WebhooksStub

CALL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """One endpoint of one tenant; without statuses it wants all events since `created_ms`, while it is not paused."""

    tenant: str
    id: str
    url: str
    statuses: frozenset[int]
    created_ms: int
    paused: bool = False


class DeliveryClient:
    """What the vault service tells the workload that delivers; every method raises our error family."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = WebhooksStub(channel)

    async def subscribers(self) -> list[str]:
        """Return the tenants that may have endpoints."""
        answer = await call(self._stub.ListSubscribers, messages.ListSubscribersRequest(), timeout_s=CALL_S)
        return list(answer.tenant_ids)

    async def targets(self, tenant: str) -> list[Target]:
        """Return a tenant's endpoints; raise PermissionDenied for one that is disabled."""
        request = messages.ListTargetsRequest(tenant_id=tenant)
        answer = await call(self._stub.ListTargets, request, timeout_s=CALL_S)
        return [
            Target(tenant, one.id, one.url, frozenset(one.statuses), one.created_at.ToMilliseconds(), one.paused)
            for one in answer.endpoints
        ]

    async def sign(self, target: Target, message_id: str, moment: int, body: bytes) -> str:
        """Return the header `webhook-signature`; raise NotFound for an endpoint that is no more."""
        request = messages.SignDeliveryRequest(
            tenant_id=target.tenant, endpoint_id=target.id, message_id=message_id, timestamp=moment, payload=body
        )
        answer = await call(self._stub.SignDelivery, request, timeout_s=CALL_S)
        return str(answer.signature)
