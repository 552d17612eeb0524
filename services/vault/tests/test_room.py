"""A tenant has no more living bindings than it may, whoever binds; what ends gives room, and a repeat needs none."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import AlreadyExists, InvalidArgument, PolicyRefused
from vault import room
from vault.actor import Actor
from vault.asked import Asked, asked
from vault.store import Applied

Wanted = Callable[..., Asked]


class Killed(BaseException):
    """The process is no more."""


class DieAt:
    """Steps of a process that dies at one of them, and forgets what it knew."""

    def __init__(self, step: str) -> None:
        self._step = step

    def reached(self, step: str) -> None:
        if step == self._step:
            raise Killed


async def bind(parts: Any, actor: Actor, wanted: Asked, most: int) -> str:
    return str((await parts.bindings.bind(actor, wanted, most))[0].id)


async def full(parts: Any, actor: Actor, wanted: Wanted, most: int) -> bool:
    """Tell whether one more is refused."""
    try:
        await bind(parts, actor, wanted(), most)
    except PolicyRefused:
        return True
    return False


async def test_one_more_than_the_limit_is_refused_by_a_rule_that_says_what_to_do(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    bound = [await bind(parts, actor, wanted(), 2) for _ in range(2)]
    one = wanted()
    with pytest.raises(PolicyRefused) as refused:
        await bind(parts, actor, one, 2)
    assert (refused.value.reason, refused.value.extra["rule"]) == ("bindings_limit", "bindings_limit")
    assert "2 living bindings" in refused.value.detail
    assert "Revoke one" in refused.value.detail
    assert set(await parts.documents.names(actor.tenant, "bindings")) == set(bound)
    assert not await parts.keys.exists(actor.tenant, one.binding_id), "nothing of it is stored"
    assert await parts.documents.read(actor.tenant, "credentials", one.binding_id) is None


async def test_without_a_limit_nothing_is_counted(parts: Any, actor: Actor, wanted: Wanted) -> None:
    await bind(parts, actor, wanted(), 0)
    assert await parts.own.read("counts", actor.tenant) is None


async def test_what_was_bound_before_there_was_a_limit_counts(parts: Any, actor: Actor, wanted: Wanted) -> None:
    ended, *_ = [await bind(parts, actor, wanted(), 0) for _ in range(3)]
    await parts.bindings.revoke(actor, ended)
    assert not await full(parts, actor, wanted, 3)
    assert await full(parts, actor, wanted, 3)


async def test_a_repeat_of_a_bind_is_answered_although_there_is_no_room(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    one = wanted()
    name = await bind(parts, actor, one, 1)
    assert await full(parts, actor, wanted, 1)
    assert await parts.bindings.bind(actor, one, 1) == (
        (await parts.bindings.records.load(actor.tenant, name)).binding,
        False,
    )


async def test_a_revocation_gives_room_at_once_and_its_repeat_no_more(
    make: Any, parts: Any, actor: Actor, wanted: Wanted
) -> None:
    other = await make()
    bound = [await bind(parts, actor, wanted(), 2) for _ in range(2)]
    assert await full(other, actor, wanted, 2)
    for _ in range(3):
        await other.bindings.revoke(actor, bound[0])
    assert not await full(parts, actor, wanted, 2)
    assert await full(parts, actor, wanted, 2)
    assert await full(other, actor, wanted, 2)


@pytest.mark.parametrize("repeats", range(2))
async def test_processes_together_let_in_exactly_as_many_as_there_is_room_for(
    make: Any, actor: Actor, wanted: Wanted, repeats: int
) -> None:
    processes = [await make() for _ in range(3)]
    results = await asyncio.gather(
        *(bind(processes[number % 3], actor, wanted(), 5) for number in range(18)), return_exceptions=True
    )
    assert len([one for one in results if isinstance(one, str)]) == 5
    assert all(isinstance(one, PolicyRefused) for one in results if not isinstance(one, str)), results
    assert len(await processes[0].documents.names(actor.tenant, "bindings")) == 5


async def test_a_bind_that_is_refused_for_what_it_is_takes_no_room(parts: Any, actor: Actor, wanted: Wanted) -> None:
    one = wanted()
    await bind(parts, actor, one, 2)
    for _ in range(3):
        with pytest.raises(AlreadyExists):
            await bind(parts, actor, wanted(api_key=one.api_key.reveal()), 2)
    assert not await full(parts, actor, wanted, 2)
    assert await full(parts, actor, wanted, 2)


async def test_a_sealed_secret_that_cannot_be_read_takes_no_room(
    parts: Any, actor: Actor, wanted: Wanted, sealed_request_of: Any
) -> None:
    request = await sealed_request_of()
    request.credential.wrapped_secret = request.credential.wrapped_secret[:-8] + "AAAAAAA="
    with pytest.raises(InvalidArgument):
        await bind(parts, actor, asked(actor.tenant, request), 1)
    assert not await full(parts, actor, wanted, 1)


@pytest.mark.parametrize(
    ("step", "came_to_be"), [("bind.claimed", False), ("bind.stored", False), ("bind.recorded", True)]
)
async def test_a_killed_bind_counts_once_a_minute_later_if_it_came_to_be(
    make: Any, parts: Any, actor: Actor, wanted: Wanted, clock: Any, step: str, came_to_be: bool
) -> None:
    mortal, one = await make(steps=DieAt(step)), wanted()
    with pytest.raises(Killed):
        await bind(mortal, actor, one, 2)
    assert not await full(parts, actor, wanted, 2)
    assert await full(parts, actor, wanted, 2), "its place is kept while nobody knows"
    clock.ahead += 61 + room.RECOUNT_S
    assert await full(parts, actor, wanted, 2) is came_to_be
    assert await full(parts, actor, wanted, 2)


async def test_a_killed_bind_is_finished_by_its_repeat_in_the_place_that_it_has(
    make: Any, parts: Any, actor: Actor, wanted: Wanted
) -> None:
    mortal, one = await make(steps=DieAt("bind.imported")), wanted()
    with pytest.raises(Killed):
        await bind(mortal, actor, one, 1)
    assert await full(parts, actor, wanted, 1)
    assert await bind(parts, actor, one, 1) == one.binding_id
    assert await full(parts, actor, wanted, 1)


async def test_the_room_of_a_killed_revocation_comes_back_by_a_recount(
    make: Any, parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    bound = [await bind(parts, actor, wanted(), 2) for _ in range(2)]
    mortal = await make(steps=DieAt("revoke.destroyed"))
    with pytest.raises(Killed):
        await mortal.bindings.revoke(actor, bound[0])
    await parts.bindings.revoke(actor, bound[0])
    clock.ahead += room.RECOUNT_S
    assert not await full(parts, actor, wanted, 2)
    assert await full(parts, actor, wanted, 2)


async def test_the_reconciler_puts_a_wrong_count_right_and_is_not_misled_by_what_comes_and_goes(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    bound = [await bind(parts, actor, wanted(), 9) for _ in range(3)]
    wrong = await parts.own.read("counts", actor.tenant)
    data = {**wrong.data, "living": 7}
    assert isinstance(await parts.own.write("counts", actor.tenant, data, wrong.version), Applied)
    await parts.reconciler.round()
    assert (await parts.room.count(actor.tenant)).taken == 3
    before = await parts.room.count(actor.tenant)
    counted = await parts.room.recounts(actor.tenant)
    await parts.bindings.revoke(actor, bound[0])
    assert await parts.room.recount(actor.tenant, before, set(bound)) is None, "it changed meanwhile"
    await parts.reconciler.round()
    await parts.room.left(actor.tenant, bound[0], counted)
    assert (await parts.room.count(actor.tenant)).taken == 2, "what was recounted since is not taken away again"


async def test_a_count_that_nobody_has_put_right_for_long_is_counted_anew(
    parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    await bind(parts, actor, wanted(), 2)
    await bind(parts, actor, wanted(), 0)  # while there is no limit
    clock.ahead += room.TRUSTED_S + 1
    assert await full(parts, actor, wanted, 2)
