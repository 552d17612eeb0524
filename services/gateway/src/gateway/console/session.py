"""Own the console's session: an access token in a cookie that no script can read, and when that cookie counts.

It counts for requests that the page itself made, for reading and managing bindings; never to have anything signed for
trading. Nothing is kept here: the cookie is the session, and the token in it is checked as any other.
"""

from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from gateway.console import origin as address

SCOPES: Final = frozenset(["bindings:read", "bindings:write", "audit:read", "admin"])
MARK: Final = "x-strongroom-console"  # a page of another origin cannot set it without asking first, and nobody says yes
SIGN_IN_S: Final = 600
LIMIT: Final = 3800  # bytes; browsers drop cookies of more than 4096, name and attributes included


def own(request: Request, origin: str) -> bool:
    """Tell whether the page itself made `request`: not another site, another port, or a name that leads here."""
    headers = request.headers
    return (
        headers.get(MARK) == "1"
        and headers.get("host", "").lower() == address.host(origin)
        and headers.get("origin", origin).lower() == origin
        and headers.get("sec-fetch-site", "same-origin") == "same-origin"
    )


def bearer(request: Request, origin: str, scope: str) -> str | None:
    """Return the Authorization value of the session that the page's own request stands in; None without one."""
    if scope not in SCOPES or not own(request, origin):
        return None
    token = request.cookies.get(address.cookie(origin, "session"))
    return f"Bearer {token}" if token else None


def wait(response: Response, origin: str, waiting: str) -> None:
    """Let what a sign-in waits with stay in the browser; it comes back with a link from the sign-in server."""
    name, secure = address.cookie(origin, "signin"), address.secure(origin)
    response.set_cookie(name, waiting, max_age=SIGN_IN_S, path="/", secure=secure, httponly=True, samesite="lax")


def waited(request: Request, response: Response, origin: str) -> str:
    """Return what a sign-in waited with, '' without one, and take it away: it serves once."""
    name, secure = address.cookie(origin, "signin"), address.secure(origin)
    response.delete_cookie(name, path="/", secure=secure, httponly=True, samesite="lax")
    return request.cookies.get(name, "")


def begin(response: Response, origin: str, token: str, seconds: int) -> None:
    """Put `token` into the session cookie for `seconds`."""
    _set(response, origin, token, seconds)


def end(response: Response, origin: str) -> None:
    """Take the session cookie away."""
    _set(response, origin, "", 0)


def _set(response: Response, origin: str, value: str, seconds: int) -> None:
    name = address.cookie(origin, "session")
    secure = address.secure(origin)
    response.set_cookie(name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")
