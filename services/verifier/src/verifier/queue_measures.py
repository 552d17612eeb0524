"""Own the reading of what Redis holds as a whole, for the measures: the queues and the budget. It changes nothing.

Workers read it, and each tells the same: alerts take the greatest. A key of another type than ours tells 0.
"""

from typing import Any, Final

from common import metrics
from common.clock import Clock
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError, ResponseError

from verifier.bitget.shared_budget import EGRESS, KEPT
from verifier.bitget.shared_budget import SHUT as SHUT_KEY
from verifier.jobs import ASKED, BACKGROUND, DUE, GROUP
from verifier.jobs import DEAD as DEAD_KEY

PERIOD_S: Final = 5.0
QUEUES: Final = {"asked": ASKED, "due": BACKGROUND}
SHUT: Final = metrics.gauge(
    "strongroom_budget_address_shut", "Whether calls rest because the exchange refuses our address"
)
AHEAD: Final = metrics.gauges(
    "strongroom_budget_ahead_seconds",
    "How far calls are ahead of the rate that the budget gives: all of the address, and the part kept for verification",
    part=("address", "kept"),
)
WAITING: Final = metrics.gauges("strongroom_jobs_waiting", "Jobs that no worker has taken yet", queue=("asked", "due"))
RUNNING: Final = metrics.gauges("strongroom_jobs_running", "Jobs that a worker has taken", queue=("asked", "due"))
OLDEST: Final = metrics.gauges(
    "strongroom_jobs_oldest_seconds", "Age of the oldest job that is waiting or running", queue=("asked", "due")
)
PLANNED: Final = metrics.gauge("strongroom_jobs_planned", "Verifications that are planned")
OVERDUE: Final = metrics.gauge("strongroom_jobs_overdue", "Planned verifications whose time has come")
DEAD: Final = metrics.gauge("strongroom_jobs_dead", "Jobs that were given up, of the last 30 days")
LOOKED_AT: Final = metrics.gauge(
    "strongroom_jobs_looked_timestamp_seconds", "When this worker last read from Redis what the queues hold"
)


async def look(redis: Redis, clock: Clock) -> None:
    """Read everything by one question and set the gauges; raises RedisError."""
    async with redis.pipeline(transaction=False) as batch:
        batch.time()
        batch.zcard(DUE)
        batch.zcount(DUE, "-inf", int(clock.unix() * 1000))
        batch.xlen(DEAD_KEY)
        batch.exists(SHUT_KEY)
        batch.get(EGRESS)
        batch.get(KEPT)
        for stream in QUEUES.values():
            batch.xlen(stream)
            batch.xpending(stream, GROUP)
            batch.xrange(stream, count=1)
        told: list[Any] = await batch.execute(raise_on_error=False)
    for refused in (one for one in told if isinstance(one, NoPermissionError)):
        raise refused  # 0 would be a lie
    (seconds, microseconds), planned, overdue, dead, shut, egress, kept, *queues = told
    now = seconds + microseconds / 1e6
    PLANNED.set(_number(planned))
    OVERDUE.set(_number(overdue))
    DEAD.set(_number(dead))
    SHUT.set(_number(shut))
    AHEAD.of("address").set(_ahead(egress, now))
    AHEAD.of("kept").set(_ahead(kept, now))
    for place, queue in enumerate(QUEUES):
        length, pending, first = queues[3 * place : 3 * place + 3]
        running = 0 if isinstance(pending, ResponseError) else int(pending["pending"])
        oldest = 0.0 if isinstance(first, ResponseError) or not first else now - _moment(first[0][0])
        WAITING.of(queue).set(max(0.0, _number(length) - running))
        RUNNING.of(queue).set(running)
        OLDEST.of(queue).set(max(0.0, oldest))
    LOOKED_AT.set(clock.unix())


def _number(answer: Any) -> float:
    return 0.0 if isinstance(answer, ResponseError) else float(answer)


def _moment(entry: bytes) -> float:
    return int(entry.partition(b"-")[0]) / 1000


def _ahead(answer: Any, now: float) -> float:
    """Return how many seconds ahead a bucket is, which is kept as the moment (µs) at which it is empty."""
    try:
        return max(0.0, int(answer) / 1e6 - now)
    except (TypeError, ValueError):
        return 0.0
