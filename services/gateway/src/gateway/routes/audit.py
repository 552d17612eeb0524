"""Own `/v1/audit`: the tenant's own trail. Reads the request and hands on; decides nothing."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests
from gateway.auth import Session, session
from gateway.services import of
from gateway.trail import Part

JSON = "application/json"
Reads = Annotated[Session, Depends(session("audit:read"))]

router = APIRouter(prefix="/v1/audit", tags=["audit"])


@router.get(
    "",
    summary="Read the audit trail",
    dependencies=[Depends(requests.only("binding", "from", "to", "cursor", "limit"))],
    responses=documented.answers({200: ("One page", JSON, "AuditPage")}, "invalid_request"),
)
async def page(request: Request, who: Reads, part: Annotated[Part, Depends()]) -> Response:
    """Return the tenant's own lines, the newest first: who had what done with which key, and what was refused."""
    return Response(to_json(await of(request).trail.page(who.authorization, part)), media_type=JSON)
