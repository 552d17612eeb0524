"""Own the measurement of fairness: how long one tenant waits beside another that asks for fifty times its share.

Both have quotas; the other one's requests come from a process of its own. It asserts no time.
"""

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from cli.files import private_folder, write_private

from tests.bench import figures
from tests.bench.accounts import Account, accounts
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.world import ALPHABET, TENANTS, World, running

NOISY, QUIET = "acme", "globex"
SHARE_PER_MINUTE = 300  # the noisy tenant's quota
TIMES = 50
READS_PER_S, READS_PER_BIND = 20.0, 10
GOAL = 1.5


@dataclass
class Heard:
    """What the quiet tenant met in one round: milliseconds from when a call was due, and how many calls failed."""

    reads: list[float] = field(default_factory=list)
    binds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def tenants_file(home: Path) -> None:
    """Write the tenants, the noisy one with a small share."""
    made = []
    for name in TENANTS:
        quotas = {"quotas": {"requests_per_minute": SHARE_PER_MINUTE}} if name == NOISY else {}
        made.append({"id": "".join(secrets.choice(ALPHABET) for _ in range(26)), "name": name, **quotas})
    write_private(private_folder(home) / "tenants.json", json.dumps(made))


async def quiet(client: Client, owned: Sequence[Account], binding: str, seconds: float) -> Heard:
    """Read pages and one binding in turn, and bind with every tenth call, at a steady rate; none waits for another."""
    heard, started = Heard(), time.monotonic()
    left = iter(owned)

    async def one(number: int) -> None:
        due = started + number / READS_PER_S
        await asyncio.sleep(due - time.monotonic())
        bind = number % READS_PER_BIND == READS_PER_BIND - 1
        try:
            if bind:
                await client.bind(next(left), wait=0)
            else:
                await client.call("GET", "/bindings?limit=10" if number % 2 else f"/bindings/{binding}")
        except (aiohttp.ClientError, TimeoutError) as error:
            heard.errors.append(repr(error))
        (heard.binds if bind else heard.reads).append((time.monotonic() - due) * 1000)

    await asyncio.gather(*(one(number) for number in range(int(seconds * READS_PER_S))))
    return heard


async def beside(world: World, seconds: float, work: Any) -> tuple[Any, dict[str, Any]]:
    """Await `work` while the noisy tenant asks for fifty times its share; return both results."""
    told = {
        "url": world.facts["gateway_url"] + "/v1/bindings",
        "token": world.tenant(NOISY)["token"],
        "per_s": SHARE_PER_MINUTE / 60 * TIMES,
        "seconds": seconds + 2,
    }
    pipe = asyncio.subprocess.PIPE
    flood = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bench.flood", stdin=pipe, stdout=pipe)
    said = asyncio.create_task(flood.communicate(json.dumps(told).encode()))
    try:
        await asyncio.sleep(1.5)  # it has begun, and used up its burst soon
        done = await work
        return done, json.loads((await said)[0])
    finally:
        if flood.returncode is None:
            flood.kill()


@dataclass
class Round:
    """One round: the quiet tenant alone, then beside the noisy one, and what that one was answered."""

    alone: Heard
    together: Heard
    noisy: dict[str, Any]


async def rounds(world: World, owned: Sequence[Account], count: int, seconds: float) -> list[Round]:
    """Measure `count` rounds."""
    each = int(seconds * READS_PER_S / READS_PER_BIND)
    parts = iter([owned[1 + number * each : 1 + (number + 1) * each] for number in range(2 * count)])
    found = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        client = Client(session, world, QUIET)
        binding = (await client.bind(owned[0]))["id"]
        for _ in range(count):
            alone = await quiet(client, next(parts), binding, seconds)
            together, noisy = await beside(world, seconds, quiet(client, next(parts), binding, seconds))
            found.append(Round(alone, together, noisy))
    return found


def measure(home: Path, count: int, seconds: float) -> list[Round]:
    """Run a stack of its own and measure; from the main thread only."""
    tenants_file(home)
    owned = accounts(1 + 2 * count * int(seconds * READS_PER_S / READS_PER_BIND), "unified")
    with running(home, owned) as world:
        return uvloop.run(rounds(world, owned, count, seconds))


def rows(found: Sequence[Round]) -> list[Row]:
    """Return the table's lines."""
    noisy = found[-1].noisy
    answered = ", ".join(f"{count} × {status}" for status, count in sorted(noisy["answered"].items()))
    what = f"of the noisy tenant: {noisy['per_s']:.0f}/s, {TIMES} × its share"
    errors = sum(len(one.together.errors) for one in found)
    lines = [
        Row(what, answered, "", "", "429 beyond the share", "429" in noisy["answered"]),
        Row("errors of the quiet tenant beside it", str(errors), "", "", "0", errors == 0),
    ]
    for kind in ("reads", "binds"):
        times = [[getattr(side, kind) for side in (one.together, one.alone)] for one in found]
        for share in (0.5, 0.99):
            ours, floor = ([figures.percentile(each[side], share) for each in times] for side in (0, 1))
            middle, text = figures.ratio(ours, floor)
            goal = (f"≤ {GOAL}", middle <= GOAL) if share == 0.99 else ("", None)
            name = f"{kind} of the quiet tenant, p{share * 100:.0f}, beside it and alone"
            lines.append(Row(name, figures.spread(ours, "ms"), figures.spread(floor, "ms"), text, *goal))
    return lines
