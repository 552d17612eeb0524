"""A terminal of its own for one command: what it shows, what is typed, and how the command ends."""

import os
import pty
import select
import signal
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

CTRL_C = "\x03"
PATIENCE_S = 240.0  # a whole stack may start or end at it
AGAIN_S = 10.0


class Terminal:
    """A command whose standard input, output and errors are one terminal; ended at the latest with the context."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.shown = ""
        self._from = 0
        self._status: int | None = None
        self._child, self._terminal = pty.fork()
        if self._child == 0:
            os.execve(command[0], list(command), dict(environment))

    def __enter__(self) -> Self:
        """It runs already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the command if it still runs."""
        if self._status is None:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
        os.close(self._terminal)

    def expect(self, text: str) -> None:
        """Wait until `text` is shown, after what was awaited before; fail when the command ends without it."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.shown[self._from :]:
            assert time.monotonic() < deadline, self.shown
            assert self._read() or text in self.shown[self._from :], self.shown
        self._from = self.shown.index(text, self._from) + len(text)

    def type(self, text: str) -> None:
        """Type as a person does."""
        os.write(self._terminal, text.encode())

    def interrupt(self) -> int:
        """Press Ctrl-C, and again where nothing happens, as a person does; return the command's exit status.

        Python misses the signal that comes just before it begins to read a line.
        """
        return self._ended(CTRL_C)

    def end(self) -> int:
        """Wait for the command's end and return its exit status."""
        return self._ended("")

    def _ended(self, pressing: str) -> int:
        deadline, pressed = time.monotonic() + PATIENCE_S, float("-inf")
        while self._read():
            now = time.monotonic()
            assert now < deadline, self.shown
            if pressing and now > pressed + AGAIN_S:
                self.type(pressing)
                pressed = now
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._child, 0)[1])
        return self._status

    def _read(self) -> bool:
        """Take what is shown; tell whether there may be more."""
        if select.select([self._terminal], [], [], 0.1)[0]:
            try:
                self.shown += os.read(self._terminal, 4096).decode(errors="replace")
            except OSError:  # the other end is closed: it has ended
                return False
        return True
