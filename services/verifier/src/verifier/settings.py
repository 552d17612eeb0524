"""Own the settings of the two processes. Only this file and `common.config` know how they reach us."""

from ipaddress import IPv4Address
from typing import Annotated, Any

from common.config import Address, RedisSettings
from pydantic import BeforeValidator, Field

HttpUrl = Annotated[str, Field(pattern=r"^https?://[^/?#]+(/[^?#]*)?$")]


def _listed(value: Any) -> Any:
    """Take comma-separated text apart."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


CallsPerMinute = Annotated[int, Field(ge=1, le=5400)]
BrokerCode = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
EgressIps = Annotated[tuple[IPv4Address, ...], BeforeValidator(_listed)]


class VerifierSettings(RedisSettings):
    """What both processes need."""

    vault_target: Address
    egress_ips: EgressIps = ()


class ApiSettings(VerifierSettings):
    """The settings of `verifier api`."""

    listen: Address
    bitget_url: HttpUrl
    calls_per_minute: CallsPerMinute = 5400
    broker_code: BrokerCode | None = None


class WorkerSettings(VerifierSettings):
    """The settings of `verifier worker`; times are in seconds."""

    bitget_url: HttpUrl
    slots: Annotated[int, Field(ge=1, le=100)] = 16
    lease_seconds: Annotated[float, Field(gt=0)] = 10
    reconcile_seconds: Annotated[float, Field(gt=0)] = 60
    verify_seconds: Annotated[float, Field(ge=60)] = 86_400
    calls_per_minute: CallsPerMinute = 5400
