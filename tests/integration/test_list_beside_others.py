"""A list beside five hundred bindings of another tenant: only our own, in pages that stay while things change."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
import redis
from verifier.index import WHOLE, index_key

from tests.bench import crowd
from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.records import binding_id
from tests.bench.world import World, running
from tests.integration.conftest import eventually

FOREIGN, OURS, LATER = "acme", "globex", 20
ALL = 625  # of which four fifths are the first tenant's
PAGE = "25"


async def walked(client: Client) -> list[str]:
    """Return the ids of one whole walk through the pages."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        told = await client.page(limit=PAGE, **({"cursor": cursor} if cursor else {}))
        found += [one["id"] for one in told["items"]]
        cursor = told["next_cursor"]
    return found


async def changed(client: Client, owned: list[Account], came: list[str]) -> None:
    """Bind one key after the other, and end each second binding at once."""
    for number, account in enumerate(owned):
        came.append((await client.bind(account, wait=0))["id"])
        if number % 2:
            with suppress(aiohttp.ContentTypeError):  # 204 has no content
                await client.call("DELETE", f"/bindings/{came[-1]}")


async def stable(world: World, owned: list[Account], before: set[str]) -> set[str]:
    """Walk while bindings come and end; see that each walk is right, and return all that there is at the end."""
    async with aiohttp.ClientSession() as session:
        client = Client(session, world, OURS)
        came: list[str] = []
        changes = asyncio.create_task(changed(client, owned, came))
        walks = [await walked(client)]
        while not changes.done():
            walks.append(await walked(client))
        await changes
        walks.append(await walked(client))
    for walk in walks:
        assert walk == sorted(set(walk)), "each once, in the order of the ids"
        assert before <= set(walk) <= before | set(came)
    assert set(walks[-1]) == before | set(came)
    assert len(walks) > 2, "pages were read while bindings came and ended"
    return before | set(came)


@pytest.mark.bar(8)
@pytest.mark.timeout(600)
def test_a_list_beside_five_hundred_foreign_bindings_has_only_our_own_and_its_pages_are_stable(tmp_path: Path) -> None:
    owned = accounts(2 * LATER, "unified")
    with running(tmp_path, owned) as world:
        asyncio.run(crowd.seed(world, ALL))
        shares = crowd.shares(ALL)
        assert shares[FOREIGN] == 500
        tenants = {name: world.tenant(name)["id"] for name in shares}
        mine = {binding_id(tenants[OURS], number) for number in range(shares[OURS])}
        world.workers(1, {"SLOTS": "1"})
        with redis.Redis.from_url(world.facts["redis_url"]) as server:
            for name, tenant in tenants.items():
                eventually(lambda t=tenant, n=name: server.zcard(index_key(t)) == shares[n] + 1, 60)
                eventually(lambda t=tenant: server.zscore(index_key(t), WHOLE) is not None, 60)
        mine = asyncio.run(stable(world, owned[:LATER], mine))
        world.child("verifier").stop()  # pages come from the records now
        asyncio.run(stable(world, owned[LATER:], mine))
