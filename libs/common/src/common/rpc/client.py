"""Own the client's edge: a channel that knows whom it talks to, a deadline on every call, errors as our family."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from common import context, tracing
from common.lifecycle import DRAIN_S
from common.rpc.errors import from_rpc
from common.rpc.renewal import RenewingChannel
from common.rpc.tls import Files, Identity

MAX_MESSAGE: Final = 1 << 20
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    # How long a connection may take until it is given up, on a busy machine too; the pauses between are the next two.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # No retry policy, so that a call which may have been done is never repeated. What certainly reached nobody, as the
    # other side was just ending, gRPC sends once more by itself.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    # A name with several addresses is a service with several processes: calls go to those that answer, in turn.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)

MOST: Final = 4


def channel(target: str, server: str, identity: Identity) -> grpc.aio.Channel:
    """Return a channel to the service named `server`, at one address or several; its certificate must carry that name.

    It shows the certificate that is in its files, also when they were replaced meanwhile; raises OSError for none.
    """
    options = [*OPTIONS, ("grpc.ssl_target_name_override", server)]
    return RenewingChannel(Files(identity), lambda pem: grpc.aio.secure_channel(target, pem.channel(), options=options))


async def call(
    method: Callable[..., Any], request: Any, *, timeout_s: float, authorization: str | None = None, wait: bool = False
) -> Any:
    """Make one unary call with `timeout_s` seconds; raise the family member that the other side raised.

    `wait` lets the call wait, within its deadline, for a server that is just starting. A call that came to a server as
    that began to end is made again: it was not let in there.
    """
    tries = _Tries(timeout_s)
    with _span(method) as span:
        metadata = _metadata(authorization, span.traceparent)
        while True:
            try:
                return await method(request, timeout=tries.left(), metadata=metadata, wait_for_ready=wait)
            except grpc.aio.AioRpcError as failure:
                tries.failed(failure)


async def stream(
    method: Callable[..., Any], request: Any, *, timeout_s: float, authorization: str | None = None
) -> AsyncIterator[Any]:
    """Make one call with a streamed answer; errors and repeats as in `call`."""
    tries, begun = _Tries(timeout_s), False
    with _span(method) as span:
        metadata = _metadata(authorization, span.traceparent)
        while True:
            try:
                async for item in method(request, timeout=tries.left(), metadata=metadata):
                    begun = True
                    yield item
                return
            except grpc.aio.AioRpcError as failure:
                tries.failed(failure, begun=begun)


class _Tries:
    """One call's deadline, and whether it may be made again: only when a server that was ending did not let it in.

    Such a server cancels what comes, and what it has begun not before DRAIN_S have passed; it answers this status for
    nothing else (see `server.Edge`). So a call that is younger than that, and was cancelled, has not begun.
    """

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s, self._made, self._began = timeout_s, 1, time.monotonic()

    def left(self) -> float:
        """Return the seconds that are left."""
        return self._timeout_s - (time.monotonic() - self._began)

    def failed(self, failure: grpc.aio.AioRpcError, *, begun: bool = False) -> None:
        """Return if the call may be made again, and raise the family member of its failure if not."""
        young = time.monotonic() - self._began < DRAIN_S
        turned_away = failure.code() is grpc.StatusCode.CANCELLED and young and not begun
        if not turned_away or self._made == MOST:
            raise from_rpc(failure) from None
        self._made += 1


def _span(method: Callable[..., Any]) -> tracing.Span:
    name = getattr(method, "path", "/unnamed")[1:]
    return tracing.span(name, "client", apart=True, rpc=name)


def _metadata(authorization: str | None, traceparent: str | None) -> tuple[tuple[str, str], ...]:
    request = context.current.get()
    pairs: list[tuple[str, str]] = []
    if request is not None:
        pairs += [("x-request-id", request.request_id), ("traceparent", traceparent or request.traceparent)]
    if authorization is not None:
        pairs.append(("authorization", authorization))
    return tuple(pairs)
