"""The drill of a rolling update: under the mixed load each process is replaced, one after the other, again and again.

As a cluster does it: the new process is started, gets what is asked as soon as it is ready, and the old one is told to
end then. Run it by `make drill-rolling`. Nothing may fail, no event be lost, nothing be signed late.
"""

import argparse
import asyncio
import contextlib
import copy
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from cli.processes import free_port

from tests.bench import mixed
from tests.bench.accounts import accounts
from tests.bench.balancer import Balancer
from tests.bench.world import World, running

SERVED: Final = ("vault", "verifier", "gateway")
UNSERVED: Final = ("worker", "deliverer")
GRACE_S: Final = 10.0
SETTLE_S: Final = 2.0
Json = dict[str, Any]
Say = Callable[[str], None]


class Rollout:
    """The processes of a stack, each behind a balancer if anybody calls it, and what became of each replacement."""

    def __init__(self, world: World, names: Sequence[str], say: Say) -> None:
        self._world = world
        self._say = say
        self._balancers: dict[str, Balancer] = {}
        self.took: dict[str, list[float]] = {name: [] for name in names}
        self.wrong: list[str] = []

    @contextlib.asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Put a balancer in front of each service, and the service behind it."""
        async with AsyncExitStack() as stack:
            for name in SERVED:
                old = self._world.child(name)
                address = old.environment["STRONGROOM_LISTEN"]
                await asyncio.to_thread(old.stop)
                fresh = await self._started(old)
                self._balancers[name] = await stack.enter_async_context(Balancer(address, _port(fresh)))
                self._put(old, fresh)
            await asyncio.to_thread(self._world.child("gateway").wait_ready)
            yield

    async def again_and_again(self) -> None:
        """Replace one process after the other for ever, each before the first comes again."""
        while True:
            for name in self.took:
                await self.replace(name)
                await asyncio.sleep(SETTLE_S)

    async def replace(self, name: str) -> None:
        """Start a new process, give it what is asked, end the old one and note how long that took."""
        old = self._world.child(name)
        fresh = leaving = await self._started(old)
        try:
            await asyncio.to_thread(fresh.wait_ready)
            if name in self._balancers:
                self._balancers[name].ports = [_port(fresh)]
            self._put(old, fresh)
            leaving, began = old, time.monotonic()
            old.ask_to_stop()
            while old.alive and time.monotonic() < began + GRACE_S:
                await asyncio.sleep(0.02)
        finally:
            leaving.kill()
        self.took[name].append(round(time.monotonic() - began, 2))
        if old.process.returncode:
            self.wrong.append(f"{name} ended with {old.process.returncode}")
        self._say(f"{name} was replaced; the old one ended in {self.took[name][-1]} s")

    async def _started(self, old: Any) -> Any:
        """Return another process like `old`, started, with addresses and a trail of its own."""
        fresh = copy.copy(old)
        fresh.process, fresh.health_address = None, f"127.0.0.1:{free_port()}"
        own = {"STRONGROOM_HEALTH_ADDRESS": fresh.health_address}
        if "STRONGROOM_LISTEN" in old.environment:
            own["STRONGROOM_LISTEN"] = f"127.0.0.1:{free_port()}"
        if "STRONGROOM_AUDIT_FOLDER" in old.environment:
            folder = self._world.stack.home / "audits" / fresh.health_address.rpartition(":")[2]
            folder.mkdir(parents=True, mode=0o700)
            own["STRONGROOM_AUDIT_FOLDER"] = str(folder)
        fresh.environment = {**old.environment, **own}
        fresh.spawn()
        return fresh

    def _put(self, old: Any, fresh: Any) -> None:
        children = self._world.stack.children
        children[children.index(old)] = fresh


def _port(child: Any) -> int:
    return int(child.environment["STRONGROOM_LISTEN"].rpartition(":")[2])


def drill(
    home: Path, *, minutes: float, lasting: int, hot: float, say: Say, names: Sequence[str] = (*SERVED, *UNSERVED)
) -> Json:
    """Run one drill with its state in `home` and return its summary; from the main thread only."""
    passing = accounts(lasting + int(minutes * 60 / mixed.BIND_EACH_S) + 1, "unified", "classic")
    first = [passing.pop(0) for _ in range(lasting)]

    async def run(made: mixed.Drill, rollout: Rollout) -> Json:
        rolling = asyncio.create_task(rollout.again_and_again())
        try:
            summary = await made.run(first, passing, minutes * 60, hot)
        finally:
            rolling.cancel()
            await asyncio.gather(rolling, return_exceptions=True)
        rules = {
            **summary["rules"],
            "each process was replaced": all(rollout.took.values()),
            "each ended by itself, in its time": not rollout.wrong,
        }
        del rules["no process of ours grew"]
        del summary["memory_mb: warm, at the end"]
        figures_s = {name: [len(each), max(each, default=0)] for name, each in rollout.took.items()}
        return {**summary, "passed": all(rules.values()), "rules": rules, "replaced: [times, slowest end s]": figures_s}

    async def whole(world: World) -> Json:
        rollout = Rollout(world, names, say)
        async with rollout.prepared():
            return await mixed.drilled(world, lambda made: run(made, rollout), say, memory=False)

    with running(home, [*first, *passing]) as world:
        return asyncio.run(whole(world))


def main(arguments: list[str]) -> int:
    """Run the drill of the command line; print its summary as JSON and return 0 if every rule was kept."""
    parser = argparse.ArgumentParser(prog="make drill-rolling", description="Every process replaced under load.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--lasting", type=int, default=16, help="bindings that trade all the time")
    parser.add_argument("--hot", type=float, default=2.0, help="orders a second of one account of each tenant")
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    with tempfile.TemporaryDirectory(prefix="strongroom-rolling-") as home:
        summary = drill(Path(home), **options, say=lambda line: print(line, flush=True))
    print(json.dumps(summary, indent=2), flush=True)
    return 0 if summary["passed"] else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
