"""Own the event streams of the REST face: of a tenant, and of one binding."""

from typing import Annotated

from common.errors import InvalidArgument
from common.events import parse_id
from fastapi import APIRouter, Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from gateway import bind, documented, requests
from gateway.auth import Session, session
from gateway.problems import FieldFault, Problem
from gateway.services import of

Reads = Annotated[Session, Depends(session("bindings:read", counted=False))]
NO_QUERY = Depends(requests.only())

router = APIRouter(prefix="/v1", tags=["events"])

_ANSWERS = documented.answers(
    {
        200: (
            "Server-sent events: `binding.status` with the data below and an id to resume from; `reset` when what came "
            "after Last-Event-ID is gone: read the state again. The stream does not begin with the present state: read "
            "it after opening. It ends at the token's expiry; a comment is sent every 15 s.",
            "text/event-stream",
            "StatusEvent",
        )
    },
    *("events_unavailable", "too_many_streams"),
)


async def last_event_id(
    value: Annotated[str | None, Header(alias="Last-Event-ID", description="Resume after this event.")] = None,
) -> str | None:
    """Return the id to resume after; raise Problem for one that is not ours."""
    try:
        if value is not None:
            parse_id(value)
    except InvalidArgument as error:
        fault = FieldFault(field="Last-Event-ID", code="malformed", message=error.detail)
        raise Problem("invalid_parameter", errors=[fault]) from None
    return value


After = Annotated[str | None, Depends(last_event_id)]


@router.get("/events", summary="Follow all bindings", dependencies=[NO_QUERY], responses=_ANSWERS)
async def tenant(request: Request, who: Reads, after: After) -> Response:
    """Stream the status events of every binding of the tenant."""
    return await of(request).streams.open(who.caller, after)


@router.get("/bindings/{binding_id}/events", summary="Follow one binding", dependencies=[NO_QUERY], responses=_ANSWERS)
async def binding(request: Request, who: Reads, binding_id: str, after: After) -> Response:
    """Stream the status events of one binding."""
    services = of(request)
    record = await bind.describe(services, who, binding_id)
    return await services.streams.open(who.caller, after, record.id)
