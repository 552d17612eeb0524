"""Own the audit trail of this process: chained lines, each of them on disk before anything is done.

Lines that wait together share one fsync. A line that cannot be written refuses the action. Never a secret, a passphrase
or a signature of the exchange: callers pass names and digests only.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from common import context, logs, trail
from common.clock import Clock, rfc3339, timestamp
from common.errors import PolicyRefused, StrongroomError, Unavailable
from common.trail import Position

from vault import calls, measures
from vault.actor import Actor
from vault.audit_files import AuditFiles

T = TypeVar("T")
FILE_BYTES: Final = 256 << 20
Fields = Mapping[str, str | int]
_Waiting = tuple[dict[str, Any], asyncio.Future[Position], bool]  # the last: whether its file ends with this line


class AuditLog:
    """One chain in the files of one folder, held by one process. `start` first, `stop` last."""

    def __init__(self, folder: Path, clock: Clock, file_bytes: int = FILE_BYTES) -> None:
        self._files = AuditFiles(folder)
        self._clock = clock
        self._file_bytes = file_bytes
        self._end = Position("", 0, trail.GENESIS)
        self._waiting: list[_Waiting] = []
        self._writer: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Find the newest file and go on with its chain; raise what AuditFiles.open raises."""
        self._end = self._files.open(self._now())

    async def stop(self) -> None:
        """Write what waits, and close."""
        while self._writer and not self._writer.done():
            await asyncio.wait([self._writer])
        self._files.close()

    @property
    def path(self) -> Path:
        """The file that is written to."""
        assert self._files.newest is not None  # noqa: S101  started
        return self._files.newest.path

    @property
    def written(self) -> tuple[Path, int]:
        """The file that is written to, and how many bytes of it are on disk for sure."""
        return self.path, self._files.size

    @property
    def end(self) -> Position:
        """The last line that is on disk."""
        return self._end

    @property
    def turn_due(self) -> bool:
        """Whether the newest file is full, or was begun on another day (UTC)."""
        newest, size = self._files.newest, self._files.size
        if newest is None or not size:
            return False
        return size >= self._file_bytes or newest.begun[:8] != self._now()[:10].replace("-", "")

    def hash_of(self, sequence: int) -> str:
        """Return the hash of a line near the end of the chain; empty when it is not there."""
        return self._files.hash_of(sequence)

    async def append(self, fields: Mapping[str, Any], *, last: bool = False) -> Position:
        """Write one line and return where it is once it is on disk; raise Unavailable when it cannot be written.

        With `last` the line ends its file, and what comes after it goes into a new one.
        """
        return await self._enqueue(fields, last=last)

    async def refuse(self, actor: Actor, name: str, binding: str, facts: Fields) -> None:
        """Write the line of an action that policy refused; raise Unavailable when it cannot be written."""
        await self._enqueue({**_about(actor, name, binding), **facts, "phase": "refused"})
        measures.ended(actor.service, name, [facts], None, PolicyRefused.kind)

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

        Meanwhile `reads` are awaited, which must change nothing; the block gets what they return. An outcome names its
        intent by number, and Vault's ids of the requests made meanwhile, unless the block told `vault_request_id`.
        """
        about: list[dict[str, Any]] = [{**_about(actor, name, binding), **facts} for facts in each]
        with calls.noted() as ids:
            written = [self._enqueue({**line, "phase": "intent"}) for line in about]
            both: list[Any] = await asyncio.gather(reads, *written, return_exceptions=True)
            found, *intents = both
            for failure in intents:
                if isinstance(failure, BaseException):
                    raise failure
            told: dict[str, Any] = {"outcome": measures.INTERRUPTED}
            ended = measures.INTERRUPTED
            try:
                if isinstance(found, BaseException):
                    raise found
                yield told, found
                told["outcome"] = ended = measures.DONE
            except StrongroomError as error:
                told["outcome"], ended = error.reason, error.kind
                raise
            finally:
                measures.ended(actor.service, name, about, told.get("rule"), ended)
                if ids and "vault_request_id" not in told:
                    told["vault_request_ids"] = ids
                for line, intent in zip(about, intents, strict=True):
                    outcome = {**line, "phase": "outcome", "intent": intent.sequence, **told}
                    self._enqueue(outcome).add_done_callback(_logged)

    def _enqueue(self, fields: Mapping[str, Any], *, last: bool = False) -> "asyncio.Future[Position]":
        written: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        self._waiting.append(({"time": self._now(), **fields}, written, last))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return written

    async def _write(self) -> None:
        """Write batch after batch until nobody waits; what comes meanwhile is in the next one."""
        while self._waiting:
            batch, turns = self._batch()
            positions: list[Position] = []
            try:
                raw, made = self._chained([fields for fields, _, _ in batch])
                if await asyncio.to_thread(self._append, raw):
                    positions, self._end = made, made[-1]
                    measures.AUDIT_LINES.inc(len(made))
            finally:
                _tell([written for _, written, _ in batch], positions)
            if turns and positions:
                await asyncio.to_thread(self._turn)

    def _batch(self) -> tuple[list[_Waiting], bool]:
        """Take what waits, up to a line that ends its file, and tell whether there was one."""
        count = next((at for at, (_, _, last) in enumerate(self._waiting, 1) if last), len(self._waiting))
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch, batch[-1][2]

    def _chained(self, each: list[dict[str, Any]]) -> tuple[bytes, list[Position]]:
        """Return lines as they are written, a new file's opening before them, and the place of each but that."""
        opening, end = (b"", self._end) if self._files.size else self._opened()
        raw, places = [opening], []
        for fields in each:
            line, end = _placed(fields, end)
            raw.append(line)
            places.append(end)
        return b"".join(raw), places

    def _opened(self) -> tuple[bytes, Position]:
        """Return the first line of a file, whose `sequence` and `previous` say where the file before ended."""
        opening = {"action": trail.OPENING, "after": self._files.after, "format": trail.FORMAT, "time": self._now()}
        return _placed(opening, self._end)

    def _append(self, raw: bytes) -> bool:
        """Append lines; return whether they are on disk."""
        try:
            with measures.AUDIT_SECONDS.time():
                self._files.append(raw)
        except OSError as error:
            measures.AUDIT_FAILURES.inc()
            logs.get().error("audit_write_failed", error=type(error).__name__, code=error.errno or 0)
            return False
        measures.AUDIT_WRITTEN_AT.set(self._clock.unix())
        return True

    def _turn(self) -> None:
        """Go on in a new file, and open it; stay in this one, which then grows on, when that is not possible."""
        try:
            self._files.turn(self._end.sequence + 1, self._now())
        except OSError as error:
            logs.get().error("audit_turn_failed", error=type(error).__name__, code=error.errno or 0)
            return
        raw, end = self._opened()
        if self._append(raw):  # else it comes with the first line
            self._end = end

    def _now(self) -> str:
        return rfc3339(timestamp(self._clock.unix()))


