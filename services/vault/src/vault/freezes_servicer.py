"""Own the gRPC face of the freezes: an operator's own token, checked here, and nothing of how it is done."""

from typing import Final

from common import ids
from common.rpc.server import Callers, ServicerContext
from common.tokens import TokenVerifier
from strongroom.vault.v1.freezes_pb2 import (
    CreateFreezeRequest,
    CreateFreezeResponse,
    LiftFreezeRequest,
    LiftFreezeResponse,
    ListFreezesRequest,
    ListFreezesResponse,
)
from strongroom.vault.v1.freezes_pb2_grpc import FreezesServicer

from vault.actor import actor_of
from vault.freezer import Freezer

ADMIN: Final = "admin"
_FREEZES: Final = "/strongroom.vault.v1.Freezes"
CALLERS: Final[Callers] = {
    f"{_FREEZES}/{method}": frozenset(["gateway"]) for method in ("CreateFreeze", "ListFreezes", "LiftFreeze")
}


class KillSwitches(FreezesServicer):
    """Freezes, for whoever brings the scope `admin`."""

    def __init__(self, freezer: Freezer, tokens: TokenVerifier) -> None:
        self._freezer = freezer
        self._tokens = tokens

    async def CreateFreeze(self, request: CreateFreezeRequest, context: ServicerContext) -> CreateFreezeResponse:
        """Freeze a target."""
        actor = actor_of(context, self._tokens, ADMIN)
        return CreateFreezeResponse(freeze=await self._freezer.make(actor, request))

    async def ListFreezes(self, request: ListFreezesRequest, context: ServicerContext) -> ListFreezesResponse:  # noqa: ARG002
        """Return the active freezes."""
        actor_of(context, self._tokens, ADMIN)
        return ListFreezesResponse(freezes=await self._freezer.active())

    async def LiftFreeze(self, request: LiftFreezeRequest, context: ServicerContext) -> LiftFreezeResponse:
        """Lift a freeze."""
        actor = actor_of(context, self._tokens, ADMIN)
        name = ids.binding_id(request.freeze_id)
        return LiftFreezeResponse(freeze=await self._freezer.lift(actor, name, request.reason))
