"""Own whether a caller's tenant may do anything at the moment: the vault service knows, and is asked once a second.

While it cannot be asked, what it said last holds: without it nothing is bound or signed, and only what is published is
read. Who is not known at all is not let in.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import grpc
from common.clock import Clock
from common.errors import DeadlineExceeded, PermissionDenied, Unavailable
from common.rpc.client import call
from strongroom.vault.v1.tenants_pb2 import StandingRequest, TenantQuotas
from strongroom.vault.v1.tenants_pb2_grpc import TenantsStub

CALL_S: Final = 2.0
FRESH_S: Final = 1.0
CACHED_TENANTS: Final = 4096
# Nothing is told of the caller in what is kept: a refusal is of the tenant, whichever of its tokens met it.
REFUSALS: Final[Mapping[str, str]] = {
    "tenant_disabled": "This tenant is disabled.",
    "not_provisioned": "This tenant is not registered.",
}

Standing = TenantQuotas | str  # the quotas, or the reason of a refusal


class Standings:
    """What the vault service said of each tenant, at most FRESH_S old while it can be asked."""

    def __init__(self, channel: grpc.aio.Channel, clock: Clock) -> None:
        self._stub = TenantsStub(channel)
        self._clock = clock
        self._known: dict[str, tuple[float, Standing]] = {}
        self._asking: dict[str, asyncio.Task[Standing]] = {}

    async def require(self, tenant: str, authorization: str) -> TenantQuotas:
        """Return how much the tenant may ask; raise PermissionDenied for nothing, Unavailable if nobody ever said."""
        known = self._known.get(tenant)
        if known is None or self._clock.monotonic() >= known[0] + FRESH_S:
            standing = await asyncio.shield(self._asked_once(tenant, authorization))
        else:
            standing = known[1]
        if isinstance(standing, str):
            raise PermissionDenied(standing, REFUSALS[standing])
        return standing

    def _asked_once(self, tenant: str, authorization: str) -> "asyncio.Task[Standing]":
        asking = self._asking.get(tenant)
        if asking is None:
            asking = self._asking[tenant] = asyncio.create_task(self._ask(tenant, authorization))
            asking.add_done_callback(lambda done: self._ended(tenant, done))
        return asking

    def _ended(self, tenant: str, asking: "asyncio.Task[Standing]") -> None:
        del self._asking[tenant]
        if not asking.cancelled():
            asking.exception()

    async def _ask(self, tenant: str, authorization: str) -> Standing:
        """Ask, and return the tenant's quotas or the reason of a refusal.

        A first question waits for a vault service that is just starting.
        """
        began, wait = self._clock.monotonic(), tenant not in self._known
        try:
            answer = await call(
                self._stub.Standing, StandingRequest(), timeout_s=CALL_S, authorization=authorization, wait=wait
            )
            standing: Standing = answer.quotas
        except PermissionDenied as error:
            if error.reason not in REFUSALS:
                raise
            standing = error.reason
        except (Unavailable, DeadlineExceeded):
            if tenant not in self._known:
                raise Unavailable(
                    "vault_unavailable", "The service that knows the tenants cannot be reached."
                ) from None
            return self._known[tenant][1]
        if len(self._known) >= CACHED_TENANTS:
            self._known.clear()
        self._known[tenant] = (began, standing)
        return standing
