"""Own who may call a route: one dependency that turns the Authorization header into a session with one scope.

The tenant comes from the proven token alone. The token is passed on as it came; the vault service checks it again.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from common.errors import Unauthenticated
from common.tokens import Caller
from starlette.requests import Request

from gateway.services import of

ADMIN: Final = "admin"
_BEARER: Final = re.compile(r"(?i:bearer) [A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Session:
    """A proven caller, and the header value that proves it to the services behind."""

    caller: Caller
    authorization: str = field(repr=False)


def session(scope: str, *, counted: bool = True) -> Callable[[Request], Awaitable[Session]]:
    """Return the dependency that admits callers whose token carries `scope` and whose tenant may ask now.

    `counted` requests stand among the tenant's calls at once.
    """

    async def admit(request: Request) -> Session:
        value = request.headers.get("authorization")
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

    return admit
