"""The check of an audit trail: it names each kind of change, its file and line, and any random change is found."""

import base64
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from common import trail
from common.trail import Head, Position, TrailFile
from common.trail_check import Check, Fault
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
INSTANCE = "0123456789abcdef"
TIME = "2026-11-28T00:00:00.000Z"
FILES, PER_FILE = 3, 6


def proves(version: int, message: bytes, signature: str) -> bool:
    try:
        KEY.public_key().verify(base64.b64decode(signature, validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return version == 1


@dataclass
class Written:
    """A trail of three files, each of which ends with a signed head, as the service writes it."""

    folder: Path
    paths: list[Path]
    end: Position

    def check(self, *, kept: bool = True, partial: bool = False, paths: list[Path] | None = None) -> Check:
        positions = {INSTANCE: self.end} if kept else {}
        check = Check(self.paths if paths is None else paths, proves, positions, partial=partial)
        for _ in check.read():
            pass
        return check

    def lines(self, file: int) -> list[bytes]:
        return self.paths[file].read_bytes().splitlines(keepends=True)

    def put(self, file: int, lines: list[bytes]) -> None:
        self.paths[file].write_bytes(b"".join(lines))


def written(folder: Path) -> Written:
    end, paths, after = Position(INSTANCE, 0, trail.GENESIS), [], ""
    for _ in range(FILES):
        made = TrailFile.named(folder, INSTANCE, end.sequence + 1, TIME)
        lines: list[bytes] = []

        def add(fields: dict[str, object], at: Position, into: list[bytes]) -> Position:
            placed = {**fields, "instance": INSTANCE, "sequence": at.sequence + 1, "previous": at.hash}
            line = trail.canonical(placed)
            into.append(line + b"\n")
            return Position(INSTANCE, at.sequence + 1, trail.digest(line))

        end = add({"action": "file", "after": after, "format": 1, "time": TIME}, end, lines)
        for number in range(PER_FILE - 2):
            end = add({"action": "sign", "time": TIME, "tenant": "t" * 26, "n": number}, end, lines)
        head = Head(INSTANCE, end.sequence, end.hash, TIME)
        end = add(head.line(1, base64.b64encode(KEY.sign(head.message())).decode()), end, lines)
        made.path.write_bytes(b"".join(lines))
        paths.append(made.path)
        after = made.path.name
    return Written(folder, paths, end)


@pytest.fixture
def whole(tmp_path: Path) -> Written:
    return written(tmp_path)


def test_a_whole_trail_has_no_fault_in_whatever_order_its_files_are_named(whole: Written) -> None:
    check = whole.check(paths=whole.paths[::-1])
    assert (check.faults, check.lines) == ([], FILES * PER_FILE)
    chain = check.chains[INSTANCE]
    assert (chain.first, chain.last, chain.heads, chain.signed_to) == (1, 18, 3, 17)
    assert chain.files == [str(path) for path in whole.paths]
    assert [file.path for file in trail.files_of(whole.folder)] == whole.paths


def edited(lines: list[bytes]) -> list[bytes]:
    return [*lines[:2], lines[2].replace(b'"n":1', b'"n":9'), *lines[3:]]


CHANGES: list[tuple[str, Callable[[list[bytes]], list[bytes]], tuple[int, str]]] = [
    ("edit", edited, (4, "changed")),
    ("delete", lambda lines: lines[:2] + lines[3:], (3, "missing")),
    ("reorder", lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], (3, "missing")),
    ("repeat", lambda lines: [*lines[:3], lines[2], *lines[3:]], (4, "order")),
    ("space", lambda lines: [*lines[:2], b" " + lines[2], *lines[3:]], (3, "unreadable")),
    ("garbage", lambda lines: [*lines[:2], b"\xff\n", *lines[2:]], (3, "unreadable")),
    ("no opening", lambda lines: lines[1:], (1, "opening")),
    ("opening twice", lambda lines: [lines[0], *lines], (2, "opening")),
]


@pytest.mark.bar(57)
@pytest.mark.parametrize(("change", "place"), [one[1:] for one in CHANGES], ids=[one[0] for one in CHANGES])
def test_each_kind_of_change_is_named_with_its_file_and_line(whole: Written, change: object, place: object) -> None:
    assert callable(change)
    whole.put(1, change(whole.lines(1)))
    first = whole.check().faults[0]
    assert (first.file, (first.line, first.code)) == (str(whole.paths[1]), place)


@pytest.mark.bar(57)
def test_what_is_cut_off_the_end_is_found_by_what_was_kept_elsewhere_heads_and_all(whole: Written) -> None:
    lines = whole.lines(2)
    for cut, line in ((lines[:-1], 5), (lines[:2], 2), ([], 0)):
        whole.put(2, cut)
        assert whole.check(kept=False).faults == [], "a chain alone does not know its end"
        [fault] = whole.check().faults
        assert (fault.file, fault.line, fault.code) == (str(whole.paths[2]), line, "end_missing")
    whole.paths[2].unlink()
    [fault] = whole.check(paths=whole.paths[:2]).faults
    assert (fault.file, fault.line, fault.code) == (str(whole.paths[1]), PER_FILE, "end_missing")
    assert whole.check(paths=[]).absent == [INSTANCE]


@pytest.mark.bar(57)
def test_a_line_cut_in_its_middle_is_found_without_anything_else(whole: Written) -> None:
    lines = whole.lines(2)
    for rest in (lines[-1][:40], lines[-1][:-1]):
        whole.put(2, [*lines[:-1], rest])
        faults = whole.check(kept=False).faults
        assert [(fault.line, fault.code) for fault in faults] == [(6, "cut")]


@pytest.mark.bar(57)
def test_a_missing_file_is_found_and_only_its_neighbours_outside_may_be_elsewhere(whole: Written) -> None:
    first, middle, last = whole.paths
    [fault] = whole.check(paths=[first, last]).faults
    assert (fault.file, fault.line, fault.code) == (str(last), 1, "missing")
    assert whole.check(paths=[first, last], partial=True).faults == [fault]
    [fault] = whole.check(paths=[middle, last]).faults
    assert (fault.file, fault.line, fault.code) == (str(middle), 1, "beginning_missing")
    assert whole.check(paths=[middle], partial=True).faults == []


@pytest.mark.bar(57)
def test_a_trail_written_anew_from_some_line_on_is_found_by_its_heads_and_by_what_was_kept(whole: Written) -> None:
    """Whoever rewrites every line after his own change has a chain that holds, and no signature."""
    before = whole.end
    end = Position(INSTANCE, 0, trail.GENESIS)
    for file in range(FILES):
        anew = []
        for line in whole.lines(file):
            fields = trail.parsed(line[:-1])
            fields |= {"previous": end.hash} | ({"n": 7} if end.sequence == 8 else {})
            raw = trail.canonical(fields)
            end = Position(INSTANCE, end.sequence + 1, trail.digest(raw))
            anew.append(raw + b"\n")
        whole.put(file, anew)
    codes = [(fault.file, fault.code) for fault in whole.check(kept=False).faults]
    assert codes == [(str(whole.paths[1]), "head"), (str(whole.paths[2]), "head")]
    assert [fault.code for fault in whole.check().faults] == ["head", "rewritten", "head"]
    assert whole.end == before


@pytest.mark.bar(57)
def test_a_head_that_somebody_else_signed_is_found(whole: Written) -> None:
    other = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
    lines = whole.lines(2)
    fields = trail.parsed(lines[-1][:-1])
    fields["signature"] = base64.b64encode(other.sign(Head.of(fields).message())).decode()
    whole.put(2, [*lines[:-1], trail.canonical(fields) + b"\n"])
    assert [(fault.line, fault.code) for fault in whole.check(kept=False).faults] == [(6, "signature")]


def test_two_processes_have_two_chains_and_lines_of_one_do_not_pass_in_the_other(
    whole: Written, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    moved = [path.read_bytes().replace(INSTANCE.encode(), b"f" * 16) for path in whole.paths[:1]]
    lone = other / "audit-of-another.jsonl"
    lone.write_bytes(moved[0])
    check = whole.check(paths=[*whole.paths, lone])
    assert set(check.chains) == {INSTANCE, "f" * 16}
    assert {fault.file for fault in check.faults} == {str(lone)}, "its hashes were of other lines"
    whole.put(0, [*whole.lines(0)[:2], moved[0].splitlines(keepends=True)[2], *whole.lines(0)[3:]])
    assert "foreign" in {fault.code for fault in whole.check().faults}


def test_an_endless_line_is_passed_over_without_being_read_into_memory(whole: Written) -> None:
    lines = whole.lines(1)
    whole.put(1, [*lines[:2], b"x" * (3 * trail.LINE_LIMIT) + b"\n", *lines[3:]])
    faults = whole.check().faults
    assert [(fault.line, fault.code) for fault in faults] == [(3, "cut"), (4, "missing")]


def changed(whole: Written, choice: random.Random) -> str:
    """Make one random change that alters the trail; return what it was."""
    file = choice.randrange(FILES)
    lines = whole.lines(file)
    at = choice.randrange(len(lines))
    kind = choice.choice(["byte", "delete", "swap", "insert", "cut", "field", "move"])
    if kind == "byte":
        line = bytearray(lines[at])
        position = choice.randrange(len(line))
        line[position] ^= 1 << choice.randrange(8)
        lines[at] = bytes(line)
    elif kind == "delete":
        del lines[at : at + choice.randint(1, 3)]
    elif kind == "swap":
        other = choice.choice([place for place in range(len(lines)) if place != at])
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == "insert":
        fields = trail.parsed(lines[at][:-1]) | {"n": "inserted"}
        lines.insert(at + choice.randint(0, 1), trail.canonical(fields) + b"\n")
    elif kind == "cut":
        text = b"".join(lines)
        lines = [text[: choice.randrange(len(text))]]
    elif kind == "field":
        fields = trail.parsed(lines[at][:-1])
        fields[choice.choice(sorted(fields))] = choice.choice(["", 0, "x", -1, None, {}])
        lines[at] = trail.canonical(fields) + b"\n"
    else:
        target = (file + choice.randint(1, FILES - 1)) % FILES
        others = whole.lines(target)
        others.insert(choice.randrange(len(others) + 1), lines.pop(at))
        whole.put(target, others)
    whole.put(file, lines)
    return kind


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@pytest.mark.bar(57)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), times=st.integers(1, 4))
def test_random_changes_of_a_trail_of_several_files_are_always_found(folder: Path, seed: int, times: int) -> None:
    whole = written(folder)
    before = [path.read_bytes() for path in whole.paths]
    choice = random.Random(seed)
    kinds = []
    for _ in range(times):
        try:
            kinds.append(changed(whole, choice))
        except (ValueError, IndexError):  # an earlier change left nothing that this one could be made of
            break
    if [path.read_bytes() for path in whole.paths] == before:
        return  # two changes that undid each other
    check = whole.check()
    assert check.faults != [], kinds
    assert all(isinstance(fault, Fault) and fault.detail for fault in check.faults)


@pytest.mark.bar(57)
@pytest.mark.parametrize("deaf_to", ["changed", "missing", "end_missing"])
def test_a_bug_planted_in_the_check_is_seen_by_random_changes(folder: Path, deaf_to: str) -> None:
    class Deaf(Check):
        def fault(self, file: str, line: int, code: str, detail: str) -> None:
            if code != deaf_to:
                super().fault(file, line, code, detail)

    missed = 0
    for seed in range(200):
        whole = written(folder)
        before = [path.read_bytes() for path in whole.paths]
        changed(whole, random.Random(seed))
        check = Deaf(whole.paths, proves, {INSTANCE: whole.end})
        for _ in check.read():
            pass
        missed += check.faults == [] and [path.read_bytes() for path in whole.paths] != before
    assert missed > 0
