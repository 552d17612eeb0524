"""Own the client's edge: a channel that knows whom it talks to, a deadline on every call, errors as our family."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import grpc

from common import context, tracing
from common.rpc.errors import from_rpc
from common.rpc.renewal import RenewingChannel
from common.rpc.tls import Files, Identity

MAX_MESSAGE: Final = 1 << 20
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
    # A name with several addresses is a service with several processes: calls go to those that answer, in turn.
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
)


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

    `wait` lets the call wait, within its deadline, for a server that is just starting.
    """
    with _span(method) as span:
        metadata = _metadata(authorization, span.traceparent)
        try:
            return await method(request, timeout=timeout_s, metadata=metadata, wait_for_ready=wait)
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None


async def stream(
    method: Callable[..., Any], request: Any, *, timeout_s: float, authorization: str | None = None
) -> AsyncIterator[Any]:
    """Make one call with a streamed answer; errors as in `call`."""
    with _span(method) as span:
        metadata = _metadata(authorization, span.traceparent)
        try:
            async for item in method(request, timeout=timeout_s, metadata=metadata):
                yield item
        except grpc.aio.AioRpcError as failure:
            raise from_rpc(failure) from None


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
