"""Caps at the whole service: what a caller is told, what is counted, and what it costs whoever has none."""

import asyncio
import json
from typing import Any

import pytest
from common.errors import PolicyRefused
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest
from vault.denials import Denials
from vault.rules import Rules

from services.vault.tests.test_signing_for_callers import CANCEL, FILLS, FUTURES_ORDER, Bound


def order(worth: str, **other: str) -> ExchangeRequest:
    body = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": worth, "size": "1", **other}
    return ExchangeRequest(method="POST", path="/api/v2/spot/trade/place-order", body=json.dumps(body).encode())


@pytest.fixture
def bound(world: Any, connect: Any, server: Any, request_of: Any) -> Any:
    async def make(denials: Denials) -> Bound:
        made = Bound(world, connect, server.tenant(Rules((), 0, denials)), request_of())
        await made.bind()
        await made.become(types.STATUS_CONNECTED)
        return made

    return make


def counted(server: Any, tenant: str) -> str:
    """Return what Vault has of a tenant's day, in units."""
    return str(server.admin.read(f"strongroom/data/days/{tenant}")["data"]["data"]["counted"])


def days_asked(server: Any, tenant: str) -> int:
    """Return how many requests Vault's own log has of a tenant's day."""
    return sum(f"data/days/{tenant}" in line for line in (server.bao.home / "audit.log").read_text().splitlines())


async def refused(work: Any) -> tuple[str, str]:
    with pytest.raises(PolicyRefused) as refusal:
        await work
    return str(refusal.value.extra["rule"]), refusal.value.detail


async def test_an_order_above_the_cap_is_not_signed_and_the_caller_is_told_what_to_do(bound: Any, told: Any) -> None:
    made = await bound(Denials(max_order_notional="600"))
    rule, words = await refused(made.sign(order("600"), order("600.01")))
    assert rule == "tenant_order_notional"
    assert "smaller" in words
    rule, words = await refused(made.sign(FUTURES_ORDER))
    assert rule == "tenant_notional_unknown"
    assert "limit orders" in words
    assert (await refused(made.login()))[0] == "tenant_denied"
    assert await made.signed_lines(told) == []
    assert len((await made.sign(order("600"), order("1"), CANCEL, FILLS)).signed) == 4


async def test_a_day_counts_every_signature_and_what_is_above_is_not_signed_and_stands_in_the_trail(
    bound: Any, server: Any, told: Any
) -> None:
    made = await bound(Denials(max_daily_notional="1000"))
    assert (await made.sign(order("300"), order("200"))).signed
    assert (await made.sign(order("200"), FILLS, CANCEL)).signed
    assert (await made.sign(order("200"))).signed, "the same order once more counts once more"
    rule, words = await refused(made.sign(order("100.00000001")))
    assert rule == "tenant_daily_notional"
    assert "tomorrow" in words
    assert (await refused(made.sign(order("60"), order("60"))))[0] == rule
    assert (await refused(made.sign(order("1000.1"))))[0] == rule
    assert (await made.sign(order("100"))).signed
    assert (await made.sign(CANCEL, FILLS)).signed
    assert counted(server, made.tenant) == str(1000 * 10**8)
    lines = [one for one in told(made.world.folder / "audit") if one["binding"] == made.id]
    refusals = [one for one in lines if one.get("rule") == rule and one.get("outcome") != "done"]
    assert len({one["request_digest"] for one in refusals}) == 3
    assert (await made.signed_lines(told)).count("spot_trade") == 7


async def test_orders_at_once_never_exceed_the_day_and_use_it_up(bound: Any, server: Any) -> None:
    made = await bound(Denials(max_daily_notional="1000"))
    told = await asyncio.gather(*(made.sign(order("90")) for _ in range(30)), return_exceptions=True)
    refusals = [one for one in told if isinstance(one, PolicyRefused)]
    assert len(told) - len(refusals) == 11
    assert {one.extra["rule"] for one in refusals} == {"tenant_daily_notional"}
    assert counted(server, made.tenant) == str(990 * 10**8)


async def test_nothing_is_asked_of_a_day_without_a_cap_on_it_and_nothing_for_what_does_not_count(
    bound: Any, server: Any
) -> None:
    none, one, daily = [
        await bound(denials)
        for denials in (Denials(), Denials(max_order_notional="600"), Denials(max_daily_notional="600"))
    ]
    for made in (none, one):
        assert (await made.sign(order("500"), FILLS)).signed
    assert (await daily.sign(FILLS, CANCEL)).signed
    assert [days_asked(server, made.tenant) for made in (none, one, daily)] == [0, 0, 0]
    assert (await daily.sign(order("500"))).signed
    assert days_asked(server, daily.tenant) > 0
