"""Own the audit folder of one process: the files of its chain, opened for appending alone, one after the other.

What is appended is on disk, or cut off again. No file is ever deleted here, and none but the newest is written to.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from secrets import token_hex
from typing import Final

from common import logs, trail
from common.trail import ChainBroken, Position, TrailFile

TAIL: Final = trail.LINE_LIMIT


class AuditFiles:
    """One folder, held by one process. `open` first, `close` last."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._directory = -1
        self._file = -1
        self.newest: TrailFile | None = None
        self.size = 0  # of the newest file, whole lines only
        self.after = ""  # the name of the file before the newest

    def open(self, time: str) -> Position:
        """Open the newest file, or the first of a new chain, and return where the chain ends.

        A torn last line, which nobody was told of, is cut off. Raises OSError, BlockingIOError when another process
        holds the folder, ChainBroken when the end is not ours.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._directory = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return self._found(time)
        except BaseException:
            self.close()
            raise

    def _found(self, time: str) -> Position:
        """Take the newest file, and return where the chain ends."""
        found = trail.files_of(self._folder)
        if len({file.instance for file in found}) > 1:
            raise ChainBroken(f"{self._folder} holds the files of several processes: each needs a folder of its own")
        self.newest = found[-1] if found else TrailFile.named(self._folder, token_hex(8), 1, time)
        self._take(self.newest)
        if self.size:
            return self._end(self.newest)
        if len(found) < 2 and self.newest.first > 1:
            raise ChainBroken(f"{self.newest.path} is empty, and the file before it is not here")
        if len(found) < 2:
            return Position(self.newest.instance, 0, trail.GENESIS)
        self.after = found[-2].path.name
        return self._end(found[-2])

    def append(self, raw: bytes) -> None:
        """Append whole lines; raise OSError when they are not on disk, with the file as it was."""
        try:
            self._cut_back()  # removes what an earlier failure left
            if os.write(self._file, raw) != len(raw):
                raise OSError("short write")
            os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                self._cut_back()
            raise
        self.size += len(raw)

    def turn(self, first: int, time: str) -> None:
        """Go on in a new file whose first line will be `first`; raise OSError, and stay, when it cannot be made."""
        assert self.newest is not None  # noqa: S101  opened
        before, old = self.newest, self._file
        new = TrailFile.named(self._folder, before.instance, first, time)
        self._take(new)
        os.close(old)
        self.newest, self.after = new, before.path.name

    def hash_of(self, sequence: int) -> str:
        """Return the hash of a line near the chain's end; empty when it is not there, as far as one look goes."""
        tail, whole = self._tail(self._file)
        with contextlib.suppress(ValueError):  # the look may begin within a line
            for line in reversed(tail[:whole].splitlines()):
                if trail.parsed(line)["sequence"] == sequence:
                    return trail.digest(line)
        return ""

    def close(self) -> None:
        """Give the folder back; safe to repeat."""
        for opened in (self._file, self._directory):
            if opened >= 0:
                os.close(opened)
        self._file = self._directory = -1

    def _take(self, file: TrailFile) -> None:
        """Open a file for appending, whole lines only, and make sure that its name is on disk."""
        opened = os.open(file.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            os.fsync(self._directory)
            size = os.fstat(opened).st_size
            tail, whole = self._tail(opened)
            torn = len(tail) - whole
            if torn:
                os.ftruncate(opened, size - torn)
                logs.get().warning("audit_torn_line_cut", count=torn)
        except OSError:
            os.close(opened)
            raise
        self._file, self.size = opened, size - torn

    def _cut_back(self) -> None:
        """Cut the file to its last good line; raise OSError when somebody has cut off more than that."""
        size = os.fstat(self._file).st_size
        if size < self.size:
            raise OSError("the file was cut")
        if size > self.size:
            os.ftruncate(self._file, self.size)

    def _end(self, file: TrailFile) -> Position:
        """Return the last line of a file that has whole lines."""
        with file.path.open("rb") as opened:
            tail, whole = self._tail(opened.fileno())
        line = tail[:whole].rstrip(b"\n").rpartition(b"\n")[2]
        try:
            fields = trail.parsed(line)
        except ValueError:
            raise ChainBroken(f"{file.path}: the last line is not one of an audit trail") from None
        if fields.get("instance") != file.instance:
            raise ChainBroken(f"{file.path}: the last line is of another process than the file's name says")
        return Position(file.instance, fields["sequence"], trail.digest(line))

    @staticmethod
    def _tail(file: int) -> tuple[bytes, int]:
        """Return the last bytes of a file, and how many of them are whole lines."""
        size = os.fstat(file).st_size
        tail = os.pread(file, min(size, TAIL), max(0, size - TAIL))
        return tail, tail.rfind(b"\n") + 1