def _placed(fields: Mapping[str, Any], end: Position) -> tuple[bytes, Position]:
    """Return the line that follows `end`, with its break, and its place."""
    line = trail.canonical({**fields, "instance": end.instance, "sequence": end.sequence + 1, "previous": end.hash})
    return line + b"\n", Position(end.instance, end.sequence + 1, trail.digest(line))


def _about(actor: Actor, name: str, binding: str) -> dict[str, str | int]:
    request = context.current.get()
    about: dict[str, str | int] = {
        "action": name,
        "tenant": actor.tenant,
        "binding": binding,
        "service": actor.service,
        "subject": actor.subject,
        "client": actor.client,
        "request_id": request.request_id if request else "",
    }
    return {**about, "issuer": actor.issuer} if actor.issuer else about


async def _nothing() -> None:
    """Read nothing."""


def _tell(waiting: list["asyncio.Future[Position]"], positions: list[Position]) -> None:
    """Tell everybody who waits where his line is; without positions, that there is none."""
    for at, written in enumerate(waiting):
        if written.done():  # whoever waited is gone
            continue
        if positions:
            written.set_result(positions[at])
        else:
            written.set_exception(Unavailable("audit_unavailable", "The audit log cannot be written.", retry_after=5))


def _logged(written: "asyncio.Future[Position]") -> None:
    """Take note of an outcome that could not be written; the writer has logged why."""
    if not written.cancelled():
        written.exception()
