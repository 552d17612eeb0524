"""One child process: started in a group of its own, logged to a file, waited for, stopped, and never left behind.

A child dies with the thread that started it (see `child`): start children from the main thread.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from random import SystemRandom
from types import TracebackType
from typing import Final, Self

from cli.files import private_folder

SHIM = Path(__file__).with_name("child.py")
POLL = 0.02
START_S = 120.0  # patience alone, for a machine that is busy: a program that ends is noticed at once
SERVERS_PORTS: Final = range(10_240, 32_768)  # the systems we run on give higher ones to connections
_random: Final = SystemRandom()
_reserved: Final = set[int]()


class LaunchError(Exception):
    """Something a person can act on; its text is the one line they see."""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nothing listens on, and that nobody else is told while this process lives.

    It is none of those that the system gives to connections: the place of a server that is being started again stays
    its own. A connection that we closed first stays in TIME_WAIT: another search then passes the port by, and a server
    that asks for it by its number (with SO_REUSEADDR, as servers do) gets it.
    """
    for port in _random.sample(SERVERS_PORTS, 200):
        if not _reserve(port) or not port_is_free(port, reuse=False):
            continue
        with socket.create_server(("127.0.0.1", port)) as probe, socket.create_connection(("127.0.0.1", port)) as ahead:
            probe.accept()[0].close()
            ahead.recv(1)
        return port
    raise LaunchError("no free TCP port was found on 127.0.0.1: stop what is not needed there")


def _reserve(port: int) -> bool:
    """Take a port among all processes of this user, until this one ends; return False for one that is taken."""
    if port in _reserved:
        return False
    with contextlib.suppress(LookupError):
        try:
            fcntl.lockf(_ledger(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
        except OSError:
            return False
    _reserved.add(port)
    return True


@cache
def _ledger() -> int:
    """Open the file of which a locked byte is a port that is taken; raise LookupError where that cannot be.

    Once for each process: closing any of its descriptors would free all its locks.
    """
    path = Path(tempfile.gettempdir()) / f"strongroom-ports-{os.getuid()}"
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        raise LookupError from None


def port_is_free(port: int, *, reuse: bool = True) -> bool:
    """Tell whether a server could listen on 127.0.0.1:`port` now; one that does not `reuse` wants it to be at rest."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(port: int) -> bool:
    """Tell whether something accepts connections on 127.0.0.1:`port`."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def clean_environment(**settings: str) -> dict[str, str]:
    """Return the environment of a child: what a program needs to run at all, and `settings`; nothing else leaks in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONUNBUFFERED": "1", **settings}


class Child:
    """A program under our control; a context manager that starts it and surely stops it."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self.command = list(command)
        self.environment = dict(environment)
        self.log_file = private_folder(logs) / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start, and leave nothing running when the start fails."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def pid(self) -> int:
        """The process id; raises LaunchError when nothing runs."""
        if self.process is None:
            raise LaunchError(f"{self.name} is not running")
        return self.process.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs (a paused one does)."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start the program and wait until it is ready; raises LaunchError with its last words."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the program without waiting for it."""
        if self.alive:
            raise LaunchError(f"{self.name} is running already")
        shim = [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), *self.command]
        descriptor = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self.process = subprocess.Popen(
                shim, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def ready(self) -> bool:
        """Tell whether the program serves; the plain child is ready once it runs."""
        return self.alive

    def wait_ready(self, seconds: float = START_S) -> None:
        """Wait until `ready`; raises LaunchError when the program ends first or takes longer."""
        self.wait_for(self.ready, seconds)

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> None:
        """Poll `condition` until it holds; raises LaunchError when the program ends first or takes longer."""
        deadline = time.monotonic() + seconds
        while True:
            if not self.alive:  # asked first: somebody else may answer on the port
                raise LaunchError(f"{self.name} ended at its start: {self.last_words()}")
            if condition():
                return
            if time.monotonic() > deadline:
                raise LaunchError(f"{self.name} was not ready in {seconds:.0f} s: {self.last_words()}")
            time.sleep(POLL)

    def last_words(self) -> str:
        """Return the last line of the log and where to read the rest."""
        lines = self.log_file.read_text(errors="replace").strip().splitlines() if self.log_file.exists() else []
        return f"{lines[-1] if lines else 'it said nothing'} (see {self.log_file})"

    def stop(self, grace: float = 12) -> None:
        """Ask the program to end, and end it after `grace` seconds; safe to repeat."""
        self.ask_to_stop()
        if self.process is not None:
            try:
                self.process.wait(grace)
            except subprocess.TimeoutExpired:
                self.kill()

    def ask_to_stop(self) -> None:
        """Send SIGTERM (and wake a paused program, which could not hear it)."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the program at once; safe to repeat."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait()

    def pause(self) -> None:
        """Freeze the program where it stands."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen program go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the whole group, which carries the id of our child; never one that has been reaped."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
