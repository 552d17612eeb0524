"""Own what is measured: requests by route template, method and status class. No label may name a tenant or an id."""

from collections.abc import Callable
from typing import Final

from common import metrics
from prometheus_client import Counter, Histogram

METHODS: Final = frozenset(["GET", "POST", "DELETE", "PATCH", "PUT", "HEAD", "OPTIONS"])
BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

# Routes are templates of ours, or one word for whatever has none.
_requests: Final = Counter(
    "gateway_requests", "Requests answered", ("route", "method", "status"), registry=metrics.REGISTRY
)
_seconds: Final = Histogram(
    "gateway_request_duration_seconds",
    "Time to the end of the answer; event streams are left out",
    ("route", "method"),
    registry=metrics.REGISTRY,
    buckets=BUCKETS,
)
_streams: Final = metrics.gauge("gateway_event_streams", "Event streams open now")


class Metrics:
    """The process's measures of its requests."""

    def __init__(self, open_streams: Callable[[], float]) -> None:
        _streams.set_function(open_streams)

    def record(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        method = method if method in METHODS else metrics.OTHER
        _requests.labels(route, method, f"{status // 100}xx").inc()
        if not route.endswith("/events"):
            _seconds.labels(route, method).observe(seconds)

    def text(self) -> bytes:
        """Return every measure of the process as Prometheus reads them."""
        return metrics.page()
