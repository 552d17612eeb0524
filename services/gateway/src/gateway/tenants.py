"""Own the gateway's way to the registry of tenants, by the administrator's own token."""

from dataclasses import dataclass
from typing import Final

import grpc
from common.clock import rfc3339
from common.rpc.client import call
from strongroom.types.v1.binding_pb2 import TenantRules
from strongroom.vault.v1 import tenants_pb2 as messages
from strongroom.vault.v1.tenants_pb2_grpc import TenantsStub

from gateway.resource import Json
from gateway.tenant_schemas import QuotasRequest, RulesRequest, TenantPatch, TenantRequest

CALL_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class ShownTenant:
    """A tenant as it is answered, and its revision for the ETag."""

    tenant: Json
    revision: int


class Tenants:
    """Make, read and change tenants; every method raises our error family."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = TenantsStub(channel)

    async def create(self, authorization: str, idempotency_key: str, wanted: TenantRequest) -> ShownTenant:
        """Register a tenant; a repeat with the same key answers the same one."""
        request = messages.CreateTenantRequest(
            idempotency_key=idempotency_key,
            name=wanted.name,
            rules=_rules(wanted.rules),
            quotas=_quotas(wanted.quotas),
        )
        answer = await call(self._stub.CreateTenant, request, timeout_s=CALL_S, authorization=authorization)
        return _shown(answer.tenant)

    async def get(self, authorization: str, tenant_id: str) -> ShownTenant:
        """Return one tenant; raise NotFound."""
        request = messages.GetTenantRequest(tenant_id=tenant_id)
        return _shown((await call(self._stub.GetTenant, request, timeout_s=CALL_S, authorization=authorization)).tenant)

    async def page(self, authorization: str, after: str, limit: int) -> tuple[list[Json], str]:
        """Return up to `limit` tenants after the id `after`, and the next `after` (empty on the last page)."""
        request = messages.PageTenantsRequest(after=after, limit=limit)
        answer = await call(self._stub.PageTenants, request, timeout_s=CALL_S, authorization=authorization)
        return [_shown(one).tenant for one in answer.tenants], answer.next_after

    async def change(self, authorization: str, tenant_id: str, revision: int, wanted: TenantPatch) -> ShownTenant:
        """Change what is given; raise Aborted unless the tenant is at `revision` (0: any), NotFound."""
        request = messages.ChangeTenantRequest(
            tenant_id=tenant_id,
            expected_revision=revision,
            name=wanted.name,
            rules=_rules(wanted.rules),
            quotas=_quotas(wanted.quotas),
        )
        answer = await call(self._stub.ChangeTenant, request, timeout_s=CALL_S, authorization=authorization)
        return _shown(answer.tenant)

    async def switch(self, authorization: str, tenant_id: str, *, disabled: bool) -> ShownTenant:
        """Disable a tenant, or enable it again; raise NotFound. Safe to repeat."""
        request = messages.ChangeTenantRequest(tenant_id=tenant_id, disabled=disabled)
        answer = await call(self._stub.ChangeTenant, request, timeout_s=CALL_S, authorization=authorization)
        return _shown(answer.tenant)


def _rules(wanted: RulesRequest | None) -> TenantRules | None:
    return TenantRules(**wanted.model_dump()) if wanted else None


def _quotas(wanted: QuotasRequest | None) -> messages.TenantQuotas | None:
    return messages.TenantQuotas(**wanted.model_dump()) if wanted else None


def _shown(tenant: messages.Tenant) -> ShownTenant:
    shown: Json = {
        "id": tenant.id,
        "name": tenant.name,
        "rules": {
            "errors": list(tenant.rules.errors),
            "rotation_days": tenant.rules.rotation_days,
            "denied_capabilities": list(tenant.rules.denied_capabilities),
            "denied_calls": list(tenant.rules.denied_calls),
            "symbols": list(tenant.rules.symbols),
            "max_order_notional": tenant.rules.max_order_notional,
            "max_daily_notional": tenant.rules.max_daily_notional,
        },
        "quotas": {
            "requests_per_minute": tenant.quotas.requests_per_minute,
            "concurrency": tenant.quotas.concurrency,
            "bindings": tenant.quotas.bindings,
        },
        "disabled": tenant.disabled,
        "created_at": rfc3339(tenant.created_at) if tenant.HasField("created_at") else None,
    }
    return ShownTenant(shown, tenant.revision)
