"""What was to be published and met no Redis, or one that is gone, is told by a comparison with the records."""

from typing import Any

import pytest
from cli.valkey import Valkey
from common import redis as connections
from common.errors import Unavailable
from strongroom.types.v1 import binding_pb2 as types
from verifier.missed import WANTED, Missed

TENANT = "t" * 26


async def looked(redis: Any) -> Missed:
    """Return one that has asked for its first comparison, which was made."""
    missed = Missed(redis)
    await missed.look()
    assert await redis.delete(WANTED) == 1
    return missed


async def statuses(bench: Any) -> list[int]:
    return [event.status for event in await bench.events()]


async def test_a_publication_that_failed_is_told_by_the_next_round_and_the_next_ones_are_light_again(
    bench: Any,
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    reconciler = bench.reconciler()
    await reconciler.run()
    bench.vault.revoke(binding.id)
    missed = await looked(bench.redis)
    await missed.look()
    await reconciler.run()
    assert await statuses(bench) == [types.STATUS_CONNECTED]
    missed.note()
    await missed.look()
    await reconciler.run()
    assert await statuses(bench) == [types.STATUS_CONNECTED, types.STATUS_REVOKED]
    assert not await bench.redis.exists(WANTED)


async def test_a_comparison_stays_wanted_until_one_was_made_whole(bench: Any) -> None:
    bench.records(3)
    await Missed(bench.redis).look()
    small = bench.vault

    class Gone:
        names = small.names

        async def describe_many(self, tenant: str, bindings: Any) -> Any:
            raise Unavailable("vault_unavailable", "gone", retry_after=1)

    bench.vault = Gone()
    with pytest.raises(Unavailable):
        await bench.reconciler().run()
    assert await bench.redis.exists(WANTED)
    bench.vault = small
    await bench.reconciler().run()
    assert not await bench.redis.exists(WANTED)


async def test_one_that_is_wanted_while_another_is_made_is_made_too(bench: Any) -> None:
    bench.records(3)
    await Missed(bench.redis).look()
    small = bench.vault

    class Meanwhile:
        describe_many = small.describe_many

        async def names(self) -> Any:
            await Missed(bench.redis).look()
            async for chunk in small.names():
                yield chunk

    bench.vault = Meanwhile()
    await bench.reconciler().run()
    assert await bench.redis.exists(WANTED)


async def test_another_run_of_the_server_is_noticed_although_no_call_of_ours_met_its_absence(tmp_path: Any) -> None:
    with Valkey(tmp_path, appendonly=False) as server:
        redis = connections.connect(server.url)
        missed = await looked(redis)
        await missed.look()
        assert not await redis.exists(WANTED)
        server.stop()
        server.start()
        await missed.look()  # the connection of before is closed, and says no more than that
        await missed.look()
        assert await redis.exists(WANTED)
        await redis.aclose()


async def test_without_redis_nothing_is_raised_and_it_asks_once_redis_is_back(tmp_path: Any) -> None:
    with Valkey(tmp_path, appendonly=False) as server:
        redis = connections.connect(server.url)
        missed = await looked(redis)
        server.pause()
        server.kill()
        await missed.look()
        server.start()
        await missed.look()
        assert await redis.exists(WANTED)
        await redis.aclose()
