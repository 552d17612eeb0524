"""Own how settings reach a process: strictly, from STRONGROOM_* variables, secrets from files only.

An unknown variable stops the process with one line that names it; `--check` prints what would be used, redacted.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import parse_qs, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath, ValidationError

from common import profile
from common.secret import Secret

PREFIX = "STRONGROOM_"
S = TypeVar("S", bound="Settings")


def _address(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must be host:port")
    return value


Address = Annotated[str, AfterValidator(_address)]


def _redis_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    if parts.password or "password" in parse_qs(parts.query):
        raise ValueError(f"must hold no password: put it into a file and name that in {PREFIX}REDIS_PASSWORD_FILE")
    return value


RedisUrl = Annotated[str, AfterValidator(_redis_url)]


class Settings(BaseModel):
    """The settings of one process; subclass it with typed fields. Texts are converted, nothing is guessed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    profile: Literal["development", "production"] = "development"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Validate every STRONGROOM_* variable of `environment`."""
        values = {name[len(PREFIX) :].lower(): text for name, text in environment.items() if name.startswith(PREFIX)}
        return cls.model_validate(values)


class ServiceSettings(Settings):
    """What all three services need: their own mTLS identity, and how callers' tokens are checked."""

    health_address: Address
    tls_cert_file: FilePath
    tls_key_file: FilePath
    tls_ca_file: FilePath
    trust_domain: str = "strongroom.internal"
    jwt_issuer: str
    jwks_file: FilePath
    otlp_endpoint: Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9._-]+:[0-9]{1,5}$")] | None = None
    otlp_ca_file: FilePath | None = None
    trace_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


class RedisSettings(ServiceSettings):
    """What a service that uses Redis needs: where it is, and the file with its password if it wants one."""

    redis_url: RedisUrl
    redis_password_file: FilePath | None = None


def read_secret(path: Path) -> Secret:
    """Return the text of a secret's file without its final line break."""
    return Secret(path.read_text().rstrip("\n"))


def describe(error: ValidationError) -> str:
    """Return one line that names each wrong variable, without its value."""
    faults = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        name = PREFIX + "_".join(str(part) for part in fault["loc"]).upper()
        faults.append(f"{name}: {'unknown setting' if fault['type'] == 'extra_forbidden' else fault['msg']}")
    return "; ".join(faults)


def redacted(settings: BaseModel) -> str:
    """Return the settings as NAME=value lines; a URL's password is hidden."""
    lines = []
    for name, value in settings.model_dump(mode="json").items():
        lines.append(f"{PREFIX}{name.upper()}={_without_password(value)}")
    return "\n".join(lines)


def _without_password(value: Any) -> Any:
    if isinstance(value, str) and "://" in value and "@" in value:
        scheme, rest = value.split("://", 1)
        return f"{scheme}://***@{rest.rsplit('@', 1)[1]}"
    return value


def load(kind: type[S], arguments: list[str]) -> S:
    """Return the process's settings, or exit: 2 with one line when they are wrong or unsafe, 0 after `--check`."""
    try:
        settings = kind.from_environment(os.environ)
    except ValidationError as error:
        sys.stderr.write(f"settings: {describe(error)}\n")
        raise SystemExit(2) from None
    refused = profile.faults(settings.model_dump()) if settings.profile == "production" else []
    if refused:
        lines = (f"{PREFIX}{name.upper()}:{why}" for name, _, why in (fault.partition(":") for fault in refused))
        sys.stderr.write(f"settings: refused in production: {'; '.join(lines)}\n")
        raise SystemExit(2)
    if "--check" in arguments:
        sys.stdout.write(redacted(settings) + "\n")
        raise SystemExit(0)
    return settings
