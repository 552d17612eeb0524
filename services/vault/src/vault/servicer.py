"""Own the gRPC face: who may call what, who the tenant is, and nothing of how it is done."""

from collections.abc import AsyncIterator, Callable
from typing import Final

from common import ids
from common.errors import InvalidArgument
from common.rpc.server import Callers, ServicerContext, peer
from strongroom.types.v1.binding_pb2 import Binding
from strongroom.vault.v1.binding_store_pb2 import (
    AbandonRequest,
    AbandonResponse,
    BindRequest,
    BindResponse,
    DescribeManyRequest,
    DescribeManyResponse,
    DescribeRequest,
    DescribeResponse,
    EnrollRequest,
    EnrollResponse,
    ListRequest,
    ListResponse,
    NamesRequest,
    NamesResponse,
    PromoteRequest,
    PromoteResponse,
    RevokeRequest,
    RevokeResponse,
    StageRequest,
    StageResponse,
    TransitionRequest,
    TransitionResponse,
    UpdateRequest,
    UpdateResponse,
    WrappingKeyRequest,
    WrappingKeyResponse,
)
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreServicer
from strongroom.vault.v1.signer_pb2 import (
    SignRequest,
    SignResponse,
    SignWebSocketLoginRequest,
    SignWebSocketLoginResponse,
)
from strongroom.vault.v1.signer_pb2_grpc import SignerServicer

from vault import measures
from vault.actor import WEBSOCKET, Actor, Admission
from vault.asked import Asked, asked
from vault.bindings import Bindings
from vault.enrolment import Enrolments
from vault.freezer import Freezer
from vault.freezes import Place, marked, place_of
from vault.listing import Listing
from vault.purposes import right
from vault.registry import Registered
from vault.rotation import Rotations
from vault.settlement import Settlements
from vault.signer import Signer
from vault.update import Updates

READ: Final = "bindings:read"
WRITE: Final = "bindings:write"
PAGE_LIMIT: Final = 100
MANY_LIMIT: Final = 200
_STORE: Final = "/strongroom.vault.v1.BindingStore"
CALLERS: Final[Callers] = {
    f"{_STORE}/Bind": frozenset(["gateway"]),
    f"{_STORE}/WrappingKey": frozenset(["gateway"]),
    f"{_STORE}/Describe": frozenset(["gateway", "verifier", "worker"]),
    f"{_STORE}/List": frozenset(["gateway"]),
    f"{_STORE}/Transition": frozenset(["worker"]),
    f"{_STORE}/Revoke": frozenset(["gateway"]),
    f"{_STORE}/Stage": frozenset(["gateway"]),
    f"{_STORE}/Promote": frozenset(["worker"]),
    f"{_STORE}/Abandon": frozenset(["worker"]),
    f"{_STORE}/Update": frozenset(["gateway"]),
    f"{_STORE}/Enroll": frozenset(["worker"]),
    f"{_STORE}/Names": frozenset(["worker"]),
    f"{_STORE}/DescribeMany": frozenset(["worker"]),
    "/strongroom.vault.v1.Signer/Sign": frozenset(["worker", "verifier"]),
    "/strongroom.vault.v1.Signer/SignWebSocketLogin": frozenset(["verifier"]),
}


