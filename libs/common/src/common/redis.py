"""Own how a process connects to Redis: bounded, and failing at once when the server is gone."""

from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Gone
from redis.maint_notifications import MaintNotificationsConfig

from common.config import read_secret

CONNECTIONS = 200


class _Ending(Connection):
    """A connection that ends as connections do.

    Where the server closed it in the moment of writing, uvloop raises RuntimeError: which nobody takes for an end.
    """

    async def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Write a command; raise redis's ConnectionError for a connection that is closed."""
        try:
            await super().send_packed_command(*args, **options)
        except RuntimeError:
            raise Gone("The connection was closed.") from None


class _EndingTls(_Ending, SSLConnection):
    """The same over TLS."""


def connect(url: str, password_file: Path | None = None, connections: int = CONNECTIONS) -> Redis:
    """Return a client that makes no connection yet and never retries by itself; its password is read from the file.

    A call that finds all `connections` in use waits for one.

    redis-py by default retries a dead server for 3.5 s a command and raises when its pool is used up. With maintenance
    notifications, its default, redis-py 8.1.0 hands out connections that the server has closed (redis/redis-py#4252):
    each fails one caller after a restart of the server.
    """
    password = {"password": read_secret(password_file).reveal()} if password_file else {}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        **password,
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    pool.connection_class = _EndingTls if issubclass(pool.connection_class, SSLConnection) else _Ending
    return Redis.from_pool(pool)
