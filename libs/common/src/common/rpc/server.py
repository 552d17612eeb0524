"""Own the server's edge: who may call which method, deadlines, request context, and the mapping of errors.

A method that is missing from the caller table stops the server from starting. The text of an error outside the family
never leaves the process.
"""

import asyncio
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError
from prometheus_client import Counter, Histogram

from common import context, logs, metrics, tracing
from common.errors import Internal, InvalidArgument, PermissionDenied, StrongroomError
from common.rpc.client import MAX_MESSAGE
from common.rpc.errors import CODES, to_rpc
from common.rpc.tls import Identity

Callers = Mapping[str, frozenset[str]]
ServicerContext = grpc.aio.ServicerContext[Any, Any]
Register = Callable[[grpc.aio.Server], None]
Parse = Callable[[bytes], Any]

NAMESPACE: Final = "strongroom"
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
)

peer: ContextVar[str] = ContextVar("peer")
CALLS: Final = Counter("strongroom_rpc_server_calls", "Calls answered", ("method", "code"), registry=metrics.REGISTRY)
SECONDS: Final = Histogram(
    "strongroom_rpc_server_duration_seconds",
    "Time to the answer of a call that is no stream",
    ("method",),
    registry=metrics.REGISTRY,
    buckets=metrics.BUCKETS,
)
FINE: Final = "OK"
GONE: Final = "CANCELLED"
ENDS: Final = frozenset((FINE, GONE, *(code.name for code in CODES.values())))


def authorization(rpc: ServicerContext) -> str | None:
    """Return the `authorization` metadata of the call, if it was sent exactly once."""
    values = [value for key, value in rpc.invocation_metadata() or () if key == "authorization"]
    return values[0] if len(values) == 1 and isinstance(values[0], str) else None


