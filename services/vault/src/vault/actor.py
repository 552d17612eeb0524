"""Own who acts: the workload that called, and the tenant it may act for. The one place that decides the tenant."""

from dataclasses import dataclass
from typing import Final

from common import ids
from common.errors import PermissionDenied
from common.rpc.server import ServicerContext, authorization, peer
from common.tokens import TokenVerifier

WORKER: Final = "worker"


@dataclass(frozen=True, slots=True)
class Actor:
    """One tenant, the workload acting for it, and the subject and client of the caller's token (empty: no caller)."""

    tenant: str
    service: str
    subject: str = ""
    client: str = ""


def actor_of(rpc: ServicerContext, tokens: TokenVerifier, scope: str, tenant_id: str = "") -> Actor:
    """Return who acts. A worker names the tenant; anyone else proves it with a token that carries `scope`.

    Raises Unauthenticated, or PermissionDenied for a missing scope or a `tenant_id` that is not the token's.
    """
    service = peer.get()
    if service == WORKER:
        return Actor(ids.tenant_id(tenant_id), service)
    caller = tokens.verify(authorization(rpc))
    caller.require(scope)
    if tenant_id and tenant_id != caller.tenant:
        raise PermissionDenied("foreign_tenant", "The access token is not of this tenant.")
    return Actor(caller.tenant, service, caller.subject, caller.client)
