"""Own the public app: the routes of the contract, and one shape for every error. Serves no documentation of itself."""

from typing import Final

from common import logs
from common.errors import StrongroomError
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from gateway import problems, requests
from gateway.console import routes as console
from gateway.problems import Problem
from gateway.routes import audit, bindings, changes, events, exchanges, incidents, tenants, using, webhooks
from gateway.services import Services

ROUTERS: Final = (audit, bindings, changes, events, exchanges, incidents, tenants, using, webhooks)


def build(services: Services | None = None) -> FastAPI:
    """Return the app; without services it can only be described. The console is there if an address is set for it."""
    parts = (*ROUTERS, console) if services is not None and services.console is not None else ROUTERS
    app = FastAPI(
        title="Strongroom",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        routes=[route for part in parts for route in part.router.routes],
    )
    app.state.services = services
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(StrongroomError, _family)
    app.add_exception_handler(HTTPException, _framework)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unknown)
    return app


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)  # noqa: S101  as registered
    return problems.response(error)


async def _family(_: Request, error: Exception) -> Response:
    assert isinstance(error, StrongroomError)  # noqa: S101  as registered
    problem = problems.of(error)
    if problem.code == "internal":
        logs.get().error("service_failed", kind=error.kind, reason=error.reason)
    return problems.response(problem)


async def _framework(request: Request, error: Exception) -> Response:
    """Answer for the framework: an unknown path or method, or anything else it refuses by itself."""
    status = error.status_code if isinstance(error, HTTPException) else 400
    if status == 405:
        return problems.response(Problem("method_not_allowed", headers={"Allow": ", ".join(_methods(request))}))
    return problems.response(Problem("not_found" if status == 404 else "malformed_request"))


def _methods(request: Request) -> list[str]:
    """Return every method of the path; a route alone knows only its own."""
    known: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is not Match.NONE:
            known |= route.methods
    return sorted(known)


async def _invalid(_: Request, error: Exception) -> Response:
    """Answer for a query parameter or header; bodies are validated by ourselves."""
    assert isinstance(error, RequestValidationError)  # noqa: S101  as registered
    found = [fault | {"loc": fault["loc"][1:]} for fault in error.errors()]
    return problems.response(Problem("invalid_parameter", errors=requests.faults(found)))


async def _unknown(_: Request, __: Exception) -> Response:
    return problems.response(Problem("internal"))
