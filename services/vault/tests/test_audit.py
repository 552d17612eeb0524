"""The audit file: chained, durable before use, and honest about what it lost."""

import asyncio
import hashlib
import json
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from common.clock import SystemClock
from common.errors import NotFound, Unavailable
from common.trail import GENESIS, ChainBroken, Position, files_of
from common.trail_check import Check
from vault.actor import Actor
from vault.audit import AuditLog

ACTOR = Actor("t" * 26, "gateway", "somebody", "a-client")


@contextmanager
def no_room(path: Path, extra: int = 10) -> Iterator[None]:
    """Let no file of this process grow more than `extra` bytes beyond `path`'s size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + extra, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class DayClock(SystemClock):
    """The system's clock, which a test can set forward by days."""

    days = 0

    def unix(self) -> float:
        return super().unix() + self.days * 86_400


def opened(folder: Path, clock: SystemClock | None = None, **options: int) -> AuditLog:
    log = AuditLog(folder, clock or SystemClock(), **options)
    log.start()
    return log


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file after its opening."""
    return [json.loads(line) for line in path.read_text().splitlines()][1:]


def whole(folder: Path) -> int:
    """Return how many lines of actions a folder's trail has; its chain must hold."""
    check = Check([file.path for file in files_of(folder)])
    told = [line for line in check.read() if line.fields.get("action") not in ("file", "head", "close")]
    assert check.faults == []
    return len(told)


