"""The drill of mixed load in short, and that its rules can be broken.

The long one is `make drill-load`; both are tests/bench/mixed.py.
"""

import os
from pathlib import Path
from typing import Any, cast

import pytest

from tests.bench.mixed import Customers, Tally, drill
from tests.bench.resident import Memory


@pytest.mark.timeout(400)
def test_customers_and_services_at_once_meet_no_error_and_no_limit(tmp_path: Path) -> None:
    said: list[str] = []
    summary = drill(tmp_path, minutes=0.1, lasting=8, hot=1, say=said.append)
    assert summary["passed"], (summary, said)
    assert summary["calls_of_the_exchange"] > 50


async def test_a_call_that_fails_is_told_with_what_was_said() -> None:
    async def refused() -> None:
        raise RuntimeError("the exchange answered 40014")

    tally = Tally()
    assert await tally.do("order", refused()) is None
    assert tally.failed == ["order: RuntimeError the exchange answered 40014"]
    assert tally.table() == {}


def test_an_event_that_is_missing_or_out_of_order_is_told() -> None:
    customers = Customers(cast(Any, None), Tally())
    customers.expected = {"a": ["pending", "connected"], "b": ["pending", "connected"], "c": ["pending", "connected"]}
    customers.told.update({"a": ["pending", "connected"], "b": ["connected", "pending"]})
    assert [line[0] for line in customers.wrong()] == ["b", "c"]


@pytest.mark.parametrize(("last", "grown"), [(90.0, False), (93.0, False), (120.0, True)])
def test_a_process_that_grows_after_it_is_warm_is_told(last: float, grown: bool) -> None:
    memory = Memory({"gateway": os.getpid()})
    memory.samples["gateway"] = [40.0, 85.0, 90.0, 90.0, 90.0, 91.0, last, last]
    assert bool(memory.grown()) is grown
    memory.sample()
    assert memory.samples["gateway"][-1] > 1
