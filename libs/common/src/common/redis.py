"""Own how a process connects to Redis: bounded, and failing at once when the server is gone."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CONNECTIONS = 200


def connect(url: str) -> Redis:
    """Return a client that makes no connection yet and never retries by itself.

    redis-py by default retries a dead server for 3.5 s a command and raises when its pool is used up.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=5,
        socket_timeout=5,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
