"""Own how a process starts and ends: closed to others, one event loop, one stop signal, a drain with a deadline."""

import asyncio
import ctypes
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import uvloop

from common import logs

# A process that is told to stop has ten seconds in all; calls under way get this long.
DRAIN_S: Final = 8.0
FILES: Final = 65_536
PR_SET_DUMPABLE: Final = 4  # of prctl(2)


def run(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run `main(stopping)` until it returns. SIGTERM and SIGINT set `stopping`; `main` then drains and returns."""

    _close_up()
    _open_files()

    async def supervised() -> None:
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        await main(stopping)

    uvloop.run(supervised())


def _close_up() -> None:
    """Leave no core file, and on Linux no memory that others of the same user may read: both hold secrets."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def _open_files() -> None:
    """Take as many files as the system gives: what is usual is too few for thousands of connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(hard, FILES), hard))


async def until(stopping: asyncio.Event, period: float, action: Callable[[], Awaitable[None]]) -> None:
    """Run `action` every `period` seconds until `stopping`; its errors are logged and do not end the loop."""
    while not stopping.is_set():
        try:
            await action()
        except Exception as error:  # noqa: BLE001  a periodic duty goes on whatever one round met
            logs.get().error("periodic_action_failed", error=type(error).__name__, where=logs.places(error))
        await pause(stopping, period)


async def pause(stopping: asyncio.Event, seconds: float) -> None:
    """Wait `seconds`, or less when `stopping` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return
