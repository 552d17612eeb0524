"""Own a tenant's way to the gateway: one REST call, and one line that says why it was refused.

It uses nothing but the public contract. Neither a token nor a credential is ever in a message.
"""

import ssl
import time
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx

from cli.processes import LaunchError

TIMEOUT_S: Final = 40.0  # more than the longest `Prefer: wait`
ATTEMPTS: Final = 4
MAX_PAUSE_S: Final = 5.0
LATER: Final = frozenset([429, 502, 503, 504])
Json = dict[str, Any]


class Rest:
    """One tenant's client; use as a context manager."""

    def __init__(self, url: str, token: str, ca_file: Path | None = None) -> None:
        _check_safe(url)
        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False, verify=verify)

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        self._http.close()

    def call(self, method: str, path: str, **options: Any) -> Json:
        """Make one call, which must be safe to repeat, and return its answer; raise LaunchError when it is refused.

        What cannot be answered now is repeated: a bind with its Idempotency-Key has one effect.
        """
        for attempt in range(ATTEMPTS):
            last = attempt == ATTEMPTS - 1
            try:
                answer = self._http.request(method, path, **options)
            except httpx.TransportError as error:
                if last:
                    raise LaunchError(f"The gateway does not answer ({type(error).__name__}).") from None
                time.sleep(2**attempt / 4)
                continue
            if last or answer.status_code not in LATER:
                break
            time.sleep(min(float(answer.headers.get("Retry-After", 1)), MAX_PAUSE_S))
        if not answer.is_success:
            raise LaunchError(problem(method, path, answer))
        try:
            body: Json = answer.json() if answer.content else {}
        except ValueError:
            raise LaunchError(f"{method} {path} answered with something that is no JSON.") from None
        return body


def problem(method: str, path: str, answer: httpx.Response) -> str:
    """Return what a problem document says, in one line."""
    begin = f"{method} {path} answered {answer.status_code}"
    try:
        told = answer.json()
        fields = "".join(f"; {one['field']}: {one['message']} [{one['code']}]" for one in told.get("errors", ()))
        known = f", binding {told['binding_id']}" if told.get("binding_id") else ""
        return f"{begin}, {told['code']}: {told['detail']}{fields}{known} (request {told['request_id']})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{begin}, no explanation"


def _check_safe(url: str) -> None:
    """Raise LaunchError for an address to which a token and a credential must not go."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        local = False
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise LaunchError("The gateway's address must begin with https:// (http:// for this machine only).")
