"""Own the first comparison: from a bind request to its verdict, against the same writes and calls made bare."""

import time
from collections.abc import Sequence
from statistics import median

import aiohttp
from strongroom.types.v1.binding_pb2 import STATUS_PENDING

from tests.bench import figures
from tests.bench.accounts import Account
from tests.bench.client import Client
from tests.bench.figures import Row
from tests.bench.floor import Bare, Places, Script
from tests.bench.records import record, stored
from tests.bench.world import World

GOAL = 1.3


def places(world: World) -> Places:
    """Return what a bare client needs to know."""
    facts = world.facts
    return Places(facts["vault_addr"], facts["bitget_url"], str(world.login_key), world.tenant("bare")["id"])


def script(world: World, account: Account) -> Script:
    """Return what the exchange was just asked about this account: up to the account's own page one after the other."""
    told = world.control("GET", "/requests")["requests"]
    targets = [one["target"] for one in told if one["account"] == account.name]
    pages = [number for number, target in enumerate(targets) if target.partition("?")[0].endswith("/account/info")]
    if not pages:
        raise SystemExit("the exchange was not asked about the account")
    return Script(tuple(targets[: pages[-1] + 1]), tuple(targets[pages[-1] + 1 :]))


async def bind_to_verdict(world: World, owned: Sequence[Account], rounds: int, each: int) -> list[Row]:
    """Bind one at a time, ours and bare in turn, for each mode of account; needs 1 + 2 * rounds * each of each mode."""
    world.limits(enforced=False)
    world.workers(1)
    rows = []
    for mode in ("unified", "classic"):
        mine = [account for account in owned if account.mode == mode]
        rows.append(await _mode(world, mode, mine, rounds, each))
    return rows


async def _mode(world: World, mode: str, owned: list[Account], rounds: int, each: int) -> Row:
    now = time.time()
    ours, floor, slowest = [], [], []
    async with aiohttp.ClientSession() as session, Bare(places(world)) as bare:
        client = Client(session, world, "acme")
        await client.bind(owned[0])
        asked = script(world, owned[0])
        pending, judged = (stored(record(client.tenant, 0, now, status)) for status in (STATUS_PENDING, None))
        left = iter(owned[1:])
        for _ in range(rounds):
            mine, others = [], []
            for _ in range(each):  # taking turns, for how busy the machine is changes by the second
                account, started = next(left), time.perf_counter()
                bound = await client.bind(account)
                mine.append((time.perf_counter() - started) * 1000)
                if bound["status"] != "connected":
                    raise SystemExit(f"a good key became {bound['status']}")
                account, started = next(left), time.perf_counter()
                await bare.bind(account, asked, pending, judged)
                others.append((time.perf_counter() - started) * 1000)
            ours.append(median(mine))
            floor.append(median(others))
            slowest.append(max(mine))
    middle, text = figures.ratio(ours, floor)
    return Row(
        f"bind to verdict, {mode} ({asked.calls} exchange calls), median of {each}",
        figures.spread(ours, "ms"),
        figures.spread(floor, "ms"),
        f"{text}×; slowest {max(slowest):.0f} ms",
        f"≤ {GOAL}×",
        middle <= GOAL,
    )
