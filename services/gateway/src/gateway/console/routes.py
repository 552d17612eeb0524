"""Own what the console is served by: the page, its files, who is signed in, and the way in and out.

None of it is part of the documented REST contract: it belongs to the page of the same version.
"""

from typing import Annotated, Any, Final

from common import logs
from common.errors import StrongroomError, Unauthenticated
from fastapi import APIRouter, Depends
from pydantic import Field
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from gateway import requests
from gateway.console import assets, session
from gateway.console import origin as address
from gateway.console.served import Console
from gateway.problems import Problem
from gateway.schemas import Request as Sent
from gateway.services import of

NO_QUERY: Final = Depends(requests.only())


class LocalRequest(Sent):
    """Sign in on the embedded stack: the key of its link, and as whom; without a name, ask whom there is."""

    key: Annotated[str, Field(max_length=128)]
    name: Annotated[str | None, Field(max_length=64)] = None


router = APIRouter(include_in_schema=False)


def console(request: Request) -> Console:
    """Return the console that is served; raise Problem for a request that came under another host name."""
    served = of(request).console
    assert served is not None  # noqa: S101  the routes exist with it alone
    if request.headers.get("host", "").lower() != address.host(served.origin):
        raise Problem("not_found")
    return served


def own(request: Request) -> Console:
    """Return the console for a request that its page itself made; raise Problem for any other."""
    served = console(request)
    if not session.own(request, served.origin):
        raise Problem("permission_denied")
    return served


Served = Annotated[Console, Depends(console)]
Own = Annotated[Console, Depends(own)]


@router.get("/")
async def page(request: Request) -> Response:
    """Return the page, or lead to the address that it is reached at."""
    served = of(request).console
    assert served is not None  # noqa: S101  the routes exist with it alone
    if request.headers.get("host", "").lower() != address.host(served.origin):
        return RedirectResponse(served.origin + "/", 307)
    return _file("index.html")


@router.get("/console/session", dependencies=[NO_QUERY])
async def who(request: Request, served: Own) -> Response:
    """Return who is signed in, until when, and otherwise the ways to sign in."""
    value = session.bearer(request, served.origin, "bindings:read")
    try:
        caller = of(request).tokens.verify(value)
    except StrongroomError:
        return _json({"signed_in": False, "ways": served.ways})
    return _json(
        {
            "signed_in": True,
            "subject": caller.subject,
            "tenant": caller.tenant,
            "scopes": sorted(caller.scopes & session.SCOPES),
            "expires_at": caller.expires_at,
        }
    )


@router.delete("/console/session", dependencies=[NO_QUERY])
async def leave(served: Own) -> Response:
    """Take the session away from the browser."""
    response = Response(status_code=204)
    session.end(response, served.origin)
    return response


@router.post("/console/local", dependencies=[NO_QUERY])
async def local(
    request: Request, served: Own, wanted: Annotated[LocalRequest, Depends(requests.body(LocalRequest))]
) -> Response:
    """Sign in with the key of the embedded stack's link."""
    if served.local is None:
        raise Problem("not_found")
    if wanted.name is None:
        return _json({"names": served.local.names(wanted.key)})
    return begin(request, served, served.local.token(wanted.key, wanted.name), Response(status_code=204))


@router.get("/console/sign-in", dependencies=[NO_QUERY])
async def sign_in(served: Served) -> Response:
    """Send the browser to the platform's sign-in server."""
    if served.oidc is None:
        raise Problem("not_found")
    begun = served.oidc.begin()
    response = RedirectResponse(begun.location, 303)
    session.wait(response, served.origin, begun.waiting)
    return response


@router.get("/console/callback")
async def callback(request: Request, served: Served, state: str = "", code: str = "") -> Response:
    """Take the browser back from the sign-in server: to the page with a session, or with the word for why not."""
    if served.oidc is None:
        raise Problem("not_found")
    response = RedirectResponse(f"{served.origin}/", 303)
    waiting = session.waited(request, response, served.origin)
    try:
        return begin(request, served, await served.oidc.finish(waiting, state, code), response)
    except StrongroomError as error:
        response.headers["location"] = f"{served.origin}/#failed={error.kind}"
        return response


def begin(request: Request, served: Console, token: str, response: Response) -> Response:
    """Return `response` with a session of `token`; raise Unauthenticated for one that is no token of ours."""
    caller = of(request).tokens.verify(f"Bearer {token}")
    if len(token) > session.LIMIT:
        raise Unauthenticated("invalid_token", "The access token is too large for a browser's cookie.")
    session.begin(response, served.origin, token, int(caller.expires_at - of(request).clock.unix()))
    return response


@router.post("/console/reports", dependencies=[NO_QUERY])
async def reports(request: Request, served: Served) -> Response:  # noqa: ARG001  checked to be ours
    """Log that a browser has seen the page's policy broken; nothing of the report is kept."""
    logs.get().warning("console_policy_broken")
    return Response(status_code=204)


@router.get("/console/{name:path}")
async def file(name: str, served: Served) -> Response:  # noqa: ARG001  checked to be ours
    """Return one of the page's files."""
    return _file(name)


def _file(name: str) -> Response:
    found = assets.answer(name)
    if found is None:
        raise Problem("not_found")
    return found


def _json(value: dict[str, Any]) -> Response:
    return Response(to_json(value), media_type="application/json")