class Store(BindingStoreServicer):
    """Custody of records and credentials. Each call is let in first: the tenant, its scope, its registration."""

    def __init__(
        self,
        *,
        bindings: Bindings,
        rotations: Rotations,
        settlements: Settlements,
        updates: Updates,
        enrolments: Enrolments,
        listing: Listing,
        freezer: Freezer,
        admission: Admission,
    ) -> None:
        self._bindings = bindings
        self._rotations = rotations
        self._settlements = settlements
        self._updates = updates
        self._enrolments = enrolments
        self._listing = listing
        self._freezer = freezer
        self._admission = admission

    async def Bind(self, request: BindRequest, context: ServicerContext) -> BindResponse:
        """Store a credential."""
        with measures.bind() as told:
            actor, tenant = await self._admission.admit(context, WRITE)
            wanted = asked(actor.tenant, request)
            request.ClearField("credential")
            view = await self._view(tenant)
            await self._admit(actor, wanted)
            binding, created = await self._bindings.bind(actor, wanted, tenant.quotas.bindings)
            told.outcome = "created" if created else "repeated"
        return BindResponse(binding=view(binding), created=created)

    async def WrappingKey(self, request: WrappingKeyRequest, context: ServicerContext) -> WrappingKeyResponse:  # noqa: ARG002
        """Tell the public key for sealed binds."""
        await self._admission.admit(context, READ)
        key = await self._bindings.wrapping_key()
        return WrappingKeyResponse(public_key=key.pem, fingerprint=key.fingerprint)

    async def Describe(self, request: DescribeRequest, context: ServicerContext) -> DescribeResponse:
        """Read one record."""
        actor, tenant = await self._admission.admit(context, READ, request.tenant_id)
        name = ids.binding_id(request.binding_id)
        view = await self._view(tenant)
        return DescribeResponse(binding=view((await self._bindings.records.load(actor.tenant, name)).binding))

    async def List(self, request: ListRequest, context: ServicerContext) -> ListResponse:
        """Read a page of the tenant's records."""
        actor, tenant = await self._admission.admit(context, READ)
        if not 1 <= request.limit <= PAGE_LIMIT:
            raise InvalidArgument("limit", f"The limit must be 1 to {PAGE_LIMIT}.", field="limit")

        def keep(binding: Binding) -> bool:
            wanted = not request.status or binding.verdict.status == request.status
            return wanted and request.subject in ("", binding.subject)

        view = await self._view(tenant)
        found, after = await self._listing.page(actor.tenant, request.after, request.limit, keep)
        return ListResponse(bindings=map(view, found), next_after=after)

    async def Transition(self, request: TransitionRequest, context: ServicerContext) -> TransitionResponse:
        """Record a verdict."""
        actor, tenant = await self._admission.admit(context, WRITE, request.tenant_id)
        name = ids.binding_id(request.binding_id)
        view = await self._view(tenant)
        binding, changed = await self._bindings.transition(actor, name, request.expected_revision, request.verdict)
        return TransitionResponse(binding=view(binding), changed=changed)

    async def Revoke(self, request: RevokeRequest, context: ServicerContext) -> RevokeResponse:
        """End a binding."""
        actor, _ = await self._admission.admit(context, WRITE)
        name = ids.binding_id(request.binding_id)
        binding = await self._bindings.revoke(actor, name)
        await self._enrolments.leave(actor, name)
        return RevokeResponse(binding=binding)

    async def Stage(self, request: StageRequest, context: ServicerContext) -> StageResponse:
        """Store a credential that is to replace a binding's."""
        actor, tenant = await self._admission.admit(context, WRITE)
        view = await self._view(tenant)
        await self._unfrozen(actor, "stage", request.binding_id)  # the replacement could not be verified
        binding, attempt = await self._rotations.stage(actor, request)
        return StageResponse(binding=view(binding), version=attempt.version, reason=attempt.reason)

    async def Promote(self, request: PromoteRequest, context: ServicerContext) -> PromoteResponse:
        """Put a staged credential into use."""
        actor, tenant = await self._admission.admit(context, WRITE, request.tenant_id)
        view = await self._view(tenant)
        name, expected = ids.binding_id(request.binding_id), request.expected_revision
        binding = await self._settlements.promote(actor, name, expected, request.version, request.verdict)
        return PromoteResponse(binding=view(binding))

    async def Abandon(self, request: AbandonRequest, context: ServicerContext) -> AbandonResponse:
        """Give a staged credential up."""
        actor, tenant = await self._admission.admit(context, WRITE, request.tenant_id)
        view = await self._view(tenant)
        name, why = ids.binding_id(request.binding_id), request.reason
        binding = await self._settlements.abandon(actor, name, request.version, why, request.findings)
        return AbandonResponse(binding=view(binding))

    async def Update(self, request: UpdateRequest, context: ServicerContext) -> UpdateResponse:
        """Change label, subject or scopes."""
        actor, tenant = await self._admission.admit(context, WRITE)
        view = await self._view(tenant)
        if request.HasField("subject") or request.scopes:  # nobody leaves a freeze by another subject
            await self._unfrozen(actor, "update", request.binding_id)
        ids.binding_id(request.binding_id)
        binding, scopes_changed = await self._updates.update(actor, request)
        return UpdateResponse(binding=view(binding), scopes_changed=scopes_changed)

    async def Enroll(self, request: EnrollRequest, context: ServicerContext) -> EnrollResponse:
        """Record the exchange account of a binding's key."""
        actor, tenant = await self._admission.admit(context, WRITE, request.tenant_id)
        name = ids.binding_id(request.binding_id)
        version = request.credential_version
        told = await self._enrolments.enroll(actor, name, request.uid, request.environment, version)
        return EnrollResponse(
            siblings=told.siblings,
            keys_bound=told.keys_bound,
            bound_elsewhere=told.bound_elsewhere,
            rules=tenant.rules.message(),
            joined=told.joined,
        )

    async def Names(self, request: NamesRequest, context: ServicerContext) -> AsyncIterator[NamesResponse]:  # noqa: ARG002
        """Yield the ids of every binding of every tenant."""
        async for tenant, names in self._listing.names():
            yield NamesResponse(tenant_id=tenant, binding_ids=names)

    async def DescribeMany(self, request: DescribeManyRequest, context: ServicerContext) -> DescribeManyResponse:
        """Read many records of one tenant."""
        actor, tenant = await self._admission.admit(context, READ, request.tenant_id)
        if len(request.binding_ids) > MANY_LIMIT:
            raise InvalidArgument("limit", f"At most {MANY_LIMIT} ids at once.", field="binding_ids")
        view = await self._view(tenant)
        found = await self._listing.many(actor.tenant, request.binding_ids)
        return DescribeManyResponse(bindings=map(view, found))

    async def _view(self, tenant: Registered) -> Callable[[Binding], Binding]:
        """Return what completes a record for an answer: when its credential is due, and whether it is frozen."""
        freezes = await self._freezer.active()
        return lambda binding: marked(freezes, tenant.rules.dated(binding))

    async def _unfrozen(self, actor: Actor, action: str, name: str) -> None:
        """Raise PolicyRefused for a change of a binding that is frozen."""
        place = place_of((await self._bindings.records.load(actor.tenant, ids.binding_id(name))).binding)
        if freeze := await self._freezer.stopping(place):
            await self._freezer.refuse(actor, action, place, freeze)

    async def _admit(self, actor: Actor, wanted: Asked) -> None:
        """Raise PolicyRefused for a new binding where everything is frozen; a repeat is answered as before."""
        place = Place(actor.tenant, wanted.binding_id, wanted.subject, wanted.exchange)
        freeze = await self._freezer.stopping(place)
        if freeze and not (await self._bindings.records.slot(actor.tenant, wanted.binding_id)).record:
            await self._freezer.refuse(actor, "bind", place, freeze)


class Oracle(SignerServicer):
    """The one oracle."""

    def __init__(self, signer: Signer, admission: Admission) -> None:
        self._signer = signer
        self._admission = admission

    async def Sign(self, request: SignRequest, context: ServicerContext) -> SignResponse:
        """Sign exchange requests of one binding."""
        needed = right(request.purpose, peer.get())
        actor, tenant = await self._admission.admit(context, needed, request.tenant_id)
        return await self._signer.sign(actor, request, tenant.rules.denials)

    async def SignWebSocketLogin(
        self, request: SignWebSocketLoginRequest, context: ServicerContext
    ) -> SignWebSocketLoginResponse:
        """Sign the login of a private WebSocket."""
        actor, tenant = await self._admission.admit(context, WEBSOCKET)
        return await self._signer.login(actor, request, tenant.rules.denials)
