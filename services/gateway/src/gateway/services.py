"""Own the set of collaborators that the routes work with. It is handed over once, when the app is built."""

from dataclasses import dataclass

from common.clock import Clock
from common.tokens import TokenVerifier
from starlette.requests import Request

from gateway.console.served import Console
from gateway.gate import Gate
from gateway.incidents import Incidents
from gateway.limiter import Limiter
from gateway.signing_client import SigningClient
from gateway.standing import Standings
from gateway.streams import Streams
from gateway.tenants import Tenants
from gateway.trail import Trail
from gateway.vault_client import VaultClient
from gateway.verifier_client import VerifierClient
from gateway.webhooks import Webhooks


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes use; nothing in them makes its own."""

    vault: VaultClient
    incidents: Incidents
    trail: Trail
    tenants: Tenants
    standings: Standings
    gate: Gate
    verifier: VerifierClient
    streams: Streams
    tokens: TokenVerifier
    clock: Clock
    egress_addresses: list[str]
    signing: SigningClient
    limiter: Limiter
    market_data: bool
    console: Console | None
    webhooks: Webhooks


def of(request: Request) -> Services:
    """Return the collaborators of the app that serves `request`."""
    services: Services = request.app.state.services
    return services
