"""Own the public calls that are asked for others: market data alone, without a key, in a small share of the budget.

Whoever can reach the gateway can cause them, so they may never use up the address that trading needs.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from typing import Final
from urllib.parse import quote

from common import context as calls
from common import tracing
from common.errors import InvalidArgument, PolicyRefused, Throttled, Unavailable
from common.rpc.server import ServicerContext
from strongroom.types.v1.request_pb2 import QueryParameter, SignedRequest
from strongroom.verifier.v1.market_service_pb2 import AskRequest, AskResponse
from strongroom.verifier.v1.market_service_pb2_grpc import MarketServiceServicer

from verifier import measures
from verifier.bitget import passage, reply
from verifier.bitget.budget import Budget, Caller, TooLate
from verifier.bitget.wire import CHUNK, Lost, NotSent, Wire

CALLERS: Final = {"/strongroom.verifier.v1.MarketService/Ask": frozenset(("gateway",))}
# Everything below these is public at the exchange; nothing else is asked.
PLACES: Final = (
    "/api/v2/public/",
    "/api/v2/spot/public/",
    "/api/v2/spot/market/",
    "/api/v2/mix/market/",
    "/api/v2/margin/market/",
    "/api/v2/margin/currencies",
    "/api/v2/earn/loan/public/",
    "/api/v3/public/",
    "/api/v3/market/",
    "/api/v3/reality/market/",
)
PATH: Final = re.compile(r"/api/v[23](/[A-Za-z0-9-]{1,64}){1,6}")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
VALUE: Final = re.compile(r"[^\x00-\x1f\x7f]{0,512}")
PARAMETERS: Final = 32
# All of them together count as one tenant, and a process makes at most this part of the calls of an address.
EVERYBODY: Final = Caller("market", "market")
SHARE: Final = 1 / 10
LATEST_S: Final = 2.0
SECONDS: Final = 10.0
AT_ONCE: Final = 32


class MarketServicer(MarketServiceServicer):
    """Ask the exchange what everybody may know; `own` is this process's share, `shared` everybody's budget."""

    def __init__(self, wire: Wire, own: Budget, shared: Budget) -> None:
        self._wire = wire
        self._own = own
        self._shared = shared
        self._room = asyncio.Semaphore(AT_ONCE)

    async def Ask(self, request: AskRequest, context: ServicerContext) -> AsyncIterator[AskResponse]:  # noqa: ARG002  the shape of a method
        """Stream the answer to one public call."""
        asked = SignedRequest(method="GET", target=_target(request.path, request.query))
        if self._room.locked():
            raise _throttled(1.0)
        async with self._room:
            endpoint = f"GET {request.path}"
            await self._turn(endpoint)
            now = asyncio.get_running_loop().time
            started = now()
            span = tracing.span("exchange market", "client", apart=True)  # the last part of the path is the caller's
            try:
                async with self._wire.send(asked, _seconds()) as answer:
                    span.set(status=answer.status)
                    rest = passage.cleared(answer.content, ())
                    first, whole = await passage.beginning(rest)
                    remaining = dict(answer.headers).get(reply.REMAINING)
                    found = reply.read(endpoint, answer.status, first if whole else b"", remaining, ())
                    measures.exchange("market", now() - started, found.status, measures.code(found, whole=whole))
                    await self._told(found)
                    headers = passage.headers(answer.headers, ())
                    yield AskResponse(status=answer.status, headers=headers, body=first[:CHUNK])
                    for start in range(CHUNK, len(first), CHUNK):
                        yield AskResponse(body=first[start : start + CHUNK])
                    async for chunk in rest:
                        yield AskResponse(body=chunk)
            except (NotSent, Lost, passage.Unfit) as failure:
                span.fail(failure)
                measures.exchange("market", now() - started, 0, measures.UNREACHABLE)
                raise Unavailable("exchange_unavailable", "Bitget's answer did not come.", retry_after=2) from None
            finally:
                span.end()

    async def _turn(self, endpoint: str) -> None:
        try:
            await self._own.turn(EVERYBODY, endpoint)
            await self._shared.turn(EVERYBODY, endpoint)
        except TooLate as late:
            raise _throttled(late.wait_s) from None

    async def _told(self, found: reply.Reply) -> None:
        if found.throttled:
            await self._shared.refused(EVERYBODY, found.endpoint, address=found.address)
        else:
            await self._shared.answered(EVERYBODY, found.endpoint, found.remaining)


def _target(path: str, query: Iterable[QueryParameter]) -> str:
    """Return path and query as they go on the wire; raise PolicyRefused for what is not public, or has two readings."""
    public = any(path.startswith(place) if place.endswith("/") else path == place for place in PLACES)
    if not PATH.fullmatch(path) or not public:
        raise PolicyRefused("policy_refused", "Without a binding only public market data can be asked.", rule="public")
    pairs = [(one.name, one.value) for one in query]
    if len(pairs) > PARAMETERS or len({name for name, _ in pairs}) != len(pairs):
        raise InvalidArgument("query", f"Name each of at most {PARAMETERS} parameters once.", field="query")
    if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in pairs):
        raise InvalidArgument("query", "A parameter has characters that it cannot have.", field="query")
    text = "&".join(f"{name}={quote(value, safe='')}" for name, value in pairs)
    return f"{path}?{text}" if text else path


def _seconds() -> float:
    left = calls.remaining_s()
    return SECONDS if left is None else min(SECONDS, left)


def _throttled(seconds: float) -> Throttled:
    return Throttled(
        "market_budget_spent", "Too many public calls are made at the moment; nothing was sent.", retry_after=seconds
    )
