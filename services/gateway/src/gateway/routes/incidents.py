"""Own freezes and bulk revocation under `/v1/admin`. Reads the request and hands on; decides nothing."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests
from gateway.auth import Session, session
from gateway.incident_schemas import FreezeRequest, RevocationRequest
from gateway.services import of

JSON = "application/json"
Operator = Annotated[Session, Depends(session("admin"))]
NO_QUERY = Depends(requests.only())

router = APIRouter(prefix="/v1/admin", tags=["admin"])


@router.post(
    "/freezes",
    summary="Freeze",
    dependencies=[NO_QUERY],
    status_code=201,
    openapi_extra=documented.body("FreezeRequest"),
    responses=documented.answers(
        {201: ("Nothing is signed for it any more, on every process within a quarter of a second", JSON, "Freeze")},
        *("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request", "idempotency_key_reused"),
    ),
)
async def freeze(
    request: Request,
    who: Operator,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wanted: Annotated[FreezeRequest, Depends(requests.body(FreezeRequest))],
) -> Response:
    """Stop signing for a binding, a subject, a tenant, an exchange or everything. Revocation is never held up."""
    made = await of(request).incidents.freeze(who.authorization, key, wanted)
    return Response(to_json(made), 201, {"Location": f"/v1/admin/freezes/{made['id']}"}, JSON)


@router.get(
    "/freezes",
    summary="List freezes",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("Every active freeze", JSON, "FreezeList")}),
)
async def freezes(request: Request, who: Operator) -> Response:
    """Return the active freezes: who made which, when and why."""
    return Response(to_json(await of(request).incidents.freezes(who.authorization)), media_type=JSON)


@router.delete(
    "/freezes/{freeze_id}",
    summary="Lift a freeze",
    dependencies=[Depends(requests.only("reason"))],
    status_code=204,
    responses=documented.answers({204: ("Lifted", JSON, None)}, "invalid_request"),
)
async def lift(
    request: Request,
    who: Operator,
    freeze_id: str,
    reason: Annotated[str, Query(min_length=1, max_length=200, description="Why it can be lifted.")],
) -> Response:
    """Lift a freeze. Safe to repeat."""
    await of(request).incidents.lift(who.authorization, freeze_id, reason)
    return Response(status_code=204)


@router.post(
    "/revocations",
    summary="Revoke many bindings",
    dependencies=[NO_QUERY],
    status_code=202,
    openapi_extra=documented.body("RevocationRequest"),
    responses=documented.answers(
        {202: ("Taken: it will be carried out, whatever process ends", JSON, "Revocation")},
        *("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request", "idempotency_key_reused"),
    ),
)
async def revoke(
    request: Request,
    who: Operator,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wanted: Annotated[RevocationRequest, Depends(requests.body(RevocationRequest))],
) -> Response:
    """End every binding of a tenant that fits. To keep new ones from coming meanwhile, freeze the tenant first."""
    taken = await of(request).incidents.revoke(who.authorization, key, wanted)
    return Response(to_json(taken), 202, {"Location": f"/v1/admin/revocations/{taken['id']}"}, JSON)


@router.get(
    "/revocations/{revocation_id}",
    summary="Read a bulk revocation",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("How far it is, and the report once it is done", JSON, "Revocation")}),
)
async def revocation(request: Request, who: Operator, revocation_id: str) -> Response:
    """Return how far it is: what fits, what has ended, what has failed so far."""
    return Response(to_json(await of(request).incidents.revocation(who.authorization, revocation_id)), media_type=JSON)
