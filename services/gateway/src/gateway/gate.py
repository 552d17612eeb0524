"""Own how much of a tenant that may act is let in: its rate, and its calls under way in this process."""

from collections import Counter
from typing import Final

from common.errors import Throttled
from starlette.types import Scope
from strongroom.vault.v1.tenants_pb2 import TenantQuotas

from gateway.limiter import Limiter

USUAL_PER_MINUTE: Final = 6000
USUAL_AT_ONCE: Final = 64
TOO_MANY: Final = "This tenant has made as many requests as it may."


class Gate:
    """Let requests in, before their bodies are parsed. One for each process."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._inside: Counter[str] = Counter()

    async def enter(self, tenant: str, quotas: TenantQuotas, scope: Scope, *, counted: bool) -> None:
        """Let a request in and leave in its ASGI scope what the edge adds to its answer and does at its end.

        `counted` requests stand among the tenant's calls at once. Raises Throttled beyond a quota.
        """
        taken = await self._limiter.take(tenant, quotas.requests_per_minute or USUAL_PER_MINUTE)
        scope["rate_limit"] = taken.headers()
        if not taken.allowed:
            raise Throttled("quota_exceeded", TOO_MANY, retry_after=taken.wait_s)
        if not counted:
            return
        if self._inside[tenant] >= (quotas.concurrency or USUAL_AT_ONCE):
            raise Throttled("quota_exceeded", "This tenant has as many calls under way as it may.", retry_after=1)
        self._inside[tenant] += 1
        scope["leave"] = lambda: self._leave(tenant)

    def still_refused(self, tenant: str, scope: Scope) -> Throttled | None:
        """Return the refusal of a tenant that was refused a moment ago and may not come back yet, as `enter` does."""
        if (taken := self._limiter.refused(tenant)) is None:
            return None
        scope["rate_limit"] = taken.headers()
        return Throttled("quota_exceeded", TOO_MANY, retry_after=taken.wait_s)

    def _leave(self, tenant: str) -> None:
        self._inside[tenant] -= 1
        if not self._inside[tenant]:
            del self._inside[tenant]
