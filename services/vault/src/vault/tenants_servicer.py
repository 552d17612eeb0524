"""Own the gRPC face of the tenants' registry: what an administrator may ask, and what a tenant may of itself."""

from typing import Final

from common.errors import InvalidArgument
from common.rpc.server import Callers, ServicerContext
from strongroom.types.v1.binding_pb2 import TenantRules
from strongroom.vault.v1.tenants_pb2 import (
    ChangeTenantRequest,
    ChangeTenantResponse,
    CreateTenantRequest,
    CreateTenantResponse,
    GetTenantRequest,
    GetTenantResponse,
    PageTenantsRequest,
    PageTenantsResponse,
    StandingRequest,
    StandingResponse,
    TenantQuotas,
)
from strongroom.vault.v1.tenants_pb2_grpc import TenantsServicer

from vault.actor import Admission
from vault.asked import visible
from vault.denials import NAMES, unknown_call
from vault.quotas import Quotas, quotas_of
from vault.registry import Registered
from vault.rules import Rules, rules_of, unknown_codes
from vault.tenants import Change, Tenants

NAME_LENGTH: Final = 64
PAGE_LIMIT: Final = 100
_TENANTS: Final = "/strongroom.vault.v1.Tenants"
CALLERS: Final[Callers] = {
    f"{_TENANTS}/CreateTenant": frozenset(["gateway"]),
    f"{_TENANTS}/GetTenant": frozenset(["gateway"]),
    f"{_TENANTS}/PageTenants": frozenset(["gateway"]),
    f"{_TENANTS}/ChangeTenant": frozenset(["gateway"]),
    f"{_TENANTS}/Standing": frozenset(["gateway"]),
}


class Administration(TenantsServicer):
    """Tenants for an administrator. Each call but Standing needs the scope admin in the caller's own token."""

    def __init__(self, tenants: Tenants, admission: Admission) -> None:
        self._tenants = tenants
        self._admission = admission

    async def CreateTenant(self, request: CreateTenantRequest, context: ServicerContext) -> CreateTenantResponse:
        """Register a tenant."""
        operator = self._admission.operator(context)
        visible("idempotency_key", request.idempotency_key, 1, 255)
        rules = _rules(request.rules) if request.HasField("rules") else None
        quotas = _quotas(request.quotas) if request.HasField("quotas") else None
        wanted = Registered(_name(request.name), rules, quotas)
        tenant, created = await self._tenants.create(operator, request.idempotency_key, wanted)
        return CreateTenantResponse(tenant=tenant, created=created)

    async def GetTenant(self, request: GetTenantRequest, context: ServicerContext) -> GetTenantResponse:
        """Read one tenant."""
        self._admission.operator(context)
        return GetTenantResponse(tenant=await self._tenants.get(request.tenant_id))

    async def PageTenants(self, request: PageTenantsRequest, context: ServicerContext) -> PageTenantsResponse:
        """Read a page of tenants."""
        self._admission.operator(context)
        if not 1 <= request.limit <= PAGE_LIMIT:
            raise InvalidArgument("limit", f"The limit must be 1 to {PAGE_LIMIT}.", field="limit")
        found, after = await self._tenants.page(request.after, request.limit)
        return PageTenantsResponse(tenants=found, next_after=after)

    async def ChangeTenant(self, request: ChangeTenantRequest, context: ServicerContext) -> ChangeTenantResponse:
        """Change a tenant, disable it, or enable it again."""
        operator = self._admission.operator(context)
        wanted = Change(
            _name(request.name) if request.HasField("name") else None,
            _rules(request.rules) if request.HasField("rules") else None,
            _quotas(request.quotas) if request.HasField("quotas") else None,
            request.disabled if request.HasField("disabled") else None,
        )
        tenant = await self._tenants.change(operator, request.tenant_id, request.expected_revision, wanted)
        return ChangeTenantResponse(tenant=tenant)

    async def Standing(self, request: StandingRequest, context: ServicerContext) -> StandingResponse:  # noqa: ARG002
        """Tell a caller's own tenant how much it may ask; refuse one that may nothing."""
        return StandingResponse(quotas=(await self._admission.standing(context)).quotas.message())


def _name(value: str) -> str:
    if not 1 <= len(value) <= NAME_LENGTH or not value.isprintable() or not value.strip():
        raise _wrong("name", f"Must be 1 to {NAME_LENGTH} printable characters.")
    return value


def _rules(asked: TenantRules) -> Rules:
    try:
        parts = {name: getattr(asked, name) for name in NAMES}
        denied = {name: part if isinstance(part, str) else list(part) for name, part in parts.items()}
        rules = rules_of({"errors": list(asked.errors), "rotation_days": asked.rotation_days, **denied})
    except ValueError as error:
        raise _wrong("rules", f"{error}.") from None
    if unknown_codes(rules):
        raise _wrong("rules.errors", "There is a code here that rules cannot decide.")
    if strange := unknown_call(rules.denials):
        raise _wrong("rules.denied_calls", f"There is a call here that nobody knows. Like it is {strange[1]}.")
    return rules


def _quotas(asked: TenantQuotas) -> Quotas:
    try:
        return quotas_of({field.name: getattr(asked, field.name) for field in TenantQuotas.DESCRIPTOR.fields})
    except ValueError as error:
        raise _wrong("quotas", f"{error}.") from None


def _wrong(field: str, detail: str) -> InvalidArgument:
    return InvalidArgument("invalid_field", detail, field=field)
