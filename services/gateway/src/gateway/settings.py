"""Own the gateway's settings. No secret is among them: the password of Redis is in a file of its own."""

from ipaddress import ip_address
from typing import Annotated, Any, Self

from common.config import Address, RedisSettings
from pydantic import AfterValidator, BeforeValidator, Field, FilePath, model_validator

from gateway.console.origin import Endpoint, Origin


def _split(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _address(value: str) -> str:
    try:
        return str(ip_address(value))
    except ValueError:
        raise ValueError("must be IP addresses with commas between") from None


EgressAddresses = Annotated[list[Annotated[str, AfterValidator(_address)]], BeforeValidator(_split)]


class GatewaySettings(RedisSettings):
    """What the gateway needs: where it listens, whom it calls, and which addresses customers allow at the exchange."""

    listen: Address
    vault_target: Address
    verifier_target: Address
    egress_ips: EgressAddresses
    market_data: bool = True
    streams_per_tenant: Annotated[int, Field(ge=1, le=5000)] = 50
    console_url: Origin | None = None
    console_local_file: FilePath | None = None
    streams: Annotated[int, Field(ge=1, le=50_000)] = 2000
    connections: Annotated[int, Field(ge=16, le=60_000)] = 4096
    console_authorize_url: Endpoint | None = None
    console_token_url: Endpoint | None = None
    console_client_id: str | None = None
    console_client_secret_file: FilePath | None = None
    console_scope: str = "openid bindings:read bindings:write audit:read"
    webhooks_loopback: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Self:
        together = {
            "console_authorize_url": self.console_authorize_url,
            "console_token_url": self.console_token_url,
            "console_client_id": self.console_client_id,
        }
        if any(together.values()) and not (all(together.values()) and self.console_url):
            raise ValueError(f"console_url and {', '.join(together)} belong together: set all of them or none")
        return self


class DelivererSettings(RedisSettings):
    """What the process that delivers webhooks needs."""

    vault_target: Address
    webhooks_loopback: bool = False
