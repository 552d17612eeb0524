"""Who waits for whom before a signature: those that asked together, and not for long."""

import asyncio
from collections import defaultdict

import pytest
from verifier.bitget.budget import Caller
from verifier.bitget.rounds import TOGETHER_S, Rounds

MINE, OTHER = Caller("t" * 26, "1"), Caller("t" * 26, "2")


class Gates:
    """A budget whose turns a test gives."""

    def __init__(self) -> None:
        self.open: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.throttled = ""

    async def turn(self, caller: Caller, endpoint: str) -> None:
        await self.open[endpoint].wait()
        if endpoint == self.throttled:
            raise TimeoutError

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None: ...

    async def refused(self, caller: Caller, endpoint: str) -> None: ...


@pytest.fixture
def gates() -> Gates:
    return Gates()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def ask(rounds: Rounds, *asked: tuple[Caller, str]) -> list["asyncio.Task[None]"]:
    return [asyncio.create_task(rounds.turn(*one)) for one in asked]


async def test_the_first_wait_for_the_others_of_their_round(gates: Gates) -> None:
    tasks = ask(Rounds(gates), (MINE, "a"), (MINE, "b"), (MINE, "c"))
    await settled()
    for name in ("a", "b"):
        gates.open[name].set()
        await settled()
        assert not any(task.done() for task in tasks)
    gates.open["c"].set()
    await settled()
    assert all(task.done() for task in tasks)


async def test_a_turn_that_comes_late_holds_nobody_up_for_long(gates: Gates) -> None:
    early, late = ask(Rounds(gates), (MINE, "a"), (MINE, "b"))
    gates.open["a"].set()
    await asyncio.wait_for(early, 50 * TOGETHER_S)
    assert not late.done()
    gates.open["b"].set()
    await late


async def test_a_turn_that_is_refused_holds_nobody_up(gates: Gates) -> None:
    gates.throttled = "b"
    early, refused = ask(Rounds(gates), (MINE, "a"), (MINE, "b"))
    for name in ("a", "b"):
        gates.open[name].set()
        await settled()
    assert early.done()
    with pytest.raises(TimeoutError):
        await refused


async def test_nobody_waits_for_another_caller_or_for_who_asks_later(gates: Gates) -> None:
    rounds = Rounds(gates)
    mine, other = ask(rounds, (MINE, "a"), (OTHER, "b"))
    await settled()
    [later] = ask(rounds, (MINE, "c"))
    await settled()
    gates.open["a"].set()
    await settled()
    assert (mine.done(), other.done(), later.done()) == (True, False, False)
    for task in (other, later):
        task.cancel()
