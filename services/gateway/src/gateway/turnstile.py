"""Own the answer to a tenant that goes on asking beyond its rate: the one it had a moment ago, before anything is done.

A refused request must cost the others next to nothing, so it meets no route, no Redis and no vault service. Whoever is
not known to be over its rate, by a token that was checked before, goes the whole way.
"""

from typing import Final

from common.tokens import TokenVerifier
from starlette.types import Scope

from gateway import problems
from gateway.gate import Gate

ADMIN_PATHS: Final = "/v1/admin/"  # an operator is no tenant: nothing holds a kill switch up
TURNED_AWAY: Final = "turned_away"


class Turnstile:
    """Turn tenants away that were refused a moment ago."""

    def __init__(self, tokens: TokenVerifier, gate: Gate) -> None:
        self._tokens = tokens
        self._gate = gate

    def check(self, scope: Scope) -> None:
        """Raise Problem for a request of such a tenant; leave in its ASGI scope who it was and that it went no way."""
        value = next((value for name, value in scope["headers"] if name == b"authorization"), b"").decode("latin-1")
        caller = self._tokens.known(value)
        if caller is None or scope["path"].startswith(ADMIN_PATHS):
            return
        if refusal := self._gate.still_refused(caller.tenant, scope):
            scope[TURNED_AWAY] = True
            raise problems.of(refusal)
