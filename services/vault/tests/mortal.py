"""A program that lives again and again: each line of JSON on its input forks a vault service that may have to die.

{"die_at": "bind.stored", "nth": 2} ends it, as a kill would, when it reaches that step for the second time; without
`die_at` it lives until it is killed. The answer is its process id. Settings come from the environment, as for
`python -m vault`. A death at a step is one line in the file named first.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import uvloop
from common import logs
from common.config import load
from vault.app import App
from vault.settings import VaultSettings

PR_SET_PDEATHSIG = 1


class DieAt:
    """End the process at the nth time that a step is reached."""

    def __init__(self, step: str, nth: int, deaths: Path) -> None:
        self._step, self._left, self._deaths = step, nth, deaths

    def reached(self, step: str) -> None:
        if step != self._step:
            return
        self._left -= 1
        if not self._left:
            with self._deaths.open("a") as told:
                told.write(step + "\n")
            os._exit(137)


def live(order: dict[str, Any], settings: VaultSettings, deaths: Path) -> None:
    """Serve until the end, whatever it is."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    steps = DieAt(order.get("die_at", ""), order.get("nth", 1), deaths)

    async def serve() -> None:
        await App(settings, steps=steps).serve(asyncio.Event())

    uvloop.run(serve())


def main() -> None:
    settings = load(VaultSettings, [])
    logs.configure("vault", settings.log_level)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead are not waited for
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                live(json.loads(line), settings, Path(sys.argv[1]))
            finally:  # whatever it was, this process never goes on in the loop of the first
                traceback.print_exc()
                os._exit(1)
        print(child, flush=True)


if __name__ == "__main__":
    main()
