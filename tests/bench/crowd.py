"""Own the third measurement: very many bindings listed, rebuilt after losing Redis, and planned within the budget."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
from common.errors import Unavailable
from redis.asyncio import Redis
from vault.records import Record, Records
from verifier import jobs
from verifier.index import Index, index_key

from tests.bench import figures
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.records import PER_SUBJECT, binding_id, record, status_of
from tests.bench.world import World

AT_ONCE = 64
PAGE_GOAL_MS = 25.0
REBUILD_GOAL_MS = 1.0
REBUILD_LIMIT_S = 1800.0
PER_MINUTE = 5400
# Calls of one verification, by the parity of a record's number: unified and classic accounts.
CALLS = (3, 7)
SHARES = {"acme": 0.8, "globex": 0.2}


def shares(count: int) -> dict[str, int]:
    """Return how many of `count` bindings each tenant has."""
    first = round(count * SHARES["acme"])
    return {"acme": first, "globex": count - first}


async def seed(world: World, count: int) -> tuple[int, float]:
    """Write the records that are missing straight into OpenBao; return how many and in how many seconds."""
    world.workers(0)
    started, written = time.monotonic(), 0
    async with world.documents() as documents:
        for name, share in shares(count).items():
            tenant = world.tenant(name)["id"]
            known = set(await documents.names(tenant, "bindings"))
            missing = iter([number for number in range(share) if binding_id(tenant, number) not in known])
            writers = (_write(Records(documents), tenant, missing) for _ in range(AT_ONCE))
            written += sum(await asyncio.gather(*writers))
    return written, time.monotonic() - started


async def _write(records: Records, tenant: str, missing: Iterator[int]) -> int:
    """Write records as long as there are missing ones; return how many."""
    done, now = 0, time.time()
    for number in missing:
        await _saved(records, record(tenant, number, now))
        done += 1
    return done


async def _saved(records: Records, made: Record) -> None:
    """Write one record, and again where a busy OpenBao could not."""
    while True:
        with contextlib.suppress(Unavailable):
            await records.save(made, 0)
            return
        await asyncio.sleep(0.5)


async def rebuild(world: World, count: int) -> list[Row]:
    """Empty Redis, start a worker, and measure until everything public is back and planned.

    The records have no credentials, so no verification can succeed: the worker has one slot for trying.
    """
    redis = Redis.from_url(world.facts["redis_url"])
    world.workers(0)
    await redis.flushall()
    empty = await _memory(redis)
    begin, started = _log_size(world), time.monotonic()
    try:
        world.workers(1, {"SLOTS": "1"})
        await _complete(world, redis, count, started)
        took = time.monotonic() - started
        world.workers(0)
        planned = await _planned(world, redis, count, took)
        used = await _memory(redis) - empty
    finally:
        await redis.aclose()
    each = took * 1000 / count
    bindings, calls = planned
    minute, most = max(calls.items(), key=lambda item: item[1])
    return [
        Row(
            f"rebuild of {count:,} bindings after FLUSHALL, by a worker that starts",
            f"{took:.1f} s",
            "",
            f"{each:.2f} ms a binding{_reconciled(world, begin)}",
            f"≤ {REBUILD_GOAL_MS:.0f} ms a binding",
            each <= REBUILD_GOAL_MS,
        ),
        Row(
            "their verifications, planned",
            f"{bindings:,}, over {max(calls) + 1:,} minutes; {most:,} calls in the busiest (number {minute})",
            "",
            "",
            f"all; ≤ {PER_MINUTE:,} calls a minute",
            bindings >= count and most <= PER_MINUTE,
        ),
        Row(
            "memory of Redis for them", f"{used / 1e6:,.0f} MB", "", f"{used / 1e3 / count:.2f} kB a binding", "", None
        ),
    ]


async def _memory(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


async def pages(world: World, count: int, reads: int) -> list[Row]:
    """Read pages of 100 one after the other: all, by status, by subject."""
    world.workers(0)
    share = shares(count)["acme"]
    limited = sum(status_of(number) != status_of(0) for number in range(share))
    kinds: dict[str, list[dict[str, str]]] = {
        "page of 100": [{}] * reads,
        "page of 100, status limited": [{"status": "limited"}] * reads,
        "page by subject": [{"subject": f"customer-{number % (share // PER_SUBJECT)}"} for number in range(reads)],
    }
    rows = []
    async with aiohttp.ClientSession() as session:
        client = Client(session, world, "acme")
        for what, queries in kinds.items():
            times, items = await _paged(client, queries)
            middle, slow = figures.percentile(times, 0.5), figures.percentile(times, 0.99)
            told = f"p50 {middle:.1f} ms, p99 {slow:.1f} ms ({items} items in {len(times)} pages)"
            met = slow <= PAGE_GOAL_MS
            rows.append(Row(f"{what}, {share:,} of the tenant", told, "", "", f"p99 ≤ {PAGE_GOAL_MS:.0f} ms", met))
    assert limited or not share
    return rows


async def _paged(client: Client, queries: Sequence[dict[str, str]]) -> tuple[list[float], int]:
    """Read one page for each query, going on where the same query stopped; return milliseconds and how many items."""
    times: list[float] = []
    cursor, items = "", 0
    before: dict[str, str] | None = None
    for query in queries:
        where = {**query, "cursor": cursor} if cursor and query == before else query
        started = time.perf_counter()
        told = await client.page(limit="100", **where)
        times.append((time.perf_counter() - started) * 1000)
        items, cursor, before = items + len(told["items"]), told["next_cursor"] or "", query
    return times, items


async def _complete(world: World, redis: Redis, count: int, started: float) -> None:
    """Wait until each tenant's list is whole again."""
    wanted = {world.tenant(name)["id"]: share for name, share in shares(count).items()}
    while time.monotonic() < started + REBUILD_LIMIT_S:
        known = [await redis.zcard(index_key(tenant)) for tenant in wanted]
        whole = all([await Index(redis).is_whole(tenant) for tenant in wanted])
        if whole and all(one > share for one, share in zip(known, wanted.values(), strict=True)):
            return
        await asyncio.sleep(0.1)
    raise SystemExit(f"only {sum(known)} of {count} bindings were listed after {REBUILD_LIMIT_S:.0f} s")


