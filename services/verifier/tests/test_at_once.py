"""What is asked of a key at once, and what one after the other: that changes how long it takes, never the verdict."""

import asyncio
from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as types

pytestmark = pytest.mark.usefixtures("no_limits")

INFO, SETTINGS, ASSETS = (f"/api/v3/account/{name}" for name in ("info", "settings", "assets"))


def _only_together(bench: Any, count: int) -> None:
    """Sign nothing before so many different reads have been asked for."""
    sign, asked = bench.vault.sign, set()

    async def together(tenant: str, binding: str, request: Any, *rest: Any) -> Any:
        asked.add((request.path, tuple((one.name, one.value) for one in request.query)))
        async with asyncio.timeout(10):
            while len(asked) < count:
                await asyncio.sleep(0.01)
        return await sign(tenant, binding, request, *rest)

    bench.vault.sign = together


@pytest.mark.parametrize(("name", "count"), [("unified-trader", 3), ("classic-trader", 7)])
async def test_a_key_that_answered_is_asked_everything_at_once_and_judged_alike(
    bench: Any, name: str, count: int
) -> None:
    binding = bench.vault.bind(bench.exchange.named(name))
    await bench.verify(binding)
    first, writes = bench.vault.signed[:], bench.vault.transitions
    _only_together(bench, count)
    assert (await bench.verify(binding)).verified
    assert sorted(bench.vault.signed[len(first) :]) == sorted(first)
    assert bench.vault.transitions == writes


async def test_a_new_key_and_one_that_did_not_answer_are_asked_for_themselves_first(bench: Any) -> None:
    bench.fault(kind="html")
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    assert set(bench.vault.signed) == {INFO}
    bench.exchange.faults.replace([])
    await bench.verify(binding)
    bench.fault(kind="html")
    await bench.verify(binding)  # becomes stale
    asked = len(bench.vault.signed)
    await bench.verify(binding)
    assert set(bench.vault.signed[asked:]) == {INFO}


async def test_of_a_key_asked_everything_at_once_the_first_answer_decides(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.fault(kind="error", code="40014", status=400, path=ASSETS)  # no right to read what it holds
    bench.change("unified-trader", ips=["203.0.113.99"])
    await bench.verify(binding)
    verdict = bench.vault.records[binding.id].verdict
    assert (verdict.status, verdict.reason) == (types.STATUS_DISCONNECTED, types.REASON_IP_NOT_WHITELISTED)
    assert verdict.findings[0].evidence.endpoint == f"GET {INFO}"


async def test_a_key_whose_account_has_changed_its_mode_is_asked_anew(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.change("unified-trader", mode="classic", authorities=["stor", "stow", "coor", "coow", "cpor", "cpow"])
    await bench.verify(binding)
    verdict = bench.vault.records[binding.id].verdict
    assert (verdict.status, verdict.account.mode) == (types.STATUS_CONNECTED, types.ACCOUNT_MODE_CLASSIC)
