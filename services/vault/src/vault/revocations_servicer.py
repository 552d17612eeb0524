"""Own the gRPC face of bulk revocation: an operator's own token, checked here, and nothing of how it is done."""

from typing import Final

from common import ids
from common.rpc.server import Callers, ServicerContext
from common.tokens import TokenVerifier
from strongroom.vault.v1.revocations_pb2 import (
    DescribeRevocationRequest,
    DescribeRevocationResponse,
    RevokeManyRequest,
    RevokeManyResponse,
)
from strongroom.vault.v1.revocations_pb2_grpc import RevocationsServicer

from vault.actor import actor_of
from vault.freezes_servicer import ADMIN
from vault.revocations import Revocations

_REVOCATIONS: Final = "/strongroom.vault.v1.Revocations"
CALLERS: Final[Callers] = {
    f"{_REVOCATIONS}/{method}": frozenset(["gateway"]) for method in ("RevokeMany", "DescribeRevocation")
}


class BulkRevocation(RevocationsServicer):
    """Bulk revocation, for whoever brings the scope `admin`."""

    def __init__(self, revocations: Revocations, tokens: TokenVerifier) -> None:
        self._revocations = revocations
        self._tokens = tokens

    async def RevokeMany(self, request: RevokeManyRequest, context: ServicerContext) -> RevokeManyResponse:
        """Take an order to end many bindings."""
        actor = actor_of(context, self._tokens, ADMIN)
        return RevokeManyResponse(revocation=await self._revocations.ask(actor, request))

    async def DescribeRevocation(
        self, request: DescribeRevocationRequest, context: ServicerContext
    ) -> DescribeRevocationResponse:
        """Return how far one is."""
        actor_of(context, self._tokens, ADMIN)
        found = await self._revocations.describe(ids.binding_id(request.revocation_id))
        return DescribeRevocationResponse(revocation=found)
