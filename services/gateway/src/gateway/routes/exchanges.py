"""Own `/v1/exchanges`: what a customer has to do at the exchange, the addresses to allow there, the wrapping key."""

from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from common import strict_json
from common.errors import DeadlineExceeded, Unavailable
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests, schemas
from gateway.auth import Session, session
from gateway.services import Services, of
from gateway.wrapped import WrappingKey

Reads = Annotated[Session, Depends(session("bindings:read"))]
NO_QUERY = Depends(requests.only())

router = APIRouter(prefix="/v1/exchanges", tags=["exchanges"])


@cache
def _written() -> dict[str, Any]:
    written: dict[str, Any] = strict_json.loads((files("gateway") / "data" / "bitget.json").read_bytes())
    return written


async def _wrapping_key(services: Services, who: Session) -> WrappingKey | None:
    """Return the wrapping key, or None while it cannot be told: the rest of the guide helps without it."""
    try:
        return await services.vault.wrapping_key(who.authorization)
    except (Unavailable, DeadlineExceeded):
        return None


@router.get(
    "/bitget",
    summary="The guide to a key that works",
    dependencies=[NO_QUERY],
    responses=documented.answers({200: ("The guide", "application/json", "ExchangeGuide")}),
)
async def bitget(request: Request, who: Reads) -> Response:
    """Return the steps, our addresses, recommended permissions, limits, common errors and the wrapping key."""
    services = of(request)
    guide = schemas.ExchangeGuide(
        **_written(), egress_addresses=services.egress_addresses, wrapping_key=await _wrapping_key(services, who)
    )
    return Response(guide.model_dump_json(), media_type="application/json")
