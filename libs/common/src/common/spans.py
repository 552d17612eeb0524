"""Own the recording of spans and their way to a collector: OTLP over gRPC, in batches, from a thread of its own.

Loaded only where traces are on. A collector that is away costs spans and nothing else: no call waits for it, nothing is
sent twice, and it is told in one line when it goes and one when it is back.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from common import logs

EXPORT: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
EXPORT_S: Final = 5.0  # for one batch
FLUSH_S: Final = 0.5  # at the end of the process, for all that is left
EVERY_MS: Final = 1000
BATCH: Final = 512
QUEUE: Final = 8192  # more than a second of what a process can do; beyond it the oldest are dropped
KINDS: Final = {kind.name.lower(): kind for kind in SpanKind}
OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.service_config_disable_resolution", 1),
)


class Recording:
    """One span under way."""

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Span) -> None:
        self._span = span
        here = span.get_span_context()
        self.traceparent = f"00-{here.trace_id:032x}-{here.span_id:016x}-{here.trace_flags:02x}"

    def set(self, attributes: Mapping[str, str | int | float]) -> None:
        """Add attributes, which were looked through."""
        self._span.set_attributes(attributes)

    def rename(self, name: str) -> None:
        """Name it anew."""
        self._span.update_name(name)

    def fault(self) -> None:
        """Mark it as failed, without a word."""
        self._span.set_status(StatusCode.ERROR)

    def end(self) -> None:
        """Hand it over to be sent."""
        self._span.end()


class Recorder:
    """The spans of one process. `endpoint` is http://host:port, or https with the authority in `ca_file` or the usual.

    A trace that begins here is recorded with the probability `ratio`; one that a caller began, if the caller does.
    """

    def __init__(self, service: str, endpoint: str, ca_file: Path | None, ratio: float) -> None:
        # The library's own words about a collector that is away: ours are said once.
        logging.getLogger("opentelemetry").disabled = True
        logging.getLogger("opentelemetry").propagate = False
        self._exporter = Exporter(endpoint, ca_file)
        self._batches = BatchSpanProcessor(
            self._exporter,
            max_queue_size=QUEUE,
            schedule_delay_millis=EVERY_MS,
            max_export_batch_size=BATCH,
            export_timeout_millis=EXPORT_S * 1000,
        )
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource({"service.name": service, "service.namespace": "strongroom"}),
            shutdown_on_exit=False,
            span_limits=SpanLimits(max_span_attributes=32, max_events=0, max_links=0),
        )
        provider.add_span_processor(self._batches)
        self._tracer = provider.get_tracer("strongroom")

    def begin(self, name: str, kind: str, parent: str | None, attributes: Mapping[str, str | int | float]) -> Recording:
        """Begin a span under the `traceparent` of another, or a trace of its own."""
        above = set_span_in_context(NonRecordingSpan(_read(parent)), Context()) if parent else Context()
        return Recording(self._tracer.start_span(name, above, KINDS[kind], attributes))

    def close(self) -> int:
        """Send what is left, for a moment, and end; return how many were lost since the collector last took any."""
        self._exporter.hurry()
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        return self._exporter.lost


class Exporter(SpanExporter):
    """Hands batches to the collector, each once."""

    def __init__(self, endpoint: str, ca_file: Path | None) -> None:
        where = urlsplit(endpoint)
        if where.scheme == "https":
            trusted = grpc.ssl_channel_credentials(ca_file.read_bytes() if ca_file else None)
            self._channel = grpc.secure_channel(where.netloc, trusted, OPTIONS)
        else:
            self._channel = grpc.insecure_channel(where.netloc, OPTIONS)
        self._export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(EXPORT)  # bytes both ways
        self._under_way: grpc.Future[bytes] | None = None
        self._until = float("inf")
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send one batch and forget it."""
        left = min(EXPORT_S, self._until - time.monotonic())
        try:
            if left <= 0:
                raise TimeoutError
            self._under_way = self._export.future(encode_spans(spans).SerializeToString(), timeout=left)
            self._under_way.result()
        except (grpc.RpcError, grpc.FutureCancelledError, TimeoutError) as failure:
            if not self.lost:
                code = failure.code() if isinstance(failure, grpc.Call) else None
                logs.get().warning("spans_not_taken", reason=code.name.lower() if code else "timed_out")
            self.lost += len(spans)
            return SpanExportResult.FAILURE
        if self.lost:
            logs.get().info("spans_taken_again", count=self.lost)
            self.lost = 0
        return SpanExportResult.SUCCESS

    def hurry(self) -> None:
        """Take no more than a moment for all that is left."""
        self._until = time.monotonic() + FLUSH_S
        under_way = self._under_way
        if under_way is not None:
            try:
                under_way.exception(FLUSH_S)
            except grpc.FutureTimeoutError:
                under_way.cancel()
            except grpc.FutureCancelledError:
                pass

    def shutdown(self) -> None:
        """Close the connection."""
        self._channel.close()


def _read(traceparent: str) -> SpanContext:
    _, trace, span, flags = traceparent.split("-")
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
