"""Own what a caller may have signed by the vault service: its own token travels with every request.

It decides nothing: tenant, scope and policy are checked where the key is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from common import context
from common.rpc import client
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.signer_pb2 import (
    PURPOSE_EXECUTE,
    PURPOSE_SIGN,
    Purpose,
    SignRequest,
    SignResponse,
    SignWebSocketLoginRequest,
    SignWebSocketLoginResponse,
)
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

CALL_S: Final = 5.0
# The most that one Sign may ask for.
BATCH: Final = 8
EXECUTE: Final = PURPOSE_EXECUTE
SIGN: Final = PURPOSE_SIGN


@dataclass(frozen=True, slots=True)
class Wanted:
    """On whose authority, with which binding and for what something is to be signed."""

    authorization: str | None
    binding: str
    purpose: Purpose.ValueType


class CallersSigner:
    """The vault service's signer over gRPC, for callers."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._signer = SignerStub(channel)

    async def sign(self, wanted: Wanted, requests: Sequence[ExchangeRequest], clock_offset_ms: int) -> SignResponse:
        """Return 1 to 8 requests signed, all or none; raise what the vault service refused with."""
        message = SignRequest(
            binding_id=wanted.binding, requests=requests, purpose=wanted.purpose, clock_offset_ms=clock_offset_ms
        )
        answer: SignResponse = await client.call(
            self._signer.Sign, message, timeout_s=_seconds(), authorization=wanted.authorization
        )
        return answer

    async def login(self, wanted: Wanted, clock_offset_ms: int) -> SignWebSocketLoginResponse:
        """Return what logs a private WebSocket in; raise what the vault service refused with."""
        message = SignWebSocketLoginRequest(binding_id=wanted.binding, clock_offset_ms=clock_offset_ms)
        answer: SignWebSocketLoginResponse = await client.call(
            self._signer.SignWebSocketLogin, message, timeout_s=_seconds(), authorization=wanted.authorization
        )
        return answer


def _seconds() -> float:
    """Return how long to wait: never longer than the caller does."""
    left = context.remaining_s()
    return CALL_S if left is None else max(min(CALL_S, left), 0.001)