class _Call:
    """How a call of one method goes: since when, and with which code it ends."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.code = GONE

    def ended(self, calls: metrics.Family[Counter], method: str) -> float:
        """Count it and return how many seconds it took."""
        calls.of(method, self.code).inc()
        return time.monotonic() - self.started


class Edge(grpc.aio.ServerInterceptor):
    """Admit, place in context, and translate errors for every method of a server."""

    def __init__(self, callers: Callers, trust_domain: str) -> None:
        self._callers = callers
        self._names = {method: _short(method) for method in callers}
        self._calls = metrics.Family(CALLS, (self._names.values(), ENDS), begun=False)
        for name in self._names.values():  # so that the first failure is an increase
            self._calls.of(name, to_rpc(Internal())[0].name)
        self._spiffe = re.compile(rf"spiffe://{re.escape(trust_domain)}/ns/{NAMESPACE}/sa/([a-z-]+)")

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler; unknown methods stay unknown."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        # The message comes as bytes: it is read once the caller is known, and a misfit is refused in our words.
        parse, codecs = handler.request_deserializer, (None, handler.response_serializer)
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, parse, handler.unary_unary), *codecs)
        if handler.unary_stream:
            read = partial(_message, parse)
            return grpc.unary_stream_rpc_method_handler(self._stream(method, read, handler.unary_stream), *codecs)
        if handler.stream_stream:
            read = partial(_messages, parse)
            return grpc.stream_stream_rpc_method_handler(self._stream(method, read, handler.stream_stream), *codecs)
        raise TypeError(f"{method} has a shape that the edge does not guard")

    def _unary(self, method: str, parse: Parse, behaviour: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
        name, seconds = self._names[method], SECONDS.labels(self._names[method])

        async def guarded(request: bytes, rpc: ServicerContext) -> Any:
            call = _Call()
            try:
                with _span(method, rpc) as span:
                    self._enter(method, rpc, span)
                    answer = await behaviour(_message(parse, request), rpc)
                call.code = FINE
                return answer
            except StrongroomError as error:
                await self._refuse(method, rpc, error, call)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError as error:
                if _asked_to_end():
                    raise
                await self._refuse(method, rpc, _unexpected(method, error), call)
            except Exception as error:  # noqa: BLE001  the last line of defence: nothing else may reach the caller
                await self._refuse(method, rpc, _unexpected(method, error), call)
            finally:
                seconds.observe(call.ended(self._calls, name))

        return guarded

    def _stream(
        self, method: str, read: Callable[[Any], Any], behaviour: Callable[..., AsyncGenerator[Any, None]]
    ) -> Callable[..., Any]:
        """Guard a streamed answer; `read` turns what came, one message or a stream of them, into what the method takes.

        A stream of requests needs a deadline like any call: who wants more time opens the next one.
        """

        async def guarded(request: Any, rpc: ServicerContext) -> AsyncIterator[Any]:
            call = _Call()
            try:
                with _span(method, rpc) as span:
                    self._enter(method, rpc, span)
                    async with aclosing(behaviour(read(request), rpc)) as items:
                        async for item in items:
                            yield item
                call.code = FINE
            except StrongroomError as error:
                await self._refuse(method, rpc, error, call)
            except grpc.aio.AbortError:
                raise
            except asyncio.CancelledError as error:
                if _asked_to_end():
                    raise
                await self._refuse(method, rpc, _unexpected(method, error), call)
            except Exception as error:  # noqa: BLE001  as above
                await self._refuse(method, rpc, _unexpected(method, error), call)
            finally:
                call.ended(self._calls, self._names[method])

        return guarded

    def _enter(self, method: str, rpc: ServicerContext, span: tracing.Span) -> None:
        """Find out who calls and whether they may."""
        name = self._peer(rpc)
        if name not in self._callers[method]:
            raise PermissionDenied("caller_not_allowed", "This workload may not call this method.")
        peer.set(name)
        span.set(peer=name)
        left = rpc.time_remaining()
        if left is None:
            raise InvalidArgument("deadline_required", "Set a deadline on the call.")
        context.deadline.set(time.monotonic() + left)

    def _peer(self, rpc: ServicerContext) -> str:
        for raw in rpc.auth_context().get("peer_spiffe_id", ()):
            match = self._spiffe.fullmatch(raw.decode("ascii", "replace") if isinstance(raw, bytes) else raw)
            if match:
                return match[1]
        return ""

    @staticmethod
    async def _refuse(method: str, rpc: ServicerContext, error: StrongroomError, call: _Call) -> None:
        elapsed = round((time.monotonic() - call.started) * 1000, 1)
        logs.get().info("rpc_refused", method=method, kind=error.kind, reason=error.reason, duration_ms=elapsed)
        code, text, trailing = to_rpc(error)
        call.code = code.name
        await rpc.abort(code, text, trailing)


def _short(method: str) -> str:
    """Return `Service/Method` of a full name: short names are unique among our services."""
    service, name = method.strip("/").split("/")
    return f"{service.rpartition('.')[2]}/{name}"


def _span(method: str, rpc: ServicerContext) -> tracing.Span:
    """Set the request context, and begin the span of the call."""
    metadata = {key: value for key, value in rpc.invocation_metadata() or () if isinstance(value, str)}
    request = context.accept(metadata.get("x-request-id"), metadata.get("traceparent"))
    return tracing.serving(request, method[1:], rpc=method[1:])


def _message(parse: Parse, raw: bytes) -> Any:
    try:
        return parse(raw)
    except DecodeError:
        raise InvalidArgument("malformed_message", "The message is not of this method's type.") from None


async def _messages(parse: Parse, raw: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for one in raw:
        yield _message(parse, one)


def _asked_to_end() -> bool:
    """Tell whether it is this call that was cancelled, and not something that it waited for.

    Callers take a cancelled call for one that never began (see `client._Tries`), so no other may look like it.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _unexpected(method: str, error: BaseException) -> Internal:
    logs.get().error("rpc_failed", method=method, error=type(error).__name__, where=logs.places(error))
    return Internal()


def build(
    address: str,
    identity: Identity,
    callers: Callers,
    trust_domain: str,
    services: Sequence[tuple[ServiceDescriptor, Register]],
) -> grpc.aio.Server:
    """Return a server listening on `address` (mTLS), not yet started; raise ValueError for a method without callers."""
    for descriptor, _ in services:
        for method in descriptor.methods:
            if f"/{descriptor.full_name}/{method.name}" not in callers:
                raise ValueError(f"nobody is named who may call {descriptor.full_name}/{method.name}")
    server = grpc.aio.server(interceptors=[Edge(callers, trust_domain)], options=OPTIONS)
    for _, register in services:
        register(server)
    server.add_secure_port(address, identity.server())
    return server
