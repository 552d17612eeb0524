"""A client library in a process of its own: what is called there and what it answers are lines of JSON.

It knows nothing of the library; the program in that process does.
"""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from cli.processes import clean_environment


class Refused(Exception):
    """What the library raised: its class and text."""


class Library:
    """The program that drives a library; its methods are the library's."""

    def __init__(self, *command: str | Path, **settings: Any) -> None:
        # Not our environment: where it says that no bytecode is written, each client compiles all of ccxt anew.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean_environment()
        )
        self._send(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process, which must have lived until now."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self(name, *args, **kwargs)

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call the method `name`, which may have dots; return its result, or raise Refused."""
        self._send([name, args, kwargs])
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise Refused(f"{answer['error']}: {answer['text']}")
        return answer["result"]

    def _send(self, value: Any) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()
