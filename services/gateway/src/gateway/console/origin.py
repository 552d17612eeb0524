"""Own the address that people reach the console at, as a setting, and what follows from it: host, names of cookies."""

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator

LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")


def _origin(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or value != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise ValueError("must be scheme://host or scheme://host:port, without a path")
    if parts.scheme == "http" and host(value).rpartition(":")[0] not in LOCAL:
        raise ValueError("must begin with https:// except on loopback")
    return value.lower()


Origin = Annotated[str, AfterValidator(_origin)]


def _endpoint(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.fragment:
        raise ValueError("must be an https:// URL")
    if parts.scheme == "http" and parts.hostname not in LOCAL:
        raise ValueError("must begin with https:// except on loopback")
    return value


Endpoint = Annotated[str, AfterValidator(_endpoint)]


def host(origin: str) -> str:
    """Return the host and port that requests to `origin` name."""
    return urlsplit(origin).netloc


def secure(origin: str) -> bool:
    """Tell whether the console is reached by TLS."""
    return origin.startswith("https://")


def cookie(origin: str, what: str) -> str:
    """Return the name of a cookie. Cookies are shared by all ports of a host: without TLS its name tells them apart."""
    return f"__Host-strongroom-{what}" if secure(origin) else f"strongroom-{what}-{host(origin).rpartition(':')[2]}"
