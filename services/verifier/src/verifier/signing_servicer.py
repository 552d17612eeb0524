"""Own the face for other services: use of a key by a caller whose own token says so.

The token goes on to the vault service, which checks it again and decides; here is no key and no policy.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

from common import ids
from common.errors import Throttled
from common.rpc.server import ServicerContext, authorization
from common.tokens import Caller, TokenVerifier
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceServicer
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import SignResponse

from verifier.bitget.clock import ExchangeClock
from verifier.callers_signer import SIGN, CallersSigner, Wanted
from verifier.execution import Execution
from verifier.sign_stream import SignStream

METHODS: Final = ("Execute", "Sign", "SignStream", "SignWebSocketLogin")
SERVICE: Final = "/strongroom.signing.v1.SigningService/"
CALLERS: Final = {SERVICE + method: frozenset(("gateway", "client")) for method in METHODS}
MAY_EXECUTE: Final = "requests:execute"
MAY_SIGN: Final = "requests:sign"
MAY_LOG_IN: Final = "requests:websocket"
# Streams of one tenant that a process keeps open; each has at most 64 requests in flight.
STREAMS: Final = 16


class SigningServicer(SigningServiceServicer):
    """Answer for the tenant of the caller's own token."""

    def __init__(self, tokens: TokenVerifier, signer: CallersSigner, execution: Execution, time: ExchangeClock) -> None:
        self._tokens = tokens
        self._signer = signer
        self._execution = execution
        self._time = time
        self._streams: dict[SignStream, str] = {}

    async def Execute(
        self, request: messages.ExecuteRequest, context: ServicerContext
    ) -> AsyncIterator[messages.ExecuteResponse]:
        """Have a request signed, send it and stream the exchange's answer back."""
        token, caller = self._caller(context, MAY_EXECUTE)
        async with aclosing(self._execution.run(token, caller, request)) as pieces:
            async for piece in pieces:
                yield piece

    async def Sign(self, request: messages.SignRequest, context: ServicerContext) -> messages.SignResponse:
        """Have one request signed for the caller to send."""
        token, _ = self._caller(context, MAY_SIGN)
        told = await self._sign(token, request.binding_id, [request.request])
        return messages.SignResponse(signed=told.signed[0], stamped_at_ms=told.stamped_at_ms)

    async def SignStream(
        self, requests: AsyncIterator[messages.SignStreamRequest], context: ServicerContext
    ) -> AsyncIterator[messages.SignStreamResponse]:
        """Have many requests signed; each is answered, in any order."""
        token, caller = self._caller(context, MAY_SIGN)
        if sum(tenant == caller.tenant for tenant in self._streams.values()) >= STREAMS:
            raise Throttled("too_many_streams", "This tenant has as many streams open as it may.", retry_after=5)

        async def sign(binding: str, batch: Sequence[ExchangeRequest]) -> SignResponse:
            return await self._sign(token, binding, batch)

        stream = SignStream(sign)
        self._streams[stream] = caller.tenant
        try:
            async with aclosing(stream.run(requests)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            del self._streams[stream]

    def release(self) -> None:
        """End every stream after the answers to what was read of it."""
        for stream in self._streams:
            stream.stop()

    async def SignWebSocketLogin(
        self, request: messages.SignWebSocketLoginRequest, context: ServicerContext
    ) -> messages.SignWebSocketLoginResponse:
        """Have the login of a private WebSocket signed."""
        token, _ = self._caller(context, MAY_LOG_IN)
        wanted = Wanted(token, ids.binding_id(request.binding_id), SIGN)
        told = await self._signer.login(wanted, self._time.offset_ms)
        return messages.SignWebSocketLoginResponse(login=told.login)

    async def _sign(self, token: str | None, binding: str, batch: Sequence[ExchangeRequest]) -> SignResponse:
        return await self._signer.sign(Wanted(token, ids.binding_id(binding), SIGN), batch, self._time.offset_ms)

    def _caller(self, context: ServicerContext, scope: str) -> tuple[str | None, Caller]:
        token = authorization(context)
        caller = self._tokens.verify(token)
        caller.require(scope)
        return token, caller
