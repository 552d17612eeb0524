"""What a restart of Redis does to the connections that were made before it."""

import asyncio
from pathlib import Path

from cli.valkey import Valkey
from common.redis import connect


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
