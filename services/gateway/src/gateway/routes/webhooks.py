"""Own `/v1/webhooks`: endpoints, their secrets, what became of deliveries. Reads the request and hands on."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests
from gateway.auth import Session, session
from gateway.services import of
from gateway.webhook_schemas import WebhookChange, WebhookRequest, WebhookRewind

JSON = "application/json"
NO_QUERY = Depends(requests.only())
Reads = Annotated[Session, Depends(session("bindings:read"))]
Writes = Annotated[Session, Depends(session("bindings:write"))]
BODY = ("malformed_json", "duplicate_key", "unsupported_media_type", "invalid_request")

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])


@router.post(
    "",
    summary="Add a webhook",
    dependencies=[NO_QUERY],
    status_code=201,
    openapi_extra=documented.body("WebhookRequest"),
    responses=documented.answers(
        {201: ("Events from now on are delivered there; the secret is shown this once", JSON, "WebhookSecret")},
        *BODY,
        "idempotency_key_reused",
    ),
)
async def create(
    request: Request,
    who: Writes,
    key: Annotated[str, Depends(requests.idempotency_key)],
    wanted: Annotated[WebhookRequest, Depends(requests.body(WebhookRequest))],
) -> Response:
    """Have the tenant's status events delivered to an address, signed as in Standard Webhooks. Ten are the most."""
    made = await of(request).webhooks.create(who.authorization, key, wanted)
    return Response(to_json(made), 201, {"Location": f"/v1/webhooks/{made['webhook']['id']}"}, JSON)


@router.get(
    "",
    summary="List webhooks",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("Every webhook of the tenant", JSON, "WebhookList")}),
)
async def every(request: Request, who: Reads) -> Response:
    """Return the tenant's webhooks, without their secrets."""
    return Response(to_json(await of(request).webhooks.every(who.authorization)), media_type=JSON)


@router.patch(
    "/{webhook_id}",
    summary="Change or pause a webhook",
    dependencies=[NO_QUERY],
    openapi_extra=documented.body("WebhookChange"),
    responses=documented.answers({200: ("The webhook as changed", JSON, "Webhook")}, *BODY),
)
async def update(
    request: Request,
    who: Writes,
    webhook_id: str,
    wanted: Annotated[WebhookChange, Depends(requests.body(WebhookChange, requests.MERGE_PATCH))],
) -> Response:
    """Change what is given and leave the rest, the secrets too. What is under way may arrive at the old place."""
    return Response(to_json(await of(request).webhooks.update(who.authorization, webhook_id, wanted)), media_type=JSON)


@router.delete(
    "/{webhook_id}",
    summary="Remove a webhook",
    dependencies=[NO_QUERY],
    status_code=204,
    responses=documented.answers({204: ("Removed, its secrets destroyed, what waited for it forgotten", JSON, None)}),
)
async def remove(request: Request, who: Writes, webhook_id: str) -> Response:
    """Remove a webhook."""
    await of(request).webhooks.remove(who.authorization, webhook_id)
    return Response(status_code=204)


@router.post(
    "/{webhook_id}/secret",
    summary="Make a new signing secret",
    dependencies=[NO_QUERY],
    status_code=201,
    responses=documented.answers({201: ("Both sign for a day, then the new one alone", JSON, "WebhookSecret")}),
)
async def rotate(request: Request, who: Writes, webhook_id: str) -> Response:
    """Make another secret and show it once. Each call makes one; those of the last day sign as well."""
    return Response(to_json(await of(request).webhooks.rotate(who.authorization, webhook_id)), 201, media_type=JSON)


@router.get(
    "/{webhook_id}/attempts",
    summary="Read the delivery log",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("The last attempts", JSON, "WebhookAttempts")}, "events_unavailable"),
)
async def attempts(request: Request, who: Reads, webhook_id: str) -> Response:
    """Return the last hundred attempts: when, which message, what was answered."""
    found = await of(request).webhooks.attempts(who.authorization, who.caller.tenant, webhook_id)
    return Response(to_json(found), media_type=JSON)


@router.get(
    "/{webhook_id}/dead-letters",
    summary="List dead letters",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("What was given up", JSON, "WebhookDeadLetters")}, "events_unavailable"),
)
async def letters(request: Request, who: Reads, webhook_id: str) -> Response:
    """Return the messages that were given up after three days."""
    found = await of(request).webhooks.letters(who.authorization, who.caller.tenant, webhook_id)
    return Response(to_json(found), media_type=JSON)


@router.post(
    "/{webhook_id}/dead-letters/replay",
    summary="Replay dead letters",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("They are due now", JSON, "WebhookReplay")}, "events_unavailable"),
)
async def replay(request: Request, who: Writes, webhook_id: str) -> Response:
    """Deliver every dead letter again, before what waits, under the ids they had."""
    found = await of(request).webhooks.replay(who.authorization, who.caller.tenant, webhook_id)
    return Response(to_json(found), media_type=JSON)


@router.post(
    "/{webhook_id}/replay",
    summary="Replay events",
    dependencies=[NO_QUERY],
    openapi_extra=documented.body("WebhookRewind"),
    responses=documented.answers({200: ("They are due now", JSON, "WebhookReplay")}, *BODY, "events_unavailable"),
)
async def rewind(
    request: Request,
    who: Writes,
    webhook_id: str,
    wanted: Annotated[WebhookRewind, Depends(requests.body(WebhookRewind))],
) -> Response:
    """Deliver every event after one again, under the ids they had, also those from before the webhook was made."""
    found = await of(request).webhooks.rewind(who.authorization, who.caller.tenant, webhook_id, wanted.after)
    return Response(to_json(found), media_type=JSON)