async def _planned(world: World, redis: Redis, count: int, took: float) -> tuple[int, Counter[int]]:
    """Return how many bindings are planned, and the calls for each minute from now.

    What waits in the stream, or is due already, fell due during the `took` seconds of the rebuild: one minute's share
    of it counts as minute -1.
    """
    calls = {}
    for name, share in shares(count).items():
        tenant = world.tenant(name)["id"]
        for number in range(share):
            calls[f"{tenant}:{binding_id(tenant, number)}"] = CALLS[number % 2]
    waiting, due = await redis.xlen(jobs.BACKGROUND), await redis.zrange(jobs.DUE, 0, -1, withscores=True)
    now, planned = time.time(), Counter[int]({-1: waiting * max(CALLS)})
    moments: list[Any] = due
    for member, score in moments:
        planned[max(-1, int((score / 1000 - now) // 60))] += calls.get(member.decode(), max(CALLS))
    planned[-1] = round(planned[-1] / max(1.0, took / 60))
    return len(moments) + waiting, planned


def _log_size(world: World) -> int:
    file = world.stack.home / "logs" / "worker-1.log"
    return file.stat().st_size if file.exists() else 0


def _reconciled(world: World, begin: int) -> str:
    """Return what the worker itself said at the end of its rebuild."""
    with (world.stack.home / "logs" / "worker-1.log").open() as log:
        log.seek(begin)
        told = [json.loads(line) for line in log if '"reconciled"' in line]
    return f"; the worker counted {told[0].get('count')}" if told else ""
