"""Own the check of an audit trail: what was edited, deleted, reordered, inserted or cut is named by file and line.

Reads line by line and keeps little, whatever the size. It has no key: whoever has one hands over what proves a
signature.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from common import trail
from common.trail import Head, Position

Proves = Callable[[int, bytes, str], bool]  # key version, message, signature in base64
FAULTS_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """One place where the trail does not hold; `line` counts from 1 in its file, 0 is the file as a whole."""

    file: str
    line: int
    code: str
    detail: str


@dataclass(slots=True)
class Chain:
    """What was found of one writing process."""

    instance: str
    files: list[str] = field(default_factory=list)
    first: int = 0
    last: int = 0
    heads: int = 0
    signed_to: int = 0  # the last line that a head with a proven signature speaks of


@dataclass(frozen=True, slots=True)
class Line:
    """One line as it stands in its file."""

    file: str
    number: int
    fields: Mapping[str, Any]


@dataclass
class Check:
    """One pass over a trail's files. Go through `read` to its end; `faults` and `chains` are complete then.

    `proves` checks signatures (None: they are not checked), `kept` are positions known from elsewhere, by instance.
    With `partial` the files before and after the given ones may be missing, never those between. Kept positions of
    chains without any file are in `absent`; they are a fault only for whoever has all files.
    """

    files: Sequence[Path]
    proves: Proves | None = None
    kept: Mapping[str, Position] = field(default_factory=dict)
    partial: bool = False
    faults: list[Fault] = field(default_factory=list)
    faults_in_all: int = 0
    chains: dict[str, Chain] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    lines: int = 0

    def read(self) -> Iterator[Line]:
        """Yield every line that can be read, chain after chain; raise OSError for a file that cannot be opened."""
        known = _sorted(self.files)
        for instance, paths in known.items():
            yield from _Walk(self, instance).over(paths)
        self.absent = sorted(self.kept.keys() - known.keys())

    def fault(self, file: str, line: int, code: str, detail: str) -> None:
        """Take note of a fault; after the first hundred they are only counted."""
        self.faults_in_all += 1
        if len(self.faults) < FAULTS_SHOWN:
            self.faults.append(Fault(file, line, code, detail))


class _Walk:
    """One chain, line after line."""

    def __init__(self, check: Check, instance: str) -> None:
        self._check = check
        self._chain = check.chains[instance] = Chain(instance)
        self._last: Position | None = None
        self._recent: OrderedDict[int, str] = OrderedDict()  # hashes by sequence, for the heads that follow
        self._place = ("", 0)
        self._kept = check.kept.get(instance)

    def over(self, paths: Iterable[Path]) -> Iterator[Line]:
        for path in paths:
            self._chain.files.append(str(path))
            self._place = (str(path), 0)
            for number, raw, whole in trail.lines(path):
                self._place = (str(path), number)
                fields = self._line(number, raw, whole=whole)
                self._check.lines += 1
                if fields is not None:
                    yield Line(str(path), number, fields)
        self._end()

    def _line(self, number: int, raw: bytes, *, whole: bool) -> Mapping[str, Any] | None:
        """Check one line against the one before; return its fields, None when it cannot be read."""
        try:
            fields = trail.parsed(raw)
        except ValueError:
            self._fault("unreadable" if whole else "cut", "this is no whole audit line")
            return None
        if not whole:
            self._fault("cut", "the line's end is missing")
        sequence, previous = fields["sequence"], fields["previous"]
        if fields.get("instance") != self._chain.instance:
            self._fault("foreign", "the line belongs to another writing process")
        if (fields.get("action") == trail.OPENING) != (number == 1):
            self._fault("opening", "a file begins with its opening line, and has it once")
        self._follows(sequence, previous)
        self._last = Position(self._chain.instance, sequence, trail.digest(raw))
        self._remember(self._last)
        if fields.get("action") == trail.HEAD:
            self._head(fields)
        return fields

    def _follows(self, sequence: int, previous: str) -> None:
        if self._last is None:
            self._chain.first = sequence
            begins = sequence == 1 and previous == trail.GENESIS
            if not begins and (sequence <= 1 or not self._check.partial):
                self._fault("beginning_missing", f"this is line {sequence} of the chain; what is before it is not here")
            return
        expected = self._last.sequence + 1
        if sequence > expected:
            self._fault("missing", f"lines {expected} to {sequence - 1} of the chain are missing before this one")
        elif sequence < expected:
            self._fault("order", f"line {sequence} of the chain stands where {expected} belongs: inserted or reordered")
        elif previous != self._last.hash:
            self._fault("changed", f"this line names another hash for the one before: line {expected - 1} was changed")

    def _remember(self, position: Position) -> None:
        self._recent[position.sequence] = position.hash
        if len(self._recent) > trail.HEAD_WINDOW:
            self._recent.popitem(last=False)
        kept = self._kept
        if kept and position.sequence == kept.sequence:
            self._kept = None
            if position.hash != kept.hash:
                self._fault("rewritten", f"line {kept.sequence} of the chain is not the one whose hash was kept")

    def _head(self, fields: Mapping[str, Any]) -> None:
        try:
            head = Head.of(fields)
        except ValueError:
            self._fault("head", "this is no head")
            return
        self._chain.heads += 1
        if self._recent.get(head.sequence) != head.hash and (
            head.sequence >= self._chain.first or not self._check.partial
        ):
            self._fault("head", f"line {head.sequence} of the chain is not the one that was signed")
        if self._check.proves is None:
            return
        if type(fields["key_version"]) is int and self._check.proves(
            fields["key_version"], head.message(), fields["signature"]
        ):
            self._chain.signed_to = max(self._chain.signed_to, head.sequence)
        else:
            self._fault("signature", "the signature of this head is not by the audit key")

    def _end(self) -> None:
        self._chain.last = self._last.sequence if self._last else 0
        kept = self._kept
        if kept and not self._check.partial:
            after = f"the chain ends at line {self._chain.last}, and line {kept.sequence} was kept elsewhere"
            self._fault("end_missing", f"cut after this line: {after}")

    def _fault(self, code: str, detail: str) -> None:
        self._check.fault(*self._place, code, detail)


def _sorted(files: Sequence[Path]) -> dict[str, list[Path]]:
    """Return the files of each chain in the order of their first lines, whatever they are called."""
    found: dict[str, list[tuple[int, str, Path]]] = {}
    for path in files:
        instance, first = _beginning(path)
        found.setdefault(instance, []).append((first, path.name, path))
    return {instance: [path for _, _, path in sorted(known)] for instance, known in sorted(found.items())}


def _beginning(path: Path) -> tuple[str, int]:
    """Return whose file it is and where it begins, by its first line, or else by its name."""
    for _, raw, _ in trail.lines(path):
        try:
            fields = trail.parsed(raw)
        except ValueError:
            break
        return str(fields.get("instance", "")), fields["sequence"]
    named = trail.TrailFile.of(path)
    return (named.instance, named.first) if named else ("", 0)
