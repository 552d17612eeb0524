"""Own the gRPC face of webhooks: for tenants by their own tokens, and for the workload that delivers."""

from typing import Final

from common.rpc.server import Callers, ServicerContext
from strongroom.vault.v1.webhooks_pb2 import (
    CreateEndpointRequest,
    CreateEndpointResponse,
    ListEndpointsRequest,
    ListEndpointsResponse,
    ListSubscribersRequest,
    ListSubscribersResponse,
    ListTargetsRequest,
    ListTargetsResponse,
    RemoveEndpointRequest,
    RemoveEndpointResponse,
    RotateSecretRequest,
    RotateSecretResponse,
    SignDeliveryRequest,
    SignDeliveryResponse,
    UpdateEndpointRequest,
    UpdateEndpointResponse,
)
from strongroom.vault.v1.webhooks_pb2_grpc import WebhooksServicer

from vault.actor import Admission
from vault.hashicorp.directory import VaultDirectory
from vault.webhooks import Webhooks

READ: Final = "bindings:read"
WRITE: Final = "bindings:write"
_WEBHOOKS: Final = "/strongroom.vault.v1.Webhooks"
CALLERS: Final[Callers] = {
    f"{_WEBHOOKS}/CreateEndpoint": frozenset(["gateway"]),
    f"{_WEBHOOKS}/ListEndpoints": frozenset(["gateway"]),
    f"{_WEBHOOKS}/UpdateEndpoint": frozenset(["gateway"]),
    f"{_WEBHOOKS}/RemoveEndpoint": frozenset(["gateway"]),
    f"{_WEBHOOKS}/RotateSecret": frozenset(["gateway"]),
    f"{_WEBHOOKS}/ListSubscribers": frozenset(["deliverer"]),
    f"{_WEBHOOKS}/ListTargets": frozenset(["deliverer"]),
    f"{_WEBHOOKS}/SignDelivery": frozenset(["deliverer"]),
}


class Endpoints(WebhooksServicer):
    """Webhook endpoints. The caller table keeps those who deliver and those who manage apart."""

    def __init__(self, webhooks: Webhooks, directory: VaultDirectory, admission: Admission) -> None:
        self._webhooks = webhooks
        self._directory = directory
        self._admission = admission

    async def CreateEndpoint(self, request: CreateEndpointRequest, context: ServicerContext) -> CreateEndpointResponse:
        """Add an endpoint."""
        actor, _ = await self._admission.admit(context, WRITE)
        endpoint, secret = await self._webhooks.create(actor, request)
        return CreateEndpointResponse(endpoint=endpoint, secret=secret.reveal() if secret else "")

    async def ListEndpoints(self, request: ListEndpointsRequest, context: ServicerContext) -> ListEndpointsResponse:  # noqa: ARG002
        """Return the caller's endpoints."""
        actor, _ = await self._admission.admit(context, READ)
        return ListEndpointsResponse(endpoints=await self._webhooks.endpoints(actor.tenant))

    async def UpdateEndpoint(self, request: UpdateEndpointRequest, context: ServicerContext) -> UpdateEndpointResponse:
        """Change an endpoint."""
        actor, _ = await self._admission.admit(context, WRITE)
        return UpdateEndpointResponse(endpoint=await self._webhooks.update(actor, request))

    async def RemoveEndpoint(self, request: RemoveEndpointRequest, context: ServicerContext) -> RemoveEndpointResponse:
        """Remove an endpoint."""
        actor, _ = await self._admission.admit(context, WRITE)
        await self._webhooks.remove(actor, request.endpoint_id)
        return RemoveEndpointResponse()

    async def RotateSecret(self, request: RotateSecretRequest, context: ServicerContext) -> RotateSecretResponse:
        """Make a new secret."""
        actor, _ = await self._admission.admit(context, WRITE)
        endpoint, secret = await self._webhooks.rotate(actor, request.endpoint_id)
        return RotateSecretResponse(endpoint=endpoint, secret=secret.reveal())

    async def ListSubscribers(
        self,
        request: ListSubscribersRequest,  # noqa: ARG002
        context: ServicerContext,  # noqa: ARG002
    ) -> ListSubscribersResponse:
        """Return who may have endpoints."""
        return ListSubscribersResponse(tenant_ids=await self._directory.subscribers())

    async def ListTargets(self, request: ListTargetsRequest, context: ServicerContext) -> ListTargetsResponse:  # noqa: ARG002
        """Return a tenant's endpoints."""
        tenant = await self._admission.named(request.tenant_id)
        return ListTargetsResponse(endpoints=await self._webhooks.endpoints(tenant))

    async def SignDelivery(self, request: SignDeliveryRequest, context: ServicerContext) -> SignDeliveryResponse:  # noqa: ARG002
        """Sign a delivery."""
        tenant = await self._admission.named(request.tenant_id)
        about = (request.endpoint_id, request.message_id, request.timestamp)
        return SignDeliveryResponse(signature=await self._webhooks.sign(tenant, *about, request.payload))
