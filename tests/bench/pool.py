"""Own the second comparison: verifications by N workers against N bare clients, with the limits off and on."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
from common.clock import SystemClock
from redis.asyncio import Redis
from verifier.jobs import Job, Queue
from verifier.status import Status

from tests.bench import figures, floor
from tests.bench.accounts import Account
from tests.bench.binds import places, script
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.floor import Bare, Script
from tests.bench.records import record, stored
from tests.bench.world import World

GOAL = 0.8
AT_ONCE = 16  # as many as a worker has slots
WARM_S = 2.0
POLL_S = 0.5
DRAIN_S = 60.0
NO_LIMIT = 1_000_000.0
# The bare clients know the exchange's limit and each other: together they keep to 99 % of it.
BARE_PER_MINUTE = 5940.0


@dataclass(frozen=True)
class Bound:
    """One account bound twice: through us, and bare."""

    account: Account
    ours: str
    bare: str
    script: Script


@dataclass(frozen=True)
class Counted:
    """What one run did; `over` counts the calls above a limit, in seconds however they are cut too."""

    per_s: float
    calls_per_minute: float
    refused: int
    over: int = 0


async def prepare(world: World, owned: Sequence[Account]) -> list[Bound]:
    """Bind every account both ways, and learn what a verification of each mode asks."""
    world.limits(enforced=False)
    world.workers(1, calls_per_minute=NO_LIMIT)
    judged = stored(record(world.tenant("bare")["id"], 0, time.time()))
    gate = asyncio.Semaphore(8)
    async with aiohttp.ClientSession() as session, Bare(places(world)) as bare:
        client = Client(session, world, "acme")

        async def both(account: Account) -> tuple[str, str]:
            async with gate:
                name = (await client.bind(account))["id"]
                return name, await bare.bind(account, None, judged, judged)

        names = await asyncio.gather(*(both(account) for account in owned))
        scripts = {}
        for account, (name, _) in zip(owned, names, strict=True):
            if account.mode not in scripts:
                world.limits(enforced=False)  # the log begins anew
                await client.call("POST", f"/bindings/{name}/verify", headers={"Prefer": "wait=30"})
                scripts[account.mode] = script(world, account)
    return [Bound(one, *two, scripts[one.mode]) for one, two in zip(owned, names, strict=True)]


async def by_processor(
    world: World, bound: Sequence[Bound], counts: Sequence[int], rounds: int, seconds: float
) -> list[Row]:
    """Compare without limits: what the processor allows."""
    rows = []
    for count in counts:
        ours, bare = [], []
        for _ in range(rounds):
            world.limits(enforced=False)
            world.workers(count, calls_per_minute=NO_LIMIT)
            ours.append((await _ours(world, bound, seconds)).per_s)
            world.workers(0)
            bare.append((await _bare(world, bound, count, seconds, 0)).per_s)
        middle, text = figures.ratio(ours, bare)
        rows.append(
            Row(
                f"verifications, {_workers(count)}, limits off",
                figures.spread(ours, "/s"),
                figures.spread(bare, "/s"),
                text,
                f"≥ {GOAL}",
                middle >= GOAL,
            )
        )
    return rows


async def by_limits(world: World, bound: Sequence[Bound], counts: Sequence[int], seconds: float) -> list[Row]:
    """Compare under the real limits: what the exchange allows."""
    rows = []
    for count in counts:
        world.limits(enforced=True)
        world.workers(count)
        ours = await _ours(world, bound, seconds)
        world.workers(0)
        world.limits(enforced=True)
        bare = await _bare(world, bound, count, min(seconds, 30), BARE_PER_MINUTE)
        reached = ours.per_s / bare.per_s
        what = f"verifications, {_workers(count)}, real limits"
        told = f"{reached:.2f} ({ours.calls_per_minute:,.0f} calls a minute)"
        rows.append(Row(what, f"{ours.per_s:.1f} /s", f"{bare.per_s:.1f} /s", told, f"≥ {GOAL}", reached >= GOAL))
        what = f"429, and calls above any limit, {_workers(count)}, {seconds:.0f} s"
        kept = ours.refused == ours.over == 0
        rows.append(Row(what, f"{ours.refused}, {ours.over}", f"{bare.refused}, {bare.over}", "", "0, 0", kept))
    return rows


async def _ours(world: World, bound: Sequence[Bound], seconds: float) -> Counted:
    """Keep every binding queued, again as soon as it is verified, and count the verdicts of `seconds`."""
    tenant, clock = world.tenant("acme")["id"], SystemClock()
    redis = Redis.from_url(world.facts["redis_url"])
    queue, status = Queue(redis, "bench"), Status(redis, clock)
    names, waiting = [one.ours for one in bound], dict[str, float]()
    done: list[float] = []
    started = clock.unix()
    world.control("DELETE", "/stats")
    try:
        while names or waiting:
            over = clock.unix() > started + WARM_S + seconds
            for name in () if over else names:
                waiting[name] = clock.unix()
                await queue.put(Job(tenant, name, "request"))
            await asyncio.sleep(POLL_S)
            names = await _verified(status, tenant, waiting, done)
            if clock.unix() > started + WARM_S + seconds + DRAIN_S:
                raise SystemExit(f"{len(waiting)} verifications did not end")
    finally:
        await redis.aclose()
    counted = [at for at in done if started + WARM_S <= at < started + WARM_S + seconds]
    return _counted(world, len(counted) / seconds, len(done))


def _counted(world: World, per_s: float, verified: int) -> Counted:
    """Return what was done with what the exchange counted meanwhile."""
    told = world.control("GET", "/stats")
    limits, calls = told["limits"], sum(told["codes"].values())
    over = limits["refused_by_endpoint"] + limits["refused_by_address"] + limits["over_in_a_sliding_second"]
    return Counted(per_s, calls / max(1, verified) * per_s * 60, told["codes"].get("429", 0), over)


async def _verified(status: Status, tenant: str, waiting: dict[str, float], done: list[float]) -> list[str]:
    """Move what has been verified since it was queued from `waiting` to `done`; return its names."""
    known = await status.read_many([(tenant, name) for name in waiting])
    ended = []
    for name, one in zip(list(waiting), known, strict=True):
        if one.observation is not None and one.started_ms >= int(waiting[name] * 1000):
            done.append(one.observation.last_verified_at.ToMilliseconds() / 1000)
            ended.append(name)
    for name in ended:
        del waiting[name]
    return ended


async def _bare(world: World, bound: Sequence[Bound], count: int, seconds: float, per_minute: float) -> Counted:
    tasks = [(one.account, one.bare, one.script) for one in bound]
    world.control("DELETE", "/stats")
    told = await floor.clients(count, places(world), tasks, seconds=seconds, at_once=AT_ONCE, per_minute=per_minute)
    per_s = sum(one["verifications"] / one["seconds"] for one in told)
    return _counted(world, per_s, int(sum(one["verifications"] for one in told)))


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"
