"""Own the audit file: append-only JSON lines, each with the hash of the one before, on disk before anything is done.

Lines that wait together share one fsync. A line that cannot be written refuses the action. Never a secret, a passphrase
or a signature: callers pass names and digests only.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from common import context, logs
from common.clock import Clock, rfc3339, timestamp
from common.errors import StrongroomError, Unavailable

from vault.actor import Actor

T = TypeVar("T")
GENESIS: Final = "0" * 64
Fields = Mapping[str, str | int]
_Waiting = tuple[dict[str, Any], asyncio.Future[None]]


class AuditLog:
    """One chained file, held by one process. `start` first, `stop` last."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._file = -1
        self._size = 0
        self._sequence = 0
        self._previous = GENESIS
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Open the file and go on with its chain; a torn last line, which nobody was told of, is cut off.

        Raises OSError, BlockingIOError when another process holds the file, ChainBroken when its end is not ours.
        """
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        whole, torn = _ends(self._file)
        os.ftruncate(self._file, whole)
        self._size = whole
        last = _last_line(self._file, whole)
        if last:
            self._sequence, self._previous = _sequence(last), _hash(last)
        if torn:
            logs.get().warning("audit_torn_line_cut", count=torn)

    async def stop(self) -> None:
        """Write what waits, and close."""
        while self._writer and not self._writer.done():
            await asyncio.wait([self._writer])
        os.close(self._file)

    async def append(self, fields: Fields) -> None:
        """Write one line and return once it is on disk; raise Unavailable when it cannot be written."""
        await self._enqueue(fields)

    @contextlib.asynccontextmanager
    async def action(self, actor: Actor, name: str, binding: str, **facts: str | int) -> AsyncIterator[dict[str, Any]]:
        """Write the intent of an action, do the block, then its outcome with whatever the block added to the dict."""
        async with self.actions(actor, name, binding, [facts], _nothing()) as (told, _):
            yield told

    @contextlib.asynccontextmanager
    async def actions(
        self, actor: Actor, name: str, binding: str, each: Sequence[Fields], reads: Awaitable[T]
    ) -> AsyncIterator[tuple[dict[str, Any], T]]:
        """Do as `action` does for several actions that are one block, one line for `each`, all by one fsync.

        Meanwhile `reads` are awaited, which must change nothing; the block gets what they return.
        """
        about = [{**_about(actor, name, binding), **facts} for facts in each]
        written = [self._enqueue({**line, "phase": "intent"}) for line in about]
        both: list[Any] = await asyncio.gather(reads, *written, return_exceptions=True)
        found, *failures = both
        for failure in filter(None, failures):
            raise failure
        told: dict[str, Any] = {"outcome": "interrupted"}
        try:
            if isinstance(found, BaseException):
                raise found
            yield told, found
            told["outcome"] = "done"
        except StrongroomError as error:
            told["outcome"] = error.reason
            raise
        finally:
            for line in about:
                self._enqueue({**line, "phase": "outcome", **told}).add_done_callback(_logged)

    def _enqueue(self, fields: Fields) -> "asyncio.Future[None]":
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(({"time": rfc3339(timestamp(self._clock.unix())), **fields}, written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return written

    async def _write(self) -> None:
        """Write batch after batch until nobody waits; what comes meanwhile is in the next one."""
        while self._waiting:
            batch, self._waiting = self._waiting, []
            raw, sequence, previous = self._chained([fields for fields, _ in batch])
            failed = True
            try:
                failed = await asyncio.to_thread(self._append, raw)
                if not failed:
                    self._sequence, self._previous, self._size = sequence, previous, self._size + len(raw)
            finally:
                _tell([written for _, written in batch], failed=failed)

    def _chained(self, lines: list[dict[str, Any]]) -> tuple[bytes, int, str]:
        raw, sequence, previous = [], self._sequence, self._previous
        for fields in lines:
            sequence += 1
            line = _canonical({**fields, "sequence": sequence, "previous": previous})
            previous = _hash(line)
            raw.append(line + b"\n")
        return b"".join(raw), sequence, previous

    def _append(self, raw: bytes) -> bool:
        """Append and fsync; return True when that failed, with the file cut back to its last good line."""
        try:
            self._cut_back()  # removes what an earlier failure left
            if os.write(self._file, raw) != len(raw):
                raise OSError("short write")
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut_back()
            logs.get().error("audit_write_failed", error=type(error).__name__, code=error.errno or 0)
            return True
        return False

    def _cut_back(self) -> None:
        """Cut the file to its last good line; raise OSError when somebody has cut off more than that."""
        size = os.fstat(self._file).st_size
        if size < self._size:
            raise OSError("the file was cut")
        if size > self._size:
            os.ftruncate(self._file, self._size)


def _about(actor: Actor, name: str, binding: str) -> dict[str, str | int]:
    request = context.current.get()
    return {
        "action": name,
        "tenant": actor.tenant,
        "binding": binding,
        "service": actor.service,
        "subject": actor.subject,
        "client": actor.client,
        "request_id": request.request_id if request else "",
    }


async def _nothing() -> None:
    """Read nothing."""


class ChainBroken(Exception):
    """The audit file was changed; the text names the line."""


def check(path: Path) -> int:
    """Follow the chain of a file and return its number of lines; raise ChainBroken at the first that does not fit."""
    sequence, previous = 0, GENESIS
    for raw in path.read_bytes().splitlines():
        if _sequence(raw) != sequence + 1 or json.loads(raw).get("previous") != previous:
            raise ChainBroken(f"line {sequence + 1} does not follow from the one before")
        sequence, previous = sequence + 1, _hash(raw)
    return sequence


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _sequence(line: bytes) -> int:
    try:
        return int(json.loads(line)["sequence"])
    except (ValueError, KeyError, TypeError):
        raise ChainBroken("a line is not an audit record") from None


def _ends(file: int) -> tuple[int, int]:
    """Return how many bytes are whole lines, and how many belong to a torn last one."""
    size = os.fstat(file).st_size
    tail = os.pread(file, min(size, 1 << 20), max(0, size - (1 << 20)))
    torn = len(tail) - (tail.rfind(b"\n") + 1)
    return size - torn, torn


def _last_line(file: int, size: int) -> bytes:
    tail = os.pread(file, min(size, 1 << 20), max(0, size - (1 << 20)))
    return tail.rstrip(b"\n").rpartition(b"\n")[2]


def _tell(waiting: list["asyncio.Future[None]"], *, failed: bool) -> None:
    for written in waiting:
        if written.done():  # whoever waited is gone
            continue
        if failed:
            written.set_exception(Unavailable("audit_unavailable", "The audit log cannot be written.", retry_after=5))
        else:
            written.set_result(None)


def _logged(written: "asyncio.Future[None]") -> None:
    """Take note of an outcome that could not be written; the writer has logged why."""
    if not written.cancelled():
        written.exception()
