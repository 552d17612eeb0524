"""Own the assembly of the worker, and what both processes are connected to: clients in, one loop, everything closed."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from random import SystemRandom
from typing import Any, Final

import grpc
from common import logs, redis
from common.clock import Clock, SystemClock
from common.errors import StrongroomError
from common.lifecycle import pause, until
from common.rpc import client
from common.rpc.health import Health
from common.rpc.tls import Identity
from redis.asyncio import Redis
from redis.exceptions import RedisError

from verifier.bitget.client import BitgetClient, open_session
from verifier.bitget.reach import Reach
from verifier.bitget.shared_budget import SharedBudget
from verifier.jobs import Queue
from verifier.reconcile import Reconciler
from verifier.schedule import Schedule
from verifier.settings import VerifierSettings, WorkerSettings
from verifier.status import Status
from verifier.vault_client import VaultClient
from verifier.verify import Verification
from verifier.worker import Handler, Pool

READY_S: Final = 1.0
READY_TIMEOUT_S: Final = 2.0
RECONCILE_AGAIN_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Links:
    """What a process is connected to."""

    redis: Redis
    vault: grpc.aio.Channel
    identity: Identity


async def run_worker(settings: WorkerSettings, stopping: asyncio.Event) -> None:
    """Work off the queue, and keep Redis in line with Vault, until `stopping`."""
    logs.configure("worker", settings.log_level)
    clock = SystemClock()
    from verifier import queue_measures  # noqa: PLC0415  told by workers alone

    schedule = Schedule(settings.verify_seconds, SystemRandom().uniform)
    async with links_of(settings, stopping) as links, open_session() as session:
        vault, status = VaultClient(links.vault), Status(links.redis, clock)
        queue, lost = Queue(links.redis, consumer_name()), asyncio.Event()
        budget = SharedBudget(links.redis, clock, Reach(session, settings.bitget_url), settings.calls_per_minute)
        exchange = BitgetClient(session, settings.bitget_url, budget, clock)
        egress = tuple(str(address) for address in settings.egress_ips)
        verification = Verification(
            vault=vault, exchange=exchange, status=status, schedule=schedule, egress=egress, clock=clock
        )
        handler = Handler(queue, status, verification, schedule, clock)
        reconciler = Reconciler(
            redis=links.redis,
            vault=vault,
            status=status,
            queue=queue,
            schedule=schedule,
            interval_s=settings.verify_seconds,
            calls_per_minute=settings.calls_per_minute,
            clock=clock,
        )
        pool = Pool(
            queue=queue,
            handler=handler,
            lost=lost,
            slots=settings.slots,
            lease_s=settings.lease_seconds,
            schedule=schedule,
            clock=clock,
        )
        duty = asyncio.create_task(_reconcile(reconciler, lost, stopping, settings.reconcile_seconds))
        looking = asyncio.create_task(
            until(stopping, queue_measures.PERIOD_S, partial(_looked, queue_measures.look, links.redis, clock))
        )
        await pool.run(stopping)
        duty.cancel()
        looking.cancel()
        await asyncio.gather(duty, looking, return_exceptions=True)


async def _looked(look: Callable[[Redis, Clock], Awaitable[None]], store: Redis, clock: Clock) -> None:
    """Tell what the queues hold; what Redis does not answer stays as it was, and its time tells how old that is."""
    with suppress(RedisError, OSError):
        await look(store, clock)


async def _reconcile(reconciler: Reconciler, lost: asyncio.Event, stopping: asyncio.Event, period: float) -> None:
    """Reconcile at the start, every `period` seconds, and at once when Redis has lost its group."""

    async def once() -> None:
        emptied = lost.is_set()
        lost.clear()
        try:
            await reconciler.run(lost=emptied)
        except (StrongroomError, RedisError, OSError) as error:
            if emptied:
                lost.set()
            logs.get().warning("reconcile_put_off", error=type(error).__name__)
            await pause(stopping, RECONCILE_AGAIN_S)
        else:
            await pause(lost, period)

    await until(stopping, 0.1, once)


@asynccontextmanager
async def links_of(
    settings: VerifierSettings, stopping: asyncio.Event, *, of_redis: Sequence[str] = ()
) -> AsyncIterator[Links]:
    """Open the connections and the health port, watch them, and close everything at the end.

    `of_redis` are the services that need Redis; with none the whole process does.
    """
    identity = Identity.of(settings)
    store = redis.connect(settings.redis_url, settings.redis_password_file)
    channel = client.channel(settings.vault_target, "vault", identity)
    health = Health(settings.health_address)
    await health.start()
    watch = asyncio.create_task(_watch(stopping, health, store, channel, of_redis))
    try:
        yield Links(store, channel, identity)
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await channel.close()
        await store.aclose()
        await health.stop()


async def _watch(
    stopping: asyncio.Event, health: Health, store: Redis, channel: grpc.aio.Channel, of_redis: Sequence[str]
) -> None:
    """Be ready for what can be done until `stopping`, and for nothing from then on; liveness depends on no other."""

    async def look() -> None:
        vault, redis_there = await asyncio.gather(_answers(channel.channel_ready()), _answers(store.ping()))
        await health.ready(vault and (redis_there or bool(of_redis)))
        for service in of_redis:
            await health.ready(vault and redis_there, service)

    looking = asyncio.create_task(until(stopping, READY_S, look))
    await stopping.wait()
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    for service in ("", *of_redis):
        await health.ready(False, service)


async def _answers(asked: Awaitable[Any]) -> bool:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await asked
    except (RedisError, OSError, TimeoutError):
        return False
    return True


def consumer_name() -> str:
    """Return a name for this process among the queue's consumers."""
    return f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(4)}"
