"""Own what a process measures: one registry, labels from closed sets, and the page that Prometheus reads.

A value that is not in its label's set is counted as `other`: nothing that a caller chose, no id and no secret can
become a label. docs/metrics.md lists every metric.
"""

from collections.abc import Collection
from itertools import product
from typing import Final, Generic, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

M = TypeVar("M", Counter, Gauge, Histogram)
OTHER: Final = "other"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
REGISTRY: Final = CollectorRegistry()
# Of calls inside: a signature takes 9 ms in the median, a bind 100 (docs/benchmarks.md); callers wait 30 s at most.
BUCKETS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

disable_created_metrics()  # type: ignore[no-untyped-call]  # else each series has a line more, which nobody reads
ProcessCollector(registry=REGISTRY)


class Family(Generic[M]):
    """A metric whose labels have closed sets; each child is made once."""

    def __init__(self, metric: M, sets: Collection[Collection[str]], *, begun: bool) -> None:
        self._metric: M = metric
        self._sets = tuple(frozenset(one) for one in sets)
        self._children: dict[tuple[str, ...], M] = {}
        if begun:
            for values in product(*sets):
                self.of(*values)

    def of(self, *values: str) -> M:
        """Return the child of these values, in the order of the labels; one that was not declared is `other`."""
        child = self._children.get(values)
        if child is None:
            closed = tuple(value if value in known else OTHER for value, known in zip(values, self._sets, strict=True))
            child = self._children.get(closed) or self._children.setdefault(closed, self._metric.labels(*closed))
        return child


def counter(name: str, text: str) -> Counter:
    """Return a new counter; its name on the page ends in `_total`."""
    return Counter(name, text, registry=REGISTRY)


def gauge(name: str, text: str) -> Gauge:
    """Return a new gauge."""
    return Gauge(name, text, registry=REGISTRY)


def histogram(name: str, text: str, buckets: Collection[float] = BUCKETS) -> Histogram:
    """Return a new histogram, in seconds."""
    return Histogram(name, text, registry=REGISTRY, buckets=tuple(buckets))


def counters(name: str, text: str, *, begun: bool = True, **labels: Collection[str]) -> Family[Counter]:
    """Return new counters, one for each combination of values; with `begun` all are told from the start, as 0."""
    return Family(Counter(name, text, tuple(labels), registry=REGISTRY), labels.values(), begun=begun)


def gauges(name: str, text: str, *, begun: bool = True, **labels: Collection[str]) -> Family[Gauge]:
    """Return new gauges; see `counters`."""
    return Family(Gauge(name, text, tuple(labels), registry=REGISTRY), labels.values(), begun=begun)


def histograms(
    name: str, text: str, buckets: Collection[float] = BUCKETS, **labels: Collection[str]
) -> Family[Histogram]:
    """Return new histograms, in seconds, each told from its first observation on."""
    metric = Histogram(name, text, tuple(labels), registry=REGISTRY, buckets=tuple(buckets))
    return Family(metric, labels.values(), begun=False)


def page() -> bytes:
    """Return every measure of this process as Prometheus reads them."""
    return generate_latest(REGISTRY)
