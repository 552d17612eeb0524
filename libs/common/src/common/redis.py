"""Own how a process connects to Redis: bounded, and failing at once when the server is gone."""

from pathlib import Path

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.maint_notifications import MaintNotificationsConfig

from common.config import read_secret

CONNECTIONS = 200


def connect(url: str, password_file: Path | None = None) -> Redis:
    """Return a client that makes no connection yet and never retries by itself; its password is read from the file.

    redis-py by default retries a dead server for 3.5 s a command and raises when its pool is used up. With maintenance
    notifications, its default, redis-py 8.1.0 hands out connections that the server has closed (redis/redis-py#4252):
    each fails one caller after a restart of the server.
    """
    password = {"password": read_secret(password_file).reveal()} if password_file else {}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        **password,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return Redis.from_pool(pool)
