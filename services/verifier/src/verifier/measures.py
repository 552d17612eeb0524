"""Own what the verifier's processes measure, and the closed sets of its labels. Never an id, a path or a text."""

from itertools import product
from typing import Final

from common import metrics
from strongroom.types.v1.binding_pb2 import Reason, Status, Verdict

from verifier.bitget import codes
from verifier.bitget.reply import Reply

UNREADABLE: Final = "unreadable"  # an answer without a code of the exchange
UNREACHABLE: Final = "unreachable"  # no answer, or one that may not be handed on
LONG: Final = "long"  # an answer so long that nobody looks for its code
CODES: Final = frozenset((codes.OK, UNREADABLE, UNREACHABLE, LONG, *codes.CODES))
CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "none")
LANES: Final = ("verify", "trade", "market")
CAUSES: Final = ("bind", "request", "retry", "schedule", "reconcile")
LAGS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


def word(value: str, prefix: str) -> str:
    """Return the name of an enum's value as the contract has it; `none` where there is none."""
    short = value.removeprefix(prefix).lower()
    return "none" if short == "unspecified" else short


VERDICTS: Final = metrics.counters(
    "strongroom_verdicts",
    "Verdicts that were published, by status and reason",
    begun=False,
    status=[word(one, "STATUS_") for one in Status.DESCRIPTOR.values_by_name],
    reason=[word(one, "REASON_") for one in Reason.DESCRIPTOR.values_by_name],
)
VERIFICATIONS: Final = metrics.counters(
    "strongroom_verifications",
    "Verifications, by how they ended",
    outcome=("verdict", "unconfirmed", "stale", "frozen", "put_off", "too_slow", "ended"),
)
EXCHANGE_CALLS: Final = metrics.counters(
    "strongroom_exchange_requests",
    "Calls to the exchange, by who wanted them, the exchange's own code and the class of the HTTP status",
    begun=False,
    lane=LANES,
    code=CODES,
    status=CLASSES,
)
for _values in product(LANES, [metrics.OTHER], CLASSES):  # so that the first unknown code is an increase
    EXCHANGE_CALLS.of(*_values)
EXCHANGE_SECONDS: Final = metrics.histograms(
    "strongroom_exchange_request_duration_seconds",
    "Time of a call to the exchange until its answer is read",
    lane=LANES,
)
BURIED: Final = metrics.counters(
    "strongroom_jobs_buried", "Jobs that this worker gave up", reason=("deliveries", "fields", "size", "ids", "values")
)
JOBS: Final = metrics.counters("strongroom_jobs_done", "Jobs that a worker finished, by their cause", cause=CAUSES)
FAILED: Final = metrics.counter("strongroom_jobs_failed", "Jobs that ended by a bug and come again")
EVENT_LAG: Final = metrics.histogram(
    "strongroom_event_lag_seconds", "Time from a change of the record to its event in Redis", LAGS
)
RECONCILED_AT: Final = metrics.gauges(
    "strongroom_reconcile_last_round_timestamp_seconds",
    "When a whole round over all bindings last ended in this worker: of names alone, or of every record",
    begun=False,
    kind=("names", "records"),
)
RECONCILED: Final = metrics.counters(
    "strongroom_reconcile_findings",
    "What rounds found amiss in Redis",
    finding=("restored", "planned", "forgotten"),
)


def verified(told: Verdict, outcome: str) -> None:
    """Count a verification that ended with a publication, and its verdict if it brought one."""
    VERIFICATIONS.of(outcome).inc()
    if outcome == "verdict":
        VERDICTS.of(word(Status.Name(told.status), "STATUS_"), word(Reason.Name(told.reason), "REASON_")).inc()


def reconciled(now: float, restored: int, planned: int, forgotten: int, *, full: bool) -> None:
    """Take note of a whole round that ended `now` (Unix seconds), and of what it found."""
    RECONCILED_AT.of("records" if full else "names").set(now)
    for finding, count in (("restored", restored), ("planned", planned), ("forgotten", forgotten)):
        RECONCILED.of(finding).inc(count)


def code(found: Reply, *, whole: bool) -> str:
    """Return the code to count an answer by; `whole` tells whether all of it was looked at."""
    return found.code or (UNREADABLE if whole else LONG)


def exchange(lane: str, seconds: float, status: int, code: str) -> None:
    """Count one call to the exchange; without an answer `status` is 0."""
    EXCHANGE_CALLS.of(lane, code, f"{status // 100}xx" if status else "none").inc()
    EXCHANGE_SECONDS.of(lane).observe(seconds)
