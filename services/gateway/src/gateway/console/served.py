"""Own what the console of one gateway is: its address and the ways to sign in."""

from dataclasses import dataclass
from typing import Self

from common.config import read_secret

from gateway.console.local import LocalSignIn
from gateway.console.oidc import CodeFlow
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Console:
    """The console that is served at `origin`."""

    origin: str
    local: LocalSignIn | None
    oidc: CodeFlow | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self | None:
        """Return the console of the gateway's settings, None where they name no address for it."""
        if settings.console_url is None:
            return None
        file = settings.console_local_file
        local = LocalSignIn(file) if file else None
        return cls(settings.console_url, local, _code_flow(settings.console_url, settings))

    @property
    def ways(self) -> list[str]:
        """The ways to sign in."""
        return [name for name, way in (("oidc", self.oidc), ("local", self.local)) if way]


def _code_flow(origin: str, settings: GatewaySettings) -> CodeFlow | None:
    authorize, token, client = (
        settings.console_authorize_url,
        settings.console_token_url,
        settings.console_client_id,
    )
    if not (authorize and token and client):
        return None
    file = settings.console_client_secret_file
    return CodeFlow(
        origin=origin,
        authorize_url=authorize,
        token_url=token,
        client_id=client,
        secret=read_secret(file) if file else None,
        scope=settings.console_scope,
    )