async def test_lines_are_chained_across_restarts_in_a_private_file(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    for _ in range(3):
        log = opened(folder)
        await log.append({"action": "test"})
        await log.stop()
    assert [line["sequence"] for line in lines(log.path)] == [2, 3, 4]
    assert whole(folder) == 3
    assert stat.S_IMODE(log.path.stat().st_mode) == 0o600


async def test_a_thousand_appends_at_once_are_all_there_in_order(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    await asyncio.gather(*(log.append({"n": number}) for number in range(1000)))
    await log.stop()
    assert [line["n"] for line in lines(log.path)] == list(range(1000))
    assert whole(tmp_path / "audit") == 1000


async def test_a_torn_last_line_is_cut_and_the_chain_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    await log.append({"n": 1})
    await log.stop()
    with log.path.open("ab") as file:
        file.write(b'{"n":2,"sequ')
    log = opened(folder)
    await log.append({"n": 3})
    await log.stop()
    assert [line["n"] for line in lines(log.path)] == [1, 3]
    assert whole(folder) == 2


async def test_an_end_that_is_not_ours_stops_the_start(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    await log.append({"n": 1})
    await log.stop()
    good = log.path.read_bytes()
    log.path.write_bytes(good + b"something else\n")
    with pytest.raises(ChainBroken, match="last line is not one of an audit trail"):
        opened(tmp_path / "audit")
    log.path.write_bytes(good)
    instance = json.loads(good.splitlines()[0])["instance"]
    renamed = log.path.rename(log.path.with_name(log.path.name.replace(instance, "0" * 16)))
    with pytest.raises(ChainBroken, match="of another process"):
        opened(tmp_path / "audit")
    renamed.with_name(log.path.name).write_bytes(good)
    with pytest.raises(ChainBroken, match="of several processes"):
        opened(tmp_path / "audit")


async def test_a_second_process_cannot_hold_the_same_folder(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    with pytest.raises(BlockingIOError):
        opened(tmp_path / "audit")
    await log.stop()


async def test_a_full_disk_refuses_leaves_no_half_line_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    await log.append({"n": 1})
    with no_room(log.path):
        with pytest.raises(Unavailable) as refused:
            await log.append({"n": 2})
        assert refused.value.reason == "audit_unavailable"
        assert len(lines(log.path)) == 1
    await log.append({"n": 3})
    await log.stop()
    assert [line["n"] for line in lines(log.path)] == [1, 3]
    assert whole(folder) == 2


async def test_a_file_cut_by_somebody_refuses_further_actions(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    await log.append({"n": 1})
    log.path.write_bytes(b"")
    with pytest.raises(Unavailable):
        await log.append({"n": 2})
    await log.stop()
    assert log.path.read_bytes() == b""


async def test_an_action_leaves_intent_and_outcome_also_when_it_fails(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    async with log.action(ACTOR, "bind", "b" * 32, rule="r") as told:
        assert lines(log.path)[-1]["phase"] == "intent"
        told["revision"] = 1
    with pytest.raises(NotFound):
        async with log.action(ACTOR, "revoke", "b" * 32):
            raise NotFound()
    with pytest.raises(asyncio.CancelledError):
        async with log.action(ACTOR, "sign", "b" * 32):
            raise asyncio.CancelledError
    await log.stop()
    told_lines = [(line["action"], line["phase"], line.get("outcome")) for line in lines(log.path)]
    assert told_lines == [
        ("bind", "intent", None),
        ("bind", "outcome", "done"),
        ("revoke", "intent", None),
        ("revoke", "outcome", "not_found"),
        ("sign", "intent", None),
        ("sign", "outcome", "interrupted"),
    ]
    assert {line["subject"] for line in lines(log.path)} == {"somebody"}


async def test_several_actions_are_on_disk_together_before_their_block_and_read_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)

    async def read() -> str:
        return "found"

    async with log.actions(ACTOR, "sign", "b" * 32, [{"n": 1}, {"n": 2}], read()) as (told, found):
        assert [(line["n"], line["phase"]) for line in lines(log.path)] == [(1, "intent"), (2, "intent")]
        told["found"] = found
    await log.stop()
    assert [(line["n"], line["outcome"], line["found"]) for line in lines(log.path)[2:]] == [
        (1, "done", "found"),
        (2, "done", "found"),
    ]


async def test_what_cannot_be_read_is_the_outcome_and_the_block_is_not_entered(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)

    async def read() -> str:
        raise NotFound()

    with pytest.raises(NotFound):
        async with log.actions(ACTOR, "sign", "b" * 32, [{}], read()):
            pytest.fail("the block was entered")
    await log.stop()
    assert [(line["phase"], line.get("outcome")) for line in lines(log.path)] == [
        ("intent", None),
        ("outcome", "not_found"),
    ]


async def test_without_room_for_the_intents_the_block_is_not_entered(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)

    async def read() -> str:
        return "found"

    await log.append({"n": 1})
    with no_room(log.path), pytest.raises(Unavailable):
        async with log.actions(ACTOR, "sign", "b" * 32, [{}, {}], read()):
            pytest.fail("the block was entered")
    await log.stop()
    assert [line["n"] for line in lines(log.path)] == [1]


async def test_a_line_says_where_it_is_once_it_is_on_disk(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    assert log.end.sequence == 0
    first, second = await asyncio.gather(log.append({"n": 1}), log.append({"n": 2}))
    raw = log.path.read_bytes().splitlines()
    assert [first, second] == [
        Position(log.end.instance, number, hashlib.sha256(raw[number - 1]).hexdigest()) for number in (2, 3)
    ]
    assert log.end == second
    await log.stop()


async def test_a_file_ends_when_it_is_full_or_the_day_is_over_and_the_chain_goes_on_in_the_next(tmp_path: Path) -> None:
    folder, clock = tmp_path / "audit", DayClock()
    log = opened(folder, clock, file_bytes=1000)
    assert not log.turn_due, "nothing was written"
    await log.append({"n": 1})
    assert not log.turn_due
    await log.append({"n": 2, "text": "x" * 1000})
    assert log.turn_due
    closing = asyncio.create_task(log.append({"action": "close"}, last=True))
    behind = [asyncio.create_task(log.append({"n": number})) for number in (3, 4)]
    await asyncio.gather(closing, *behind)
    assert not log.turn_due
    clock.days = 1
    assert log.turn_due
    await log.append({"action": "close"}, last=True)
    await log.append({"n": 5})
    await log.stop()
    first, second, third = (file.path for file in files_of(folder))
    assert sorted(folder.iterdir()) == [first, second, third], "names sort in the order of writing"
    assert json.loads(first.read_bytes().splitlines()[-1])["action"] == "close"
    opening = json.loads(second.read_bytes().splitlines()[0])
    before = first.read_bytes().splitlines()[-1]
    told = (opening["action"], opening["after"], opening["sequence"], opening["previous"])
    assert told == ("file", first.name, 5, hashlib.sha256(before).hexdigest())
    assert [line.get("n") for line in lines(second)] == [3, 4, None]
    assert [line["n"] for line in lines(third)] == [5]
    assert json.loads(first.read_bytes().splitlines()[0])["previous"] == GENESIS
    assert whole(folder) == 5


async def test_a_start_finds_the_newest_file_also_when_nothing_is_in_it_yet(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    await log.append({"n": 1}, last=True)
    await log.stop()
    [_, newest] = (file.path for file in files_of(folder))
    assert [json.loads(line)["action"] for line in newest.read_text().splitlines()] == ["file"]
    newest.write_bytes(b"")  # as a crash may leave it
    moved = files_of(folder)[0].path.rename(tmp_path / "moved")
    with pytest.raises(ChainBroken, match="the file before it is not here"):
        opened(folder)
    moved.rename(log.path.with_name(files_of(folder)[0].path.name.replace("-000000000003-", "-000000000001-")))
    log = opened(folder)
    await log.append({"n": 2})
    await log.stop()
    assert [len(lines(file.path)) for file in files_of(folder)] == [1, 1]
    assert whole(folder) == 2
    log = opened(folder)
    await log.append({"n": 3})
    await log.stop()
    assert whole(folder) == 3


async def test_a_new_file_that_cannot_be_made_leaves_the_old_one_growing(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    log = opened(folder)
    await log.append({"n": 1})
    path = log.path
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        await log.append({"n": 2}, last=True)
        await log.append({"n": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert log.path == path
    await log.stop()
    assert whole(folder) == 3


async def test_a_refusal_is_on_disk_before_it_is_told_and_without_room_nothing_is_told_at_all(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    await log.refuse(ACTOR, "sign", "b" * 32, {"rule": "method"})
    assert [(line["phase"], line["rule"]) for line in lines(log.path)] == [("refused", "method")]
    with no_room(log.path), pytest.raises(Unavailable):
        await log.refuse(ACTOR, "sign", "b" * 32, {"rule": "method"})
    await log.stop()


async def test_an_outcome_names_its_intent(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")

    async def act(number: int) -> None:
        async with log.action(ACTOR, "bind", "b" * 32, n=number):
            await asyncio.sleep(0)

    await asyncio.gather(*(act(number) for number in range(5)))
    await log.stop()
    intents = {line["sequence"]: line["n"] for line in lines(log.path) if line["phase"] == "intent"}
    outcomes = {line["intent"]: line["n"] for line in lines(log.path) if line["phase"] == "outcome"}
    assert intents == outcomes
    assert len(intents) == 5


async def test_a_text_that_is_no_unicode_harms_nobodys_line(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit")
    await asyncio.gather(log.append({"subject": "\ud800"}), log.append({"n": 1}))
    await log.stop()
    assert whole(tmp_path / "audit") == 2
