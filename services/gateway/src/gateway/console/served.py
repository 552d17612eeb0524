"""Own what the console of one gateway is: its address and the ways to sign in."""

from dataclasses import dataclass
from typing import Self

from gateway.console.local import LocalSignIn
from gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Console:
    """The console that is served at `origin`."""

    origin: str
    local: LocalSignIn | None

    @classmethod
    def of(cls, settings: GatewaySettings) -> Self | None:
        """Return the console of the gateway's settings, None where they name no address for it."""
        if settings.console_url is None:
            return None
        file = settings.console_local_file
        return cls(settings.console_url, LocalSignIn(file) if file else None)

    @property
    def ways(self) -> list[str]:
        """The ways to sign in."""
        return ["local"] if self.local else []
