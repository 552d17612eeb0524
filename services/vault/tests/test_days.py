"""What is counted of a day: together never above the cap, once for each, durable before anybody is told."""

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

import pytest
from common.errors import PolicyRefused, Unavailable
from vault import days as module
from vault.days import Days
from vault.store import Applied, Document, NotApplied, OwnCollection, Unknown, Why

MIDDAY = 43_200.0


class Seen:
    """The service's own documents on Vault, with what was asked of them; a test says what becomes of writes."""

    def __init__(self, own: Any) -> None:
        self._own = own
        self.asked: list[str] = []
        self.fates: list[str] = []  # of the next writes: lost, unknown, overtaken; then they are as Vault says

    async def read(self, collection: OwnCollection, name: str) -> Document | None:
        self.asked.append("read")
        found: Document | None = await self._own.read(collection, name)
        return found

    async def write(self, collection: OwnCollection, name: str, data: Mapping[str, Any], cas: int) -> Any:
        self.asked.append("write")
        fate = self.fates.pop(0) if self.fates else ""
        if fate == "lost":
            return Unknown()
        if fate == "overtaken":  # by another process, with the same sum
            same = module.Day(date.fromisoformat(data["day"]), int(data["counted"]), cas)
            await self._own.write(collection, name, same.document(), cas)
            return Unknown()
        if fate == "conflict":
            return NotApplied(Why.CONFLICT)
        outcome = await self._own.write(collection, name, data, cas)
        return Unknown() if fate == "unknown" and isinstance(outcome, Applied) else outcome

    async def names(self, collection: Any) -> list[str]:
        names: list[str] = await self._own.names(collection)
        return names


@pytest.fixture
def seen(parts: Any) -> Seen:
    return Seen(parts.own)


@pytest.fixture
def midday(clock: Any) -> Any:
    """The test's clock at noon, so that no test sees a midnight that it did not make."""
    clock.ahead += MIDDAY - clock.unix() % 86_400
    return clock


@pytest.fixture
def days(seen: Seen, midday: Any) -> Days:
    return Days(seen, midday)  # type: ignore[arg-type]


async def counted(parts: Any, tenant: str) -> int:
    """Return the sum that Vault has of a tenant's day."""
    found = await parts.own.read("days", tenant)
    return int(found.data["counted"]) if found else 0


async def ends(*work: Any) -> list[str]:
    """Return how each ends: empty when it was counted, else its rule or reason."""

    def end(one: Any) -> str:
        if isinstance(one, PolicyRefused):
            return str(one.extra["rule"])
        return one.reason if isinstance(one, Unavailable) else repr(one) if one else ""

    return [end(one) for one in await asyncio.gather(*work, return_exceptions=True)]


async def test_amounts_count_until_the_cap_exactly_and_what_is_refused_counts_nothing(
    days: Days, parts: Any, tenant: str
) -> None:
    assert await ends(days.count(tenant, 60, 100), days.count(tenant, 41, 100)) == ["", "tenant_daily_notional"]
    assert await ends(days.count(tenant, 40, 100)) == [""]
    assert await ends(days.count(tenant, 1, 100)) == ["tenant_daily_notional"]
    assert await counted(parts, tenant) == 100
    assert await ends(days.count(tenant, 1, 101)) == [""], "a cap that is raised holds at once"
    assert await ends(days.count(tenant, 1, 50)) == ["tenant_daily_notional"], "and one that is lowered too"


async def test_two_processes_together_never_exceed_the_cap_and_use_it_up(
    make: Any, parts: Any, midday: Any, tenant: str
) -> None:
    other = await make()
    both = Days(parts.own, midday), Days(other.own, midday)

    async def one_after_the_other(mine: Days) -> list[str]:
        return [end for _ in range(10) for end in await ends(mine.count(tenant, 30, 1000))]

    groups = await asyncio.gather(*(one_after_the_other(both[number % 2]) for number in range(8)))
    told = [end for group in groups for end in group]
    assert set(told) <= {"", "tenant_daily_notional"}
    assert told.count("") == 33
    assert await counted(parts, tenant) == 990
    left = await ends(*(each.count(tenant, 10, 1000) for each in both for _ in range(2)))
    assert sorted(left) == ["", *["tenant_daily_notional"] * 3]


