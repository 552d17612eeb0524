"""Own what goes on after an answer: short tasks that nobody waits for, held until they end or the process does."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from common import logs

# What cannot be begun any more is left out: none of it is needed for anything to be right.
MOST: Final = 256


class Background:
    """The tasks of one process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do `work` beside everything else; its failure is logged by name alone."""
        if len(self._tasks) >= MOST:
            work.close()
            return
        task = asyncio.create_task(self._done(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: work.close())  # one that was given up before it began

    async def close(self) -> None:
        """Give up what is still under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @staticmethod
    async def _done(work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  nobody waits for it: it may only be told
            logs.get().warning("background_failed", error=type(error).__name__)
