"""Own the process that delivers webhooks, `python -m gateway deliver`: connections in, one loop, everything closed.

It has no REST, no tenant's token and no secret: the vault service signs each delivery.
"""

import asyncio
import secrets
from random import SystemRandom
from typing import Final

import grpc
from common import logs, redis
from common.clock import SystemClock
from common.errors import StrongroomError
from common.lifecycle import pause, until
from common.rpc import client
from common.rpc.health import Health
from common.rpc.tls import Identity
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway.delivery import Deliveries
from gateway.delivery_client import DeliveryClient
from gateway.posting import Poster
from gateway.settings import DelivererSettings

ROUND_S: Final = 1.0
AGAIN_S: Final = 2.0
READY_S: Final = 1.0
READY_TIMEOUT_S: Final = 2.0


async def run(settings: DelivererSettings, stopping: asyncio.Event) -> None:
    """Deliver until `stopping`; raises OSError when a file cannot be read or the health port is taken."""
    store = redis.connect(settings.redis_url, settings.redis_password_file)
    channel = client.channel(settings.vault_target, "vault", Identity.of(settings))
    health = Health(settings.health_address)
    deliveries = Deliveries(
        store,
        DeliveryClient(channel),
        Poster(loopback=settings.webhooks_loopback),
        clock=SystemClock(),
        jitter=SystemRandom().uniform,
        owner=secrets.token_hex(8),
    )

    async def once() -> None:
        try:
            await deliveries.round()
        except (StrongroomError, RedisError, OSError) as error:
            logs.get().warning("deliveries_put_off", error=type(error).__name__)
            await pause(stopping, AGAIN_S)

    await health.start()
    watch = asyncio.create_task(until(stopping, READY_S, lambda: _set_ready(health, store, channel)))
    logs.get().info("delivering")
    try:
        await until(stopping, ROUND_S, once)
    finally:
        await health.ready(False)
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await deliveries.close()
        await channel.close()
        await store.aclose()
        await health.stop()
    logs.get().info("stopped")


async def _set_ready(health: Health, store: Redis, channel: grpc.aio.Channel) -> None:
    """Be ready while Redis and the vault service answer; liveness does not depend on either."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await asyncio.gather(store.ping(), channel.channel_ready())
    except (RedisError, OSError, TimeoutError):
        await health.ready(False)
    else:
        await health.ready(True)
