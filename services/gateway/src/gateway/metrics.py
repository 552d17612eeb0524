"""Own what is measured: requests by route template, method and status class. No label may name a tenant or an id."""

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

METHODS: Final = frozenset(["GET", "POST", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"])
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The process's measures in a registry of their own."""

    def __init__(self, open_streams: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("gateway_requests", "Requests answered", labels, registry=self._registry)
        self._seconds = Histogram(
            "gateway_request_duration_seconds",
            "Time to the end of the answer; event streams are left out",
            ("route", "method"),
            registry=self._registry,
            buckets=BUCKETS,
        )
        streams = Gauge("gateway_event_streams", "Event streams open now", registry=self._registry)
        streams.set_function(open_streams)

    def record(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in METHODS else "other"
        self._requests.labels(route, method, f"{status // 100}xx").inc()
        if not route.endswith("/events"):
            self._seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """Return the measures as Prometheus reads them."""
        return generate_latest(self._registry)
