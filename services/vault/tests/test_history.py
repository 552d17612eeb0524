"""A tenant's own lines out of many files: all of them once, the newest first, and nothing of anybody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from common import trail
from common.clock import SystemClock
from common.errors import InvalidArgument
from vault import history
from vault.actor import Actor
from vault.audit import AuditLog
from vault.history import History, Page, Wanted

MINE, OTHER = "m" * 26, "o" * 26
BINDINGS = ["a" * 32, "b" * 32]
FILES, ACTIONS = 4, 30


class Minutes(SystemClock):
    """A clock that goes on by a minute with every line."""

    def __init__(self) -> None:
        self.now = 1_795_000_000.0

    def unix(self) -> float:
        self.now += 60
        return self.now


@pytest.fixture
async def audit(tmp_path: Path) -> AsyncIterator[AuditLog]:
    """Four files in which two tenants' actions alternate, one of mine after two of the other's."""
    log = AuditLog(tmp_path / "audit", Minutes())
    log.start()
    for _ in range(FILES):
        for number in range(ACTIONS):
            tenant = OTHER if number % 3 else MINE
            async with log.action(Actor(tenant, "worker", f"of-{tenant}"), "sign", BINDINGS[number % 2], kind=tenant):
                pass
        await log.append({"action": "close", "tenant_of_the_day": MINE}, last=True)
    await log.append({"action": "close"})
    yield log
    await log.stop()


def own_of(log: AuditLog) -> list[dict[str, Any]]:
    """Return my lines as they stand in the files, the newest first."""
    files = trail.files_of(log.path.parent)
    lines = [json.loads(line) for file in files for line in file.path.read_bytes().splitlines()]
    return [line for line in lines if line.get("tenant") == MINE][::-1]


async def pages(read: Callable[[str], Any]) -> list[Page]:
    """Follow the cursors to the end."""
    made = [await read("")]
    while made[-1].cursor:
        assert len(made) < 1000
        made.append(await read(made[-1].cursor))
    return made


@pytest.mark.parametrize("block", [200, 700, history.BLOCK])
@pytest.mark.parametrize("limit", [1, 7, 100])
async def test_every_own_line_comes_once_in_whatever_pages(audit: AuditLog, limit: int, block: int) -> None:
    reader = History(audit, block=block)
    read = await pages(lambda cursor: reader.page(Wanted(MINE), cursor, limit))
    found = [line for page in read for line in page.lines]
    assert [fields for fields, _ in found] == own_of(audit)
    assert len(found) == FILES * ACTIONS // 3 * 2
    assert all(digest == trail.digest(trail.canonical(fields)) for fields, digest in found)
    assert {len(page.lines) for page in read[:-1]} <= {limit}
    assert OTHER not in json.dumps([fields for fields, _ in found])


async def test_a_page_looks_at_a_bounded_part_says_how_far_and_goes_on(audit: AuditLog) -> None:
    reader = History(audit, look=2000)
    read = await pages(lambda cursor: reader.page(Wanted(MINE), cursor, 100))
    assert len(read) == FILES + 1, "a block may be more than is left"
    assert [fields for page in read for fields, _ in page.lines] == own_of(audit)
    looked = [page.looked_back_to for page in read]
    assert looked == sorted(looked, reverse=True)
    stranger = await pages(lambda cursor: reader.page(Wanted("s" * 26), cursor, 100))
    assert [page.lines for page in stranger] == [[]] * len(read)
    assert [page.looked_back_to for page in stranger] == looked


async def test_binding_and_times_filter_and_stop_the_search(audit: AuditLog) -> None:
    own, reader = own_of(audit), History(audit)

    async def found(**wanted: str) -> list[dict[str, Any]]:
        read = await pages(lambda cursor: reader.page(Wanted(MINE, **wanted), cursor, 100))
        return [fields for page in read for fields, _ in page.lines]

    assert await found(binding=BINDINGS[1]) == [line for line in own if line["binding"] == BINDINGS[1]]
    for since, until in ((own[50]["time"], own[10]["time"]), (own[-1]["time"], own[-3]["time"]), ("", own[60]["time"])):
        wanted = [line for line in own if since <= line["time"] < until]
        assert await found(since=since, until=until) == wanted
        assert len(wanted) in (40, 2, 19)
    assert await found(since=own[0]["time"], binding=BINDINGS[0]) == []
    late = await History(audit, look=1 << 30).page(Wanted(MINE, since="2999-01-01T00:00:00.000Z"), "", 10)
    assert (late.lines, late.cursor) == ([], "")
    [first, *_] = trail.files_of(audit.path.parent)
    assert late.looked_back_to > json.loads(first.path.read_bytes().splitlines()[0])["time"], "it stopped at once"


async def test_lines_written_meanwhile_move_no_page(audit: AuditLog) -> None:
    reader, own = History(audit), own_of(audit)
    first = await reader.page(Wanted(MINE), "", 10)
    async with audit.action(Actor(MINE, "worker"), "sign", BINDINGS[0]):
        pass
    await audit.append({"action": "close"}, last=True)
    second = await reader.page(Wanted(MINE), first.cursor, 10)
    assert [fields for page in (first, second) for fields, _ in page.lines] == own[:20]


async def test_what_is_not_on_disk_for_sure_and_what_was_spoilt_is_not_shown(audit: AuditLog) -> None:
    reader = History(audit)
    async with audit.action(Actor(MINE, "worker"), "sign", BINDINGS[0]):
        pass
    await audit.append({"action": "close"})
    with audit.path.open("ab") as file:
        file.write(audit.path.read_bytes().splitlines(keepends=True)[-2])
    oldest = trail.files_of(audit.path.parent)[0].path
    oldest.write_bytes(oldest.read_bytes().replace(b'"intent","previous"', b'"intent", "previous"', 1))
    read = await pages(lambda cursor: reader.page(Wanted(MINE), cursor, 100))
    lines = [fields["sequence"] for page in read for fields, _ in page.lines]
    assert len(lines) == len(set(lines))


async def test_a_line_that_only_mentions_a_tenant_is_not_its_own(audit: AuditLog) -> None:
    line = {"action": "sign", "phase": "outcome", "tenant": OTHER, "binding": BINDINGS[0], "about": {"tenant": MINE}}
    await audit.append(line)
    page = await History(audit).page(Wanted(MINE), "", 1)
    assert [fields for fields, _ in page.lines] == own_of(audit)[:1]


async def test_a_file_that_was_moved_away_leaves_the_others(audit: AuditLog) -> None:
    reader, files = History(audit), trail.files_of(audit.path.parent)
    first = await reader.page(Wanted(MINE), "", 25)
    files[2].path.unlink()
    read = await pages(lambda cursor: reader.page(Wanted(MINE), cursor or first.cursor, 100))
    assert len([line for page in read for line in page.lines]) == 2 * ACTIONS // 3 * 2


@pytest.mark.parametrize("cursor", ["x", "0123456789abcdef.1.2", "../../etc/passwd", f"{'0' * 16}.{'9' * 15}.1"])
async def test_a_cursor_of_another_process_is_refused(audit: AuditLog, cursor: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await History(audit).page(Wanted(MINE), cursor, 10)
    assert refused.value.extra == {"field": "cursor"}


async def test_few_pages_are_read_at_once(audit: AuditLog) -> None:
    reader = History(audit)
    made = await asyncio.gather(*(reader.page(Wanted(MINE), "", 100) for _ in range(20)))
    assert all(page == made[0] for page in made)
