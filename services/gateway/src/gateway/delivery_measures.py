"""Own what is measured of webhooks: attempts of this process, and what waits and what is dead in Redis as a whole.

Each process that delivers tells the whole: alerts take the greatest.
"""

from collections.abc import Sequence
from typing import Any, Final

from common import metrics
from redis.asyncio import Redis

from gateway.delivery_client import Target
from gateway.delivery_state import keys_to_watch

ATTEMPTS: Final = metrics.counters(
    "strongroom_webhook_attempts", "Attempts to deliver a message", outcome=("delivered", "failed")
)
GIVEN_UP: Final = metrics.counter("strongroom_webhook_given_up", "Messages that became dead letters after three days")
ENDPOINTS: Final = metrics.gauge("strongroom_webhook_endpoints", "Endpoints of all tenants")
WAITING: Final = metrics.gauge("strongroom_webhook_waiting", "Bindings with a message to an endpoint that waits")
DUE: Final = metrics.gauge(
    "strongroom_webhook_overdue_seconds", "For how long the message that waits longest could have been sent by now"
)
DEAD: Final = metrics.gauge("strongroom_webhook_dead_letters", "Messages that are kept as dead letters")

LOOKED_AT: Final = metrics.gauge(
    "strongroom_webhook_looked_timestamp_seconds", "When this process last read from Redis what waits"
)


async def look(redis: Redis, targets: Sequence[Target], now_ms: int) -> None:
    """Read what waits at every endpoint by one question, and set the gauges; raises RedisError."""
    async with redis.pipeline(transaction=False) as batch:
        for target in targets:
            due, dead = keys_to_watch(target.tenant, target.id)
            batch.zcard(due)
            batch.zrange(due, 0, 0, withscores=True)
            batch.llen(dead)
        told: list[Any] = await batch.execute() if targets else []
    running = [place for place, target in enumerate(targets) if not target.paused]
    firsts = [told[3 * place + 1] for place in running]
    ENDPOINTS.set(len(targets))
    WAITING.set(sum(told[0::3]))
    DUE.set(max([0.0, *((now_ms - found[0][1]) / 1000 for found in firsts if found)]))
    DEAD.set(sum(told[2::3]))
    LOOKED_AT.set(now_ms / 1000)
