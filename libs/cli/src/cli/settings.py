"""The launcher's own settings, read from STRONGROOM_* variables; the children's settings are made in `services`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cli.processes import LaunchError

NAMES = {"STRONGROOM_HOME", "STRONGROOM_PORT", "STRONGROOM_BITGET_URL", "STRONGROOM_EGRESS_IPS", "STRONGROOM_LOG_LEVEL"}
NAMES |= {"STRONGROOM_OTLP_ENDPOINT"}
# Where commands find a gateway (`room`) or Redis (`reconcile`): not the stack's, and they may stand beside its own.
OTHERS = {"STRONGROOM_URL", "STRONGROOM_TOKEN_FILE", "STRONGROOM_CA_FILE", "STRONGROOM_TENANT"}
OTHERS |= {"STRONGROOM_REDIS_URL", "STRONGROOM_REDIS_PASSWORD_FILE"}
SIMULATED_EGRESS = "127.0.0.1"  # where the simulator sees our requests come from


@dataclass(frozen=True)
class LaunchSettings:
    """Where state lives, the gateway's port, the exchange (None: simulated), the egress addresses, the log level, and
    where spans go (None: nowhere)."""

    home: Path
    port: int
    bitget_url: str | None
    egress_ips: str
    log_level: str = "info"
    otlp_endpoint: str | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the variables; raises LaunchError naming one that is unknown or wrong."""
        unknown = sorted(name for name in environment if name.startswith("STRONGROOM_") and name not in NAMES | OTHERS)
        if unknown:
            raise LaunchError(f"Unknown setting {unknown[0]}; the launcher knows {', '.join(sorted(NAMES))}.")
        bitget_url = environment.get("STRONGROOM_BITGET_URL") or None
        if bitget_url and (urlsplit(bitget_url).scheme not in {"http", "https"} or not urlsplit(bitget_url).hostname):
            raise LaunchError("STRONGROOM_BITGET_URL must be an http or https URL.")
        return cls(
            home=Path(environment.get("STRONGROOM_HOME") or ".strongroom"),
            port=_port(environment.get("STRONGROOM_PORT") or "8080"),
            bitget_url=bitget_url,
            egress_ips=environment.get("STRONGROOM_EGRESS_IPS") or ("" if bitget_url else SIMULATED_EGRESS),
            log_level=environment.get("STRONGROOM_LOG_LEVEL") or "info",
            otlp_endpoint=environment.get("STRONGROOM_OTLP_ENDPOINT") or None,
        )


def _port(text: str) -> int:
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise LaunchError("STRONGROOM_PORT must be a port number between 1 and 65535.")
    return int(text)
