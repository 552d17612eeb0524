"""Own who acts: the workload that called, the tenant it may act for, and whether that tenant may act at all.

The one place that decides the tenant. A tenant that nobody registered is refused before anything of its is touched.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from common import ids
from common.errors import PermissionDenied, Throttled
from common.rpc.server import ServicerContext, authorization, peer
from common.tokens import TokenVerifier

from vault.registry import Registered, Registry

WORKER: Final = "worker"
SIGN: Final = "requests:sign"
EXECUTE: Final = "requests:execute"
WEBSOCKET: Final = "requests:websocket"
ADMIN: Final = "admin"


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
        self._turnstile = Turnstile()

    async def admit(self, rpc: ServicerContext, scope: str, tenant_id: str = "") -> tuple[Actor, Registered]:
        """Return who acts and its tenant. A worker names the tenant; anyone else proves it by a token with `scope`.

        Raises Unauthenticated, Unavailable, PermissionDenied for a missing scope, a `tenant_id` that is not the token's
        and a tenant that is not registered or disabled, Throttled beyond what the tenant may have under way.
        For a disabled tenant a worker may still read and record what it knows, and have nothing signed.
        """
        actor = actor_of(rpc, self._tokens, scope, tenant_id)
        found = await self._registry.tenant(actor.tenant)
        if actor.service != WORKER or scope == SIGN:
            _enabled(found)
        if actor.service != WORKER:
            self._turnstile.enter(actor.tenant, found.quotas.at_once)
            left: Any = lambda _: self._turnstile.leave(actor.tenant)  # noqa: E731  grpc's stubs know no such type
            rpc.add_done_callback(left)
        return actor, found

    async def standing(self, rpc: ServicerContext) -> Registered:
        """Return the tenant of the caller's token, whatever its scopes; raise as `admit` does."""
        found = await self._registry.tenant(self._tokens.verify(authorization(rpc)).tenant)
        _enabled(found)
        return found

    async def named(self, tenant_id: str) -> str:
        """Return the tenant that a workload of ours names, on whose word it is; raise as `admit` does."""
        tenant = ids.tenant_id(tenant_id)
        _enabled(await self._registry.tenant(tenant))
        return tenant

    def operator(self, rpc: ServicerContext) -> Actor:
        """Return the administrator who acts, whose own tenant need not exist; raise as `actor_of` does."""
        return actor_of(rpc, self._tokens, ADMIN)


def _enabled(found: Registered) -> None:
    if found.disabled:
        raise PermissionDenied("tenant_disabled", "This tenant is disabled.")


class Turnstile:
    """How many calls each tenant has under way."""

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()

    def enter(self, tenant: str, most: int) -> None:
        """Count a call in; raise Throttled when `most` are under way."""
        if self._inside[tenant] >= most:
            raise Throttled("quota_exceeded", "This tenant has as many calls under way as it may.", retry_after=1)
        self._inside[tenant] += 1

    def leave(self, tenant: str) -> None:
        """Count a call out."""
        self._inside[tenant] -= 1
        if not self._inside[tenant]:
            del self._inside[tenant]


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
