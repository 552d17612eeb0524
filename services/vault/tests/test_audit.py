"""The audit file: chained, durable before use, and honest about what it lost."""

import asyncio
import json
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from common.clock import SystemClock
from common.errors import NotFound, Unavailable
from vault.actor import Actor
from vault.audit import AuditLog, ChainBroken, check

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


def opened(path: Path) -> AuditLog:
    log = AuditLog(path, SystemClock())
    log.start()
    return log


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_lines_are_chained_across_restarts_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        log = opened(path)
        await log.append({"action": "test"})
        await log.stop()
    assert [line["sequence"] for line in lines(path)] == [1, 2, 3]
    assert check(path) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_thousand_appends_at_once_are_all_there_in_order(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit.jsonl")
    await asyncio.gather(*(log.append({"n": number}) for number in range(1000)))
    await log.stop()
    assert [line["n"] for line in lines(tmp_path / "audit.jsonl")] == list(range(1000))
    assert check(tmp_path / "audit.jsonl") == 1000


@pytest.mark.parametrize("change", ["edit", "drop", "swap", "repeat"])
async def test_a_changed_missing_or_reordered_line_is_found(tmp_path: Path, change: str) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    for number in range(5):
        await log.append({"n": number})
    await log.stop()
    raw = path.read_bytes().splitlines(keepends=True)
    changed = {
        "edit": [*raw[:2], raw[2].replace(b'"n":2', b'"n":7'), *raw[3:]],
        "drop": raw[:2] + raw[3:],
        "swap": [*raw[:2], raw[3], raw[2], raw[4]],
        "repeat": [*raw[:3], raw[2], *raw[3:]],
    }[change]
    path.write_bytes(b"".join(changed))
    with pytest.raises(ChainBroken, match=r"line [345] does not follow"):
        check(path)


async def test_a_torn_last_line_is_cut_and_the_chain_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    await log.append({"n": 1})
    await log.stop()
    with path.open("ab") as file:
        file.write(b'{"n":2,"sequ')
    log = opened(path)
    await log.append({"n": 3})
    await log.stop()
    assert [line["n"] for line in lines(path)] == [1, 3]
    assert check(path) == 2


async def test_an_end_that_is_not_ours_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text("something else\n")
    with pytest.raises(ChainBroken):
        AuditLog(path, SystemClock()).start()


async def test_a_second_process_cannot_hold_the_same_file(tmp_path: Path) -> None:
    log = opened(tmp_path / "audit.jsonl")
    with pytest.raises(BlockingIOError):
        AuditLog(tmp_path / "audit.jsonl", SystemClock()).start()
    await log.stop()


async def test_a_full_disk_refuses_leaves_no_half_line_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    await log.append({"n": 1})
    with no_room(path):
        with pytest.raises(Unavailable) as refused:
            await log.append({"n": 2})
        assert refused.value.reason == "audit_unavailable"
        assert len(lines(path)) == 1
    await log.append({"n": 3})
    await log.stop()
    assert [line["n"] for line in lines(path)] == [1, 3]
    assert check(path) == 2


async def test_a_file_cut_by_somebody_refuses_further_actions(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    await log.append({"n": 1})
    path.write_bytes(b"")
    with pytest.raises(Unavailable):
        await log.append({"n": 2})
    await log.stop()
    assert path.read_bytes() == b""


async def test_an_action_leaves_intent_and_outcome_also_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)
    async with log.action(ACTOR, "bind", "b" * 32, rule="r") as told:
        assert lines(path)[-1]["phase"] == "intent"
        told["revision"] = 1
    with pytest.raises(NotFound):
        async with log.action(ACTOR, "revoke", "b" * 32):
            raise NotFound()
    with pytest.raises(asyncio.CancelledError):
        async with log.action(ACTOR, "sign", "b" * 32):
            raise asyncio.CancelledError
    await log.stop()
    told_lines = [(line["action"], line["phase"], line.get("outcome")) for line in lines(path)]
    assert told_lines == [
        ("bind", "intent", None),
        ("bind", "outcome", "done"),
        ("revoke", "intent", None),
        ("revoke", "outcome", "not_found"),
        ("sign", "intent", None),
        ("sign", "outcome", "interrupted"),
    ]
    assert {line["subject"] for line in lines(path)} == {"somebody"}


async def test_several_actions_are_on_disk_together_before_their_block_and_read_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)

    async def read() -> str:
        return "found"

    async with log.actions(ACTOR, "sign", "b" * 32, [{"n": 1}, {"n": 2}], read()) as (told, found):
        assert [(line["n"], line["phase"]) for line in lines(path)] == [(1, "intent"), (2, "intent")]
        told["found"] = found
    await log.stop()
    assert [(line["n"], line["outcome"], line["found"]) for line in lines(path)[2:]] == [
        (1, "done", "found"),
        (2, "done", "found"),
    ]


async def test_what_cannot_be_read_is_the_outcome_and_the_block_is_not_entered(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)

    async def read() -> str:
        raise NotFound()

    with pytest.raises(NotFound):
        async with log.actions(ACTOR, "sign", "b" * 32, [{}], read()):
            pytest.fail("the block was entered")
    await log.stop()
    assert [(line["phase"], line.get("outcome")) for line in lines(path)] == [
        ("intent", None),
        ("outcome", "not_found"),
    ]


async def test_without_room_for_the_intents_the_block_is_not_entered(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = opened(path)

    async def read() -> str:
        return "found"

    await log.append({"n": 1})
    with no_room(path), pytest.raises(Unavailable):
        async with log.actions(ACTOR, "sign", "b" * 32, [{}, {}], read()):
            pytest.fail("the block was entered")
    await log.stop()
    assert [line["n"] for line in lines(path)] == [1]
