"""Own the reading of a tenant's own lines out of this process's audit files: backwards, a bounded part for each page.

It opens files for reading only, shows what is on disk for sure, and nothing of a line that names another tenant.
"""

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common import logs, trail
from common.errors import InvalidArgument, Unavailable
from common.trail import TrailFile

from vault.audit import AuditLog

BLOCK: Final = 1 << 16
LOOK: Final = 16 << 20  # bytes that one page looks at, at most; looking at what is others' costs little
AT_ONCE: Final = 2  # pages of this process: its cores are for signatures
CURSOR: Final = re.compile(r"([0-9a-f]{16})\.([0-9]{1,15})\.([0-9]{1,15})")
TIME: Final = re.compile(rb'"time":"([^"]{24})"')


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whose lines, of which binding (empty: any), and from when to before when (RFC 3339; empty: no end)."""

    tenant: str
    binding: str = ""
    since: str = ""
    until: str = ""


@dataclass(slots=True)
class Page:
    """Lines with their hashes, the newest first; where to go on (empty: nowhere); how far back was looked."""

    lines: list[tuple[dict[str, Any], str]] = field(default_factory=list)
    cursor: str = ""
    looked_back_to: str = ""


class History:
    """Page through the files of one process; a page looks at about `look` bytes, `block` at a time."""

    def __init__(self, audit: AuditLog, look: int = LOOK, block: int = BLOCK) -> None:
        self._audit = audit
        self._look = look
        self._block = block
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def page(self, wanted: Wanted, cursor: str, limit: int) -> Page:
        """Return up to `limit` lines before `cursor`; raise InvalidArgument for one that this process did not make."""
        newest, size = self._audit.written
        place = CURSOR.fullmatch(cursor)
        if cursor and (place is None or place[1] != self._audit.end.instance):
            raise InvalidArgument(
                "cursor", "This cursor is not of the process that answers: begin anew without one.", field="cursor"
            )
        start = (int(place[2]), int(place[3])) if place else None
        async with self._gate:
            try:
                return await asyncio.to_thread(_read, newest, size, wanted, start, limit, self._look, self._block)
            except OSError as error:  # somebody moved a file away just now
                logs.get().warning("audit_read_failed", error=type(error).__name__, code=error.errno or 0)
                raise Unavailable("audit_unavailable", "The audit trail cannot be read now.", retry_after=2) from None


def _read(  # noqa: PLR0917  called in a thread
    newest: Path, size: int, wanted: Wanted, start: tuple[int, int] | None, limit: int, look: int, block: int
) -> Page:
    """Go backwards from `start` (first line and offset of a file) or from the end, as far as one page may."""
    page, left = Page(), look
    marker = f'"tenant":"{wanted.tenant}"'.encode()
    for file in reversed(trail.files_of(newest.parent)):
        if start and file.first > start[0]:
            continue
        end = size if file.path == newest else file.path.stat().st_size
        end = min(end, start[1]) if start and file.first == start[0] else end
        if wanted.until and _compact(wanted.until) < file.begun:
            continue
        for offset, region in _regions(file.path, end, block):
            for at, line in _backwards(offset, region) if marker in region else ():
                fields = _fields(line) if marker in line else {}
                if _fits(fields, wanted):
                    page.lines.append((fields, trail.digest(line)))
                if len(page.lines) == limit:
                    page.looked_back_to = fields["time"]
                    page.cursor = _cursor(file, at)
                    return page
            page.looked_back_to = _time_of(region) or page.looked_back_to
            left -= len(region)
            if page.looked_back_to < wanted.since:
                return page
            if left <= 0:
                page.cursor = _cursor(file, offset)
                return page
    return page


def _fields(line: bytes) -> dict[str, Any]:
    """Return the fields of a line; nothing for what is none, which is for the check of the trail to tell."""
    try:
        return trail.parsed(line)
    except ValueError:
        return {}


def _fits(fields: dict[str, Any], wanted: Wanted) -> bool:
    """Tell whether a line is one of an action that is asked for."""
    if fields.get("tenant") != wanted.tenant or "phase" not in fields:
        return False
    if wanted.binding not in ("", fields["binding"]):
        return False
    return bool(wanted.since <= fields["time"] and (not wanted.until or fields["time"] < wanted.until))


def _regions(path: Path, end: int, block: int) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, whole lines) from `end` backwards, about a block each."""
    with path.open("rb") as file:
        size = block
        while end > 0:
            begin = max(0, end - size)
            raw = os.pread(file.fileno(), end - begin, begin)
            cut = raw.find(b"\n") + 1 if begin else 0
            if begin and cut in (0, len(raw)):  # one line fills it
                size *= 2
                continue
            yield begin + cut, raw[cut:]
            end, size = begin + cut, block


def _backwards(offset: int, region: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, line) for each line of a region, the last first."""
    at = offset + len(region)
    for line in reversed(region.splitlines(keepends=True)):
        at -= len(line)
        yield at, line.rstrip(b"\n")


def _time_of(region: bytes) -> str:
    """Return the time of the first line; a text within a line cannot look so, for its quotes are escaped."""
    found = TIME.search(region)
    return found[1].decode() if found else ""


def _compact(time: str) -> str:
    return re.sub(r"[-:]|\.[0-9]+", "", time)


def _cursor(file: TrailFile, offset: int) -> str:
    return f"{file.instance}.{file.first}.{offset}"
