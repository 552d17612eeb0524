"""Own `/v1/bindings`: bind, list, read, verify, revoke, balances. Reads the request and hands on; decides nothing."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from gateway import bind, documented, requests, resource, schemas
from gateway.auth import Session, session
from gateway.services import of

JSON = "application/json"
Reads = Annotated[Session, Depends(session("bindings:read"))]
Writes = Annotated[Session, Depends(session("bindings:write"))]
Wait = Annotated[int, Depends(requests.prefer_wait)]
NO_QUERY = Depends(requests.only())

router = APIRouter(prefix="/v1/bindings", tags=["bindings"])


def answer(value: resource.Json, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return a value as a JSON answer."""
    return Response(to_json(value), status, headers, JSON)


def shown(found: bind.Shown, status: int = 200, wait_s: int = 0, **headers: str) -> Response:
    """Return a binding as a JSON answer with its ETag."""
    applied = {"Preference-Applied": f"wait={wait_s}"} if wait_s else {}
    return answer(found.binding, status, {"ETag": f'"{found.revision}"', **applied, **headers})


@router.post(
    "",
    summary="Bind a key",
    dependencies=[NO_QUERY],
    status_code=202,
    openapi_extra=documented.body("BindRequest"),
    responses=documented.answers(
        {
            201: ("Bound, and the verdict is in", JSON, "Binding"),
            202: ("Bound; the verdict follows as an event", JSON, "Binding"),
        },
        *("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request"),
        *("idempotency_key_reused", "already_bound"),
    ),
)
async def create(
    request: Request,
    who: Writes,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wait_s: Wait,
    wanted: Annotated[schemas.BindRequest, Depends(requests.body(schemas.BindRequest))],
) -> Response:
    """Store the credential and have it verified. A repeat with the same Idempotency-Key answers the same binding."""
    bound = await bind.bind(of(request), who, key, wanted, wait_s)
    status = 202 if bound.binding["status"] == "pending" else 201
    return shown(bound, status, wait_s, Location=f"/v1/bindings/{bound.binding['id']}")


@router.get(
    "",
    summary="List bindings",
    dependencies=[Depends(requests.only("status", "subject", "cursor", "limit"))],
    responses=documented.answers({200: ("One page", JSON, "BindingPage")}),
)
async def page(request: Request, who: Reads, wanted: Annotated[requests.Page, Depends()]) -> Response:
    """Return the tenant's bindings by id. A binding's own page is never older; this one may lag behind by seconds."""
    return answer(await bind.page(of(request), who, wanted))


@router.get(
    "/{binding_id}",
    summary="Read a binding",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("The binding", JSON, "Binding")}),
)
async def read(request: Request, who: Reads, binding_id: str) -> Response:
    """Return one binding with what was last observed of it."""
    return shown(await bind.show(of(request), who, binding_id))


@router.post(
    "/{binding_id}/verify",
    summary="Verify a binding",
    dependencies=[NO_QUERY],
    status_code=202,
    responses=documented.answers(
        {
            200: ("The fresh verdict is in", JSON, "Binding"),
            202: ("Queued; the verdict follows as an event if it changes anything", JSON, "Binding"),
        },
        "binding_revoked",
    ),
)
async def verify(request: Request, who: Writes, binding_id: str, wait_s: Wait) -> Response:
    """Ask for a fresh verdict."""
    found, verified = await bind.verify(of(request), who, binding_id, wait_s)
    return shown(found, 200 if verified else 202, wait_s)


@router.delete(
    "/{binding_id}",
    summary="Revoke a binding",
    dependencies=[NO_QUERY],
    status_code=204,
    responses=documented.answers({204: ("Nothing can be signed any more", JSON, None)}),
)
async def revoke(request: Request, who: Writes, binding_id: str) -> Response:
    """End a binding; a tombstone stays. Safe to repeat."""
    await bind.revoke(of(request), who, binding_id)
    return Response(status_code=204)


@router.get(
    "/{binding_id}/balances",
    summary="Read balances",
    dependencies=[NO_QUERY],
    responses=documented.answers(
        {200: ("At most 30 s old", JSON, "Balances")},
        *("binding_revoked", "binding_not_connected", "balances_unavailable"),
    ),
)
async def balances(request: Request, who: Reads, binding_id: str) -> Response:
    """Return the account's balances, asking the exchange if the last answer is older than 30 s."""
    return answer(await bind.balances(of(request), who, binding_id))