async def test_what_comes_while_a_write_is_under_way_goes_into_the_next_one_and_the_sum_is_not_read_again(
    days: Days, seen: Seen, parts: Any, tenant: str
) -> None:
    assert set(await ends(*(days.count(tenant, 1, 1000) for _ in range(50)))) == {""}
    assert seen.asked in (["read", "write"], ["read", "write", "write"])
    seen.asked.clear()
    assert await ends(days.count(tenant, 1, 1000)) == [""]
    assert await ends(days.count(tenant, 950, 1000)) == ["tenant_daily_notional"]
    assert seen.asked == ["write"]
    assert await counted(parts, tenant) == 51


async def test_a_write_of_unknown_fate_that_was_made_counts_once(
    days: Days, seen: Seen, parts: Any, tenant: str
) -> None:
    seen.fates = ["unknown"]
    assert await ends(days.count(tenant, 7, 100)) == [""]
    assert await counted(parts, tenant) == 7


async def test_a_write_that_was_not_made_is_told_and_counts_nothing(
    days: Days, seen: Seen, parts: Any, tenant: str
) -> None:
    seen.fates = ["lost"]
    assert await ends(days.count(tenant, 7, 100), days.count(tenant, 8, 100)) == ["vault_unavailable"] * 2
    assert await counted(parts, tenant) == 0
    assert await ends(days.count(tenant, 8, 100)) == [""]
    assert await counted(parts, tenant) == 8


async def test_another_processs_write_of_the_same_sum_is_not_taken_for_ones_own(
    days: Days, seen: Seen, parts: Any, tenant: str
) -> None:
    seen.fates = ["overtaken"]
    assert await ends(days.count(tenant, 7, 100)) == [""]
    assert await counted(parts, tenant) == 14


async def test_writes_that_others_are_always_ahead_of_end_as_unavailable(
    days: Days, seen: Seen, parts: Any, tenant: str
) -> None:
    seen.fates = ["conflict"] * module.ATTEMPTS
    assert await ends(days.count(tenant, 7, 100)) == ["day_contended"]
    assert seen.asked.count("write") == module.ATTEMPTS
    assert await counted(parts, tenant) == 0


async def test_a_new_day_begins_at_nothing_and_a_clock_that_is_behind_does_not_bring_the_old_one_back(
    days: Days, midday: Any, parts: Any, tenant: str
) -> None:
    behind = Days(parts.own, type(midday)())
    assert await ends(days.count(tenant, 100, 100), days.count(tenant, 1, 100)) == ["", "tenant_daily_notional"]
    midday.ahead += 86_400 - MIDDAY - 0.5
    assert await ends(days.count(tenant, 1, 100)) == ["tenant_daily_notional"], "until the last moment"
    midday.ahead += 1
    assert await ends(days.count(tenant, 90, 100)) == [""]
    assert await counted(parts, tenant) == 90
    assert await ends(behind.count(tenant, 11, 100), behind.count(tenant, 10, 100)) == ["tenant_daily_notional", ""]
    assert await counted(parts, tenant) == 100


async def test_tenants_count_apart(days: Days, server: Any, parts: Any, tenant: str) -> None:
    other = server.tenant()
    assert await ends(days.count(tenant, 100, 100), days.count(other, 100, 100)) == ["", ""]
    assert [await counted(parts, one) for one in (tenant, other)] == [100, 100]


async def test_who_is_gone_before_it_was_counted_counts_nothing_and_holds_nobody_up(
    days: Days, parts: Any, tenant: str
) -> None:
    first = asyncio.create_task(days.count(tenant, 1, 100))
    await asyncio.sleep(0)
    gone, stays = (asyncio.create_task(days.count(tenant, amount, 100)) for amount in (90, 50))
    await asyncio.sleep(0)
    gone.cancel()
    assert await ends(first, stays) == ["", ""]
    assert await counted(parts, tenant) == 51


@pytest.mark.parametrize(
    "data", [{}, {"day": "today", "counted": "1"}, {"day": "2026-01-01", "counted": "many"}, {"day": 1, "counted": "1"}]
)
async def test_a_day_that_nobody_can_read_may_be_full(
    days: Days, parts: Any, tenant: str, data: Mapping[str, Any]
) -> None:
    await parts.own.write("days", tenant, data, 0)
    assert await ends(days.count(tenant, 1, 100)) == ["day_unreadable"]
