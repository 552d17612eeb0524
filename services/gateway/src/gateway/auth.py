"""Own who may call a route: one dependency that turns the Authorization header into a session with one scope.

The tenant comes from the proven token alone. The token is passed on as it came; the vault service checks it again.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from common.errors import Unauthenticated
from common.tokens import Caller
from starlette.requests import Request

from gateway.console import session as page
from gateway.services import of

ADMIN: Final = "admin"
_BEARER: Final = re.compile(r"(?i:bearer) [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Session:
    """A proven caller, and the header value that proves it to the services behind."""

    caller: Caller
    authorization: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Admission:
    """The dependency that admits callers whose token carries `scope` and whose tenant may ask now.

    `counted` requests stand among the tenant's calls at once.
    """

    scope: str
    counted: bool = True

    async def __call__(self, request: Request) -> Session:
        """Return the session of a request; raise what refuses it."""
        value = request.headers.get("authorization")
        if value is None and (console := of(request).console) is not None:
            value = page.bearer(request, console.origin, self.scope)
        return await admit(request, self.scope, value, counted=self.counted)


def session(scope: str, *, counted: bool = True) -> Admission:
    """Return the dependency for a route that `scope` opens."""
    return Admission(scope, counted)


async def admit(request: Request, scope: str, value: str | None, *, counted: bool = True) -> Session:
    """Return the session that the Authorization header `value` proves; raise what refuses it."""
    if value is not None and not _BEARER.fullmatch(value):
        raise Unauthenticated("invalid_token")
    caller = of(request).tokens.verify(value)
    request.scope["tenant"] = caller.tenant
    caller.require(scope)
    assert value is not None  # noqa: S101  verified above
    if scope != ADMIN:  # an operator is no tenant
        services = of(request)
        quotas = await services.standings.require(caller.tenant, value)
        await services.gate.enter(caller.tenant, quotas, request.scope, counted=counted)
    return Session(caller, value)


def of_an_exchange_client(request: Request) -> str | None:
    """Return the Authorization that a client of the exchange brings, there or as its ACCESS-KEY; None for neither.

    Its signature, time and passphrase are never looked at. Raises Unauthenticated for two different tokens.
    """
    value, key = request.headers.get("authorization"), request.headers.get("access-key")
    brought = f"Bearer {key}" if key is not None else None
    if value is not None and brought is not None and value.partition(" ")[2] != key:
        raise Unauthenticated("invalid_token", "Authorization and ACCESS-KEY hold two different tokens.")
    return brought if value is None else value
