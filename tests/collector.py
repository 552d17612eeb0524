"""A collector of spans for tests: a real gRPC server that decodes OTLP and keeps what came."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status


@dataclass(frozen=True)
class Seen:
    """One span as it came; `kind` is such as `server`, `parent` empty for the root of a trace."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    words: str  # events, links and the text of the status: there must be none


class Collector(TraceServiceServicer):
    """Use as a context manager; `endpoint` is what a process is given."""

    def __init__(self, port: int = 0) -> None:
        self.raw: list[bytes] = []
        self._server = grpc.server(ThreadPoolExecutor(4))
        add_TraceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def Export(self, request: Any, context: Any) -> messages.ExportTraceServiceResponse:
        self.raw.append(request.SerializeToString())
        return messages.ExportTraceServiceResponse()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(0).wait()

    def spans(self) -> list[Seen]:
        """Return every span that has come so far."""
        found = []
        for raw in list(self.raw):
            for part in messages.ExportTraceServiceRequest.FromString(raw).resource_spans:
                service = _attributes(part.resource.attributes)["service.name"]
                found += [_seen(service, span) for scope in part.scope_spans for span in scope.spans]
        return found

    def trace(self, request_id: str) -> list[Seen]:
        """Return the spans of the trace whose root served the request with this id."""
        spans = self.spans()
        roots = [one.trace for one in spans if one.attributes.get("strongroom.request_id") == request_id]
        return [one for one in spans if one.trace in roots[:1]]


def whole(trace: list[Seen]) -> bool:
    """Tell whether a trace is one tree: one root, and every parent is there."""
    ids = {one.id for one in trace}
    return len([one for one in trace if one.parent not in ids]) == 1


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def _seen(service: str, span: Span) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        kind=Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        attributes=_attributes(span.attributes),
        failed=span.status.code == Status.STATUS_CODE_ERROR,
        words="".join(map(str, [*span.events, *span.links])) + span.status.message + span.trace_state,
    )
