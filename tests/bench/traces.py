"""What traces cost: the same calls at two stacks, one that sends spans to a collector and one that does not.

`python -m tests.bench.traces`. A third kind of call goes to the first stack and says that its trace is not recorded.
The rounds take turns, so that all meet the same machine, and each has a ratio to the one without traces. What a busy
machine distorts least is the processor's time that our processes use for a call.
"""

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack
from common import context
from common.rpc import client
from common.rpc.tls import Identity

from tests.collector import Collector
from tests.integration.conftest import TENANTS, Driver
from tests.integration.test_using_a_key import Service, asked

ROUNDS, AT_ONCE, SECONDS = 8, 16, 1.5
UNRECORDED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
READ = asked("GET", "/api/v3/account/assets")
Call = Callable[[], Awaitable[object]]


def used(driver: Driver) -> float:
    """Return the seconds of processor that the processes on the way of a signature have used so far."""
    ticks = 0
    for name in ("verifier", "vault"):
        fields = Path(f"/proc/{driver.child(name).pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def rate(driver: Driver, call: Call) -> tuple[float, float]:
    """Return how many calls a second end, with AT_ONCE under way, and the milliseconds of processor for each."""
    until, done, before = time.monotonic() + SECONDS, 0, used(driver)

    async def caller() -> None:
        nonlocal done
        while time.monotonic() < until:
            await call()
            done += 1

    began = time.monotonic()
    await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
    rest = time.monotonic() - began
    await asyncio.sleep(1.2)  # the last batch of spans is a part of the cost
    return done / rest, (used(driver) - before) / done * 1000


async def compare(drivers: dict[str, Driver]) -> None:
    """Measure signatures at each stack in turn, and print the ratio on : off."""
    async with AsyncExitStack() as stack:
        calls: dict[str, Call] = {}
        for name, driver in drivers.items():
            facts = driver.facts
            identity = Identity(*(Path(facts[part]) for part in ("client_cert_file", "client_key_file", "ca_file")))
            channel = await stack.enter_async_context(client.channel(facts["verifier_target"], "verifier", identity))
            service, bound = Service(driver, channel), driver.bind(driver.account()).json()["id"]
            calls[name] = lambda service=service, bound=bound: service.sign(bound, READ)
        calls["unrecorded"], drivers["unrecorded"] = calls["on"], drivers["on"]
        rates: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
        for turn in range(ROUNDS + 1):
            for name in list(calls) if turn % 2 else list(calls)[::-1]:
                context.current.set(context.accept(None, UNRECORDED) if name == "unrecorded" else None)
                rates[name].append(await rate(drivers[name], calls[name]))
        for kind in ("on", "unrecorded"):
            pairs = list(zip(rates[kind][1:], rates["off"][1:], strict=True))  # the first warms up
            for place, what in enumerate(("signatures a second", "ms of processor for each")):
                ratios = [on[place] / off[place] for on, off in pairs]
                each = [statistics.median(one[place] for one in rates[name][1:]) for name in (kind, "off")]
                print(f"{what}: {kind} {each[0]:.2f}, off {each[1]:.2f}, ", end="")
                print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    """Start both stacks and compare them."""
    with Collector() as collector, ExitStack() as running:
        drivers = {}
        for name, endpoint in (("off", None), ("on", collector.endpoint)):
            home = Path(running.enter_context(tempfile.TemporaryDirectory()))
            (home / "tenants.json").write_text(json.dumps(TENANTS))
            settings = LaunchSettings(home, free_port(), None, "127.0.0.1", otlp_endpoint=endpoint)
            drivers[name] = Driver(running.enter_context(Stack(settings, lambda _: None)))
            drivers[name].stack.start()
        asyncio.run(compare(drivers))
        print(f"spans received: {len(collector.spans())}")
        for name in ("off", "on"):
            for child in drivers[name].stack.children:
                if child.name in ("gateway", "vault", "verifier", "worker", "deliverer"):
                    status = Path(f"/proc/{child.pid}/status").read_text()
                    print(name, child.name, status.split("VmRSS:")[1].split("\n")[0].strip())


if __name__ == "__main__":
    main()
