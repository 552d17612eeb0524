"""What a restart of Redis does to the connections that were made before it."""

import asyncio
from pathlib import Path

import pytest
import uvloop
from cli.valkey import Valkey
from common.redis import connect
from redis.exceptions import RedisError


async def test_connections_that_a_restart_closed_fail_nobody_after_it(tmp_path: Path) -> None:
    with Valkey(tmp_path, appendonly=False) as server:
        client = connect(server.url)
        try:
            assert all(await asyncio.gather(*(client.ping() for _ in range(5))))
            server.stop()
            server.start()
            await asyncio.sleep(0.01)  # both calls above blocked the loop, which has yet to read the ends
            assert all(await asyncio.gather(*(client.ping() for _ in range(5))))
        finally:
            await client.aclose()


def test_a_connection_that_ends_while_it_is_written_to_is_a_lost_server_and_no_bug(tmp_path: Path) -> None:
    """The processes run on uvloop, whose transports raise RuntimeError once they are closed."""

    async def write_late(url: str) -> None:
        client = connect(url)
        connection = await client.connection_pool.get_connection()
        assert connection._writer is not None
        connection._writer.transport.abort()
        await asyncio.sleep(0)
        with pytest.raises(RedisError):
            await connection.send_command("PING")
        await client.connection_pool.release(connection)
        assert await client.ping()
        await client.aclose()

    with Valkey(tmp_path, appendonly=False) as server:
        uvloop.run(write_late(server.url))
