"""Own `/v1/admin/tenants`: make, list, read, change, disable and enable. Reads the request and hands on."""

import base64
import re
from typing import Annotated, Final

from common.errors import Aborted
from fastapi import APIRouter, Depends, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests
from gateway.auth import Session, session
from gateway.problems import FieldFault, Problem
from gateway.services import of
from gateway.tenant_schemas import TenantPatch, TenantRequest
from gateway.tenants import ShownTenant

JSON = "application/json"
Operator = Annotated[Session, Depends(session("admin"))]
NO_QUERY = Depends(requests.only())
BODY = ("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request")
_TENANT_ID: Final = re.compile(r"[a-z0-9]{26}")

router = APIRouter(prefix="/v1/admin/tenants", tags=["admin"])


def _answer(shown: ShownTenant, status: int = 200, **headers: str) -> Response:
    return Response(to_json(shown.tenant), status, {"ETag": f'"{shown.revision}"', **headers}, JSON)


async def after(
    cursor: Annotated[str | None, Query(max_length=128, description="The last page's `next_cursor`.")] = None,
) -> str:
    """Return the id to go on after; raise Problem for what is no cursor of ours."""
    if cursor is None:
        return ""
    try:
        found = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        found = ""
    if not _TENANT_ID.fullmatch(found):
        raise _wrong("cursor", "This is no cursor of this list.")
    return found


def _wrong(field: str, message: str) -> Problem:
    return Problem("invalid_parameter", errors=[FieldFault(field=field, code="malformed", message=message)])


@router.post(
    "",
    summary="Make a tenant",
    dependencies=[NO_QUERY],
    status_code=201,
    openapi_extra=documented.body("TenantRequest"),
    responses=documented.answers({201: ("It can bind at once", JSON, "Tenant")}, *BODY, "idempotency_key_reused"),
)
async def create(
    request: Request,
    who: Operator,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wanted: Annotated[TenantRequest, Depends(requests.body(TenantRequest))],
) -> Response:
    """Register a tenant under a fresh id. A repeat with the same Idempotency-Key answers the same tenant."""
    shown = await of(request).tenants.create(who.authorization, key, wanted)
    return _answer(shown, 201, Location=f"/v1/admin/tenants/{shown.tenant['id']}")


@router.get(
    "",
    summary="List tenants",
    dependencies=[Depends(requests.only("cursor", "limit"))],
    responses=documented.answers({200: ("One page", JSON, "TenantPage")}),
)
async def page(
    request: Request,
    who: Operator,
    start: Annotated[str, Depends(after)],
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> Response:
    """Return tenants by id."""
    items, following = await of(request).tenants.page(who.authorization, start, limit)
    cursor = base64.urlsafe_b64encode(following.encode()).decode().rstrip("=") or None
    return Response(to_json({"items": items, "next_cursor": cursor}), media_type=JSON)


@router.get(
    "/{tenant_id}",
    summary="Read a tenant",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("The tenant", JSON, "Tenant")}),
)
async def read(request: Request, who: Operator, tenant_id: str) -> Response:
    """Return one tenant."""
    return _answer(await of(request).tenants.get(who.authorization, tenant_id))


@router.patch(
    "/{tenant_id}",
    summary="Change a tenant",
    dependencies=[NO_QUERY],
    openapi_extra=documented.body("TenantPatch"),
    responses=documented.answers(
        {200: ("As it is now", JSON, "Tenant")}, *BODY, "revision_changed", "precondition_failed"
    ),
)
async def change(
    request: Request,
    who: Operator,
    tenant_id: str,
    revision: Annotated[int, Depends(requests.if_match)],
    wanted: Annotated[TenantPatch, Depends(requests.body(TenantPatch))],
) -> Response:
    """Change its name, rules or quotas; what is changed holds after two seconds at most."""
    try:
        return _answer(await of(request).tenants.change(who.authorization, tenant_id, revision, wanted))
    except Aborted:
        raise Problem("precondition_failed" if revision else "revision_changed") from None


@router.post(
    "/{tenant_id}/disable",
    summary="Disable a tenant",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("Refused and unsigned from two seconds on at most", JSON, "Tenant")}),
)
async def disable(request: Request, who: Operator, tenant_id: str) -> Response:
    """Refuse every call of its tokens and sign nothing for it. It keeps its bindings. Safe to repeat."""
    return _answer(await of(request).tenants.switch(who.authorization, tenant_id, disabled=True))


@router.post(
    "/{tenant_id}/enable",
    summary="Enable a tenant",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("It may do what it could before", JSON, "Tenant")}),
)
async def enable(request: Request, who: Operator, tenant_id: str) -> Response:
    """Bring back all that disabling has held up. Safe to repeat."""
    return _answer(await of(request).tenants.switch(who.authorization, tenant_id, disabled=False))
