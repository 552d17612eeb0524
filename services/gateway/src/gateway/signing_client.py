"""Own the gateway's way to the exchange: requests for a caller with its own token, and public market data without any.

Holds no key and signs nothing. What comes back is handed on as it comes.
"""

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from common.errors import Internal
from common.rpc.client import stream
from strongroom.signing.v1.signing_service_pb2 import ExecuteRequest
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header
from strongroom.verifier.v1.market_service_pb2 import AskRequest
from strongroom.verifier.v1.market_service_pb2_grpc import MarketServiceStub

CALL_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Reply:
    """The exchange's answer: its head, the beginning of its body, and the rest as it arrives, None when it is whole."""

    status: int
    headers: list[tuple[str, str]]
    reason: str
    body: bytes
    rest: AsyncIterator[bytes] | None


class SigningClient:
    """Have requests executed for callers, and market data asked for anybody."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._execute = SigningServiceStub(channel).Execute
        self._ask = MarketServiceStub(channel).Ask

    async def execute(self, authorization: str, binding_id: str, request: ExchangeRequest, key: str) -> Reply:
        """Return the exchange's answer to `request`; `key` makes a repeat have one effect, empty for none."""
        wanted = ExecuteRequest(binding_id=binding_id, request=request, idempotency_key=key)
        pieces = stream(self._execute, wanted, timeout_s=CALL_S, authorization=authorization)
        first = await _first(pieces)
        return await _reply(first.head.status, first.head.headers, first.head.reason, first.body, pieces)

    async def ask(self, request: ExchangeRequest) -> Reply:
        """Return the exchange's answer to one public call."""
        wanted = AskRequest(path=request.path, query=request.query)
        pieces = stream(self._ask, wanted, timeout_s=CALL_S)
        first = await _first(pieces)
        return await _reply(first.status, first.headers, "", first.body, pieces)


async def _first(pieces: AsyncIterator[Any]) -> Any:
    async for piece in pieces:
        return piece
    raise Internal("empty_answer")


async def _reply(status: int, headers: Iterable[Header], reason: str, body: bytes, pieces: AsyncIterator[Any]) -> Reply:
    """Look one piece ahead: most answers are whole by then, and a failure can still be told as one."""
    following = await anext(pieces, None)
    rest = None if following is None else _bodies(following.body, pieces)
    return Reply(status, [(one.name, one.value) for one in headers], reason, body, rest)


async def _bodies(second: bytes, pieces: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    yield second
    async for piece in pieces:
        yield piece.body
