"""Own `/v1/exchanges`: what a customer has to do at the exchange, and the addresses to allow there."""

from functools import cache
from importlib.resources import files

from common import strict_json
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway import documented, requests, schemas
from gateway.auth import session
from gateway.services import of

NO_QUERY = Depends(requests.only())

router = APIRouter(prefix="/v1/exchanges", tags=["exchanges"])


@cache
def _guide(addresses: tuple[str, ...]) -> str:
    written = strict_json.loads((files("gateway") / "data" / "bitget.json").read_bytes())
    return schemas.ExchangeGuide(**written, egress_addresses=list(addresses)).model_dump_json()


@router.get(
    "/bitget",
    summary="The guide to a key that works",
    dependencies=[Depends(session("bindings:read")), NO_QUERY],
    responses=documented.answers({200: ("The guide", "application/json", "ExchangeGuide")}),
)
async def bitget(request: Request) -> Response:
    """Return the steps, our addresses, recommended permissions, limits and common errors."""
    return Response(_guide(tuple(of(request).egress_addresses)), media_type="application/json")
