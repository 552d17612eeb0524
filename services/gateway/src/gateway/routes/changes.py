"""Own the routes that change a binding: a new credential, and PATCH. Reads the request and hands on."""

from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway import change, documented, requests, schemas
from gateway.routes.bindings import JSON, NO_QUERY, Wait, Writes, shown
from gateway.services import of

router = APIRouter(prefix="/v1/bindings", tags=["bindings"])


@router.post(
    "/{binding_id}/credential",
    summary="Replace the credential",
    dependencies=[NO_QUERY],
    status_code=202,
    openapi_extra=documented.body("RotateRequest"),
    responses=documented.answers(
        {
            200: ("The new credential is in use, and the old one is destroyed", JSON, "Binding"),
            202: ("Stored; the old one is in use until the new one is proven, which an event tells", JSON, "Binding"),
        },
        *("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request", "idempotency_key_reused"),
        *("already_bound", "rotation_in_progress", "account_mismatch", "credential_rejected", "binding_revoked"),
        "policy_refused",
    ),
)
async def rotate(
    request: Request,
    who: Writes,
    binding_id: str,
    *,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wait_s: Wait,
    wanted: Annotated[schemas.RotateRequest, Depends(requests.body(schemas.RotateRequest))],
) -> Response:
    """Verify a new key of the same account while the old one works, then use it and destroy the old one."""
    found, in_use = await change.rotate(of(request), who, binding_id, key=key, wanted=wanted, wait_s=wait_s)
    return shown(found, 200 if in_use else 202, wait_s)


@router.patch(
    "/{binding_id}",
    summary="Change label, subject or scopes",
    dependencies=[NO_QUERY],
    openapi_extra=documented.body("UpdateRequest"),
    responses=documented.answers(
        {200: ("The binding as changed", JSON, "Binding")},
        *("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request"),
        *("binding_revoked", "revision_changed", "precondition_failed"),
    ),
)
async def update(
    request: Request,
    who: Writes,
    binding_id: str,
    revision: Annotated[int, Depends(requests.if_match)],
    wanted: Annotated[schemas.UpdateRequest, Depends(requests.body(schemas.UpdateRequest, requests.MERGE_PATCH))],
) -> Response:
    """Change what is given and leave the rest. A binding with more scopes than before is pending until verified."""
    return shown(await change.update(of(request), who, binding_id, wanted, revision))
