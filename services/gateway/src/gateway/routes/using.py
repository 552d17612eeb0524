"""Own the use of a key over REST: `/requests`, and `/proxy/…` as a base URL for clients of the exchange as they are."""

import json
from typing import Annotated

from common.errors import PolicyRefused, Unauthenticated
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response
from strongroom.types.v1.request_pb2 import ExchangeRequest

from gateway import auth, documented, market, requests, schemas, using
from gateway.auth import Session, session
from gateway.services import of
from gateway.signing_client import Reply

EXECUTE = "requests:execute"
JSON = "application/json"
PROBLEMS = (
    *("invalid_exchange_request", "malformed_json", "duplicate_key", "policy_refused"),
    *("binding_revoked", "binding_not_usable", "invalid_request"),
    *("exchange_budget_spent", "exchange_unavailable", "not_sent", "outcome_unknown"),
)
ANSWERS = documented.answers({200: ("The exchange's own status, body and headers", JSON, None)}, *PROBLEMS)
PROXY_ANSWERS = documented.answers(
    {200: ("The exchange's own status, body and headers", JSON, None)}, *PROBLEMS, "market_budget_spent"
)

router = APIRouter(prefix="/v1/bindings/{binding_id}", tags=["using a key"])


@router.post(
    "/requests",
    summary="Execute a request",
    dependencies=[Depends(requests.only())],
    openapi_extra=documented.body("ExecuteRequest"),
    responses={**ANSWERS, **documented.answers({}, *PROBLEMS, "unsupported_media_type")},
)
async def execute(
    request: Request,
    who: Annotated[Session, Depends(session(EXECUTE))],
    binding_id: str,
    wanted: Annotated[schemas.ExecuteRequest, Depends(requests.body(schemas.ExecuteRequest))],
) -> Response:
    """Sign a request with the binding's key, send it and return the exchange's answer."""
    given = "body" in wanted.model_fields_set
    content = json.dumps(wanted.body, ensure_ascii=False, separators=(",", ":")).encode() if given else b""
    made = using.request_of(wanted.method, wanted.path, wanted.query, content)
    key = using.idempotency_key(request.headers.get("idempotency-key"))
    return using.answer(await of(request).signing.execute(who.authorization, binding_id, made, key))


@router.get(
    "/proxy/{path:path}",
    summary="Read through a drop-in base URL",
    openapi_extra=documented.opened_by(EXECUTE, also_without=True),
    responses=PROXY_ANSWERS,
)
async def read(request: Request, binding_id: str) -> Response:
    """Ask the exchange as its own client does. Public market data needs no token."""
    return await _proxied(request, binding_id)


@router.post(
    "/proxy/{path:path}",
    summary="Trade through a drop-in base URL",
    openapi_extra=documented.opened_by(EXECUTE),
    responses=PROXY_ANSWERS,
)
async def trade(request: Request, binding_id: str) -> Response:
    """Ask the exchange as its own client does."""
    return await _proxied(request, binding_id)


async def _proxied(request: Request, binding_id: str) -> Response:
    """Who, then what, then once to the exchange."""
    value = auth.of_an_exchange_client(request)
    if value is None and request.method == "GET":
        await market.admit(request)
    else:
        await auth.admit(request, EXECUTE, value)
    path, query = using.path_of(request.scope["raw_path"]), using.query_of(request.scope["query_string"])
    content = await request.body()
    made = using.request_of(request.method, path, query, content)
    using.check_json(content)
    if value is None:
        return using.answer(await _public(request, made))
    key = using.idempotency_key(request.headers.get("idempotency-key"))
    return using.answer(await of(request).signing.execute(value, binding_id, made, key))


async def _public(request: Request, wanted: ExchangeRequest) -> Reply:
    """Return what anybody may know; raise Unauthenticated for anything else: with a token it may be allowed."""
    try:
        return await of(request).signing.ask(wanted)
    except PolicyRefused:
        raise Unauthenticated("unauthenticated", "Without an access token only market data is answered.") from None
