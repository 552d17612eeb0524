"""Own who acts: the workload that called, the tenant it may act for, and whether that tenant may act at all.

The one place that decides the tenant. A tenant that nobody registered is refused before anything of its is touched.
"""

from dataclasses import dataclass
from typing import Final

from common import ids
from common.errors import PermissionDenied
from common.rpc.server import ServicerContext, authorization, peer
from common.tokens import TokenVerifier

from vault.registry import Registered, Registry

WORKER: Final = "worker"


@dataclass(frozen=True, slots=True)
class Actor:
    """One tenant, the workload acting for it, and whom the caller's token names (empty: there is no caller)."""

    tenant: str
    service: str
    subject: str = ""
    client: str = ""
    issuer: str = ""


class Admission:
    """Let calls in: each with who acts, and what is registered of its tenant."""

    def __init__(self, tokens: TokenVerifier, registry: Registry) -> None:
        self._tokens = tokens
        self._registry = registry

    async def admit(self, rpc: ServicerContext, scope: str, tenant_id: str = "") -> tuple[Actor, Registered]:
        """Return who acts and its tenant. A worker names the tenant; anyone else proves it by a token with `scope`.

        Raises Unauthenticated, Unavailable, or PermissionDenied: for a missing scope, a `tenant_id` that is not the
        token's, and a tenant that is not registered.
        """
        actor = actor_of(rpc, self._tokens, scope, tenant_id)
        return actor, await self._registry.tenant(actor.tenant)


def actor_of(rpc: ServicerContext, tokens: TokenVerifier, scope: str, tenant_id: str = "") -> Actor:
    """Return who acts, whatever its tenant may. Raises Unauthenticated and PermissionDenied as `admit` does."""
    service = peer.get()
    if service == WORKER:
        return Actor(ids.tenant_id(tenant_id), service)
    caller = tokens.verify(authorization(rpc))
    caller.require(scope)
    if tenant_id and tenant_id != caller.tenant:
        raise PermissionDenied("foreign_tenant", "The access token is not of this tenant.")
    return Actor(caller.tenant, service, caller.subject, caller.client, caller.issuer)
