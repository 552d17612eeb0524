"""Own the form of the audit trail: chained lines of canonical JSON in files that follow one another, and signed heads.

A line names the hash of the one before, also across files. Here is no clock, no key and no writing: the vault service
writes, the command line checks.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

GENESIS: Final = "0" * 64  # what the first line of a chain names as the one before
FORMAT: Final = 1
OPENING: Final = "file"  # the action of each file's first line
HEAD: Final = "head"  # the action of a line that holds a signed head
CLOSING: Final = "close"  # the action of a last line that could not be a signed head
LINE_LIMIT: Final = 1 << 20  # a line of ours has some hundred bytes
# A head that was signed is in the file at most so many lines after the one it speaks of.
HEAD_WINDOW: Final = 1 << 16
_NAME: Final = re.compile(r"audit-([0-9a-f]{16})-([0-9]{12})-([0-9]{8}T[0-9]{6}Z)\.jsonl")


class ChainBroken(Exception):
    """The audit trail was changed; the text names the place."""


@dataclass(frozen=True, slots=True)
class Position:
    """One line of one writing process: its number in the chain and its hash (sequence 0: before the first)."""

    instance: str
    sequence: int
    hash: str


@dataclass(frozen=True, slots=True)
class Head:
    """What is signed: at `time`, the line `sequence` of `instance` had the hash `hash`."""

    instance: str
    sequence: int
    hash: str
    time: str

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return b"strongroom-audit-head-1\n" + canonical(asdict(self))

    def line(self, key_version: int, signature: str) -> dict[str, Any]:
        """Return the fields of the line that holds this head; each of them is covered by signature or chain."""
        signed = {"sequence": self.sequence, "hash": self.hash}
        return {"action": HEAD, "time": self.time, "head": signed, "key_version": key_version, "signature": signature}

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """Return the head of a line made by `line`; raise ValueError for any other line."""
        known = {"action", "time", "head", "key_version", "signature", "instance", "sequence", "previous"}
        signed = fields.get("head")
        if fields.keys() != known or not isinstance(signed, dict) or signed.keys() != {"sequence", "hash"}:
            raise ValueError("no head")
        texts = (fields["instance"], signed["hash"], fields["time"], fields["signature"])
        if not all(isinstance(text, str) for text in texts) or type(signed["sequence"]) is not int:
            raise ValueError("no head")
        return cls(fields["instance"], signed["sequence"], signed["hash"], fields["time"])


@dataclass(frozen=True, slots=True)
class TrailFile:
    """One file by its name: whose it is, the sequence of its first line, and when it was begun (UTC)."""

    path: Path
    instance: str
    first: int
    begun: str

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """Return what a file's name tells; None for a name that is none of ours."""
        match = _NAME.fullmatch(path.name)
        return cls(path, match[1], int(match[2]), match[3]) if match else None

    @classmethod
    def named(cls, folder: Path, instance: str, first: int, time: str) -> Self:
        """Return the file that begins with the line `first` at `time` (RFC 3339); names sort as the lines do."""
        begun = re.sub(r"[-:]|\.[0-9]+", "", time)
        return cls(folder / f"audit-{instance}-{first:012d}-{begun}.jsonl", instance, first, begun)


def files_of(folder: Path) -> list[TrailFile]:
    """Return the trail's files in a folder, in the order of their lines, instance after instance."""
    found = [file for path in folder.iterdir() if (file := TrailFile.of(path))]
    return sorted(found, key=lambda file: (file.instance, file.first, file.begun))


def canonical(fields: Mapping[str, Any]) -> bytes:
    """Return an object as the one text it has here: ASCII, sorted, without spaces."""
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()


def digest(line: bytes) -> str:
    """Return the hash of a line, which has no line break."""
    return hashlib.sha256(line).hexdigest()


def parsed(line: bytes) -> dict[str, Any]:
    """Return the fields of a line; raise ValueError for what is not exactly such a line."""
    try:
        fields = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(fields, dict) or canonical(fields) != line:
        raise ValueError("not a canonical object")
    if type(fields.get("sequence")) is not int or not isinstance(fields.get("previous"), str):
        raise ValueError("not an audit line")
    return fields


def lines(path: Path) -> Iterator[tuple[int, bytes, bool]]:
    """Yield (number from 1, line without its break, whether it had one); a line beyond LINE_LIMIT comes cut."""
    with path.open("rb") as file:
        number = 0
        while raw := file.readline(LINE_LIMIT):
            number += 1
            whole = raw.endswith(b"\n")
            yield number, raw[:-1] if whole else raw, whole
            while not whole and (rest := file.readline(LINE_LIMIT)):  # pass over the rest of an endless line
                whole = rest.endswith(b"\n")
