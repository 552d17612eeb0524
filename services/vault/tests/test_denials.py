"""What a tenant denies: it only takes away, it names every order's symbol or refuses, and it holds in the service."""

import asyncio
import json
from typing import Any

import pytest
from common.errors import PolicyRefused
from hypothesis import given
from hypothesis import strategies as st
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest
from vault import policy, purposes, trading
from vault.canonical import canonical
from vault.denials import CAPABILITIES, EVERYTHING, NONE, Denials, denials_of
from vault.hashicorp.provision import Tenant
from vault.rules import Rules

from services.vault.tests.bound import CANCEL, FILLS, FUTURES_ORDER, SPOT_ORDER, Bound

TABLE, RULES, CAPITALS = trading.load(), purposes.load(), policy.load().camel_case_paths
PLACE, BATCH = "/api/v2/spot/trade/place-order", "/api/v2/spot/trade/batch-orders"
LISTED = Denials(symbols=("BTCUSDT", "ETHUSDT"))


def refused(denials: Denials, method: str, path: str, body: Any = b"") -> str:
    """Return the rule by which a call is denied, empty when it is not."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    made = canonical(ExchangeRequest(method=method, path=path, body=raw), CAPITALS)
    try:
        denials.check(made, TABLE.calls[method, path], cancels=RULES.is_cancel(made))
    except PolicyRefused as refusal:
        return str(refusal.extra["rule"]) if trading.why(refusal) else "no words"
    return ""


def test_every_capability_and_every_call_that_may_be_signed_can_be_denied_and_nothing_else_is() -> None:
    may = [(call, rule) for call, rule in TABLE.calls.items() if rule not in trading.NEVER]
    assert {rule for _, rule in may} == CAPABILITIES
    for (method, path), rule in may:
        body = {"symbol": "BTCUSDT"} if method == "POST" else b""
        by_call, by_rule = denials_of({"denied_calls": [f"{method} {path}"]}), Denials(denied_capabilities=(rule,))
        others = Denials(
            tuple(CAPABILITIES - {rule}), tuple(f"{m} {p}" for (m, p), _ in may if (m, p) != (method, path))
        )
        denied = [refused(one, method, path, body) for one in (by_call, by_rule, EVERYTHING, others, NONE)]
        assert denied == ["tenant_denied"] * 3 + ["", ""]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PLACE, {"symbol": "BTCUSDT"}),
        (PLACE, {"symbol": "ethusdt"}),
        (BATCH, {"symbol": "BTCUSDT", "orderList": [{"size": "1"}, {"size": "2"}]}),
        (BATCH, {"batchMode": "multiple", "orderList": [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}]}),
        ("/api/v3/trade/place-batch", [{"symbol": "BTCUSDT"}, {"symbol": "ETHUSDT"}]),
        ("/api/v2/mix/account/set-leverage", {"symbol": "BTCUSDT", "leverage": "5"}),
        ("/api/v2/spot/trade/cancel-order", {"symbol": "DOGEUSDT", "orderId": "1"}),
        ("/api/v3/trade/cancel-order", {"orderId": "1"}),
        ("/api/v3/account/max-open-available", {"symbol": "DOGEUSDT"}),
    ],
)
def test_orders_of_listed_symbols_reads_and_cancels_are_not_denied(path: str, body: Any) -> None:
    assert refused(LISTED, "POST", path, body) == ""


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PLACE, {"symbol": "DOGEUSDT"}),
        (PLACE, {}),
        (PLACE, b""),
        (PLACE, {"symbol": None}),
        (PLACE, {"symbol": ["BTCUSDT"]}),
        (PLACE, {"symbol": {"BTCUSDT": 1}}),
        (PLACE, {"symbol": " BTCUSDT"}),
        (PLACE, {"symbol": "BTCUſDT"}),
        (PLACE, {"Symbol": "BTCUSDT"}),
        (PLACE, {"symbol": "BTCUSDT", "SYMBOL": "DOGEUSDT"}),
        (BATCH, {"orderList": []}),
        (BATCH, {"orderList": [{"symbol": "BTCUSDT"}, {"size": "1"}]}),
        (BATCH, {"orderList": [{"symbol": "BTCUSDT"}, {"symbol": "DOGEUSDT"}]}),
        (BATCH, {"symbol": "BTCUSDT", "orderList": [{"symbol": "DOGEUSDT"}]}),
        (BATCH, {"symbol": "DOGEUSDT", "orderList": [{"symbol": "BTCUSDT"}]}),
        ("/api/v3/trade/place-batch", [{"symbol": "BTCUSDT"}, {"symbol": "DOGEUSDT"}]),
        ("/api/v3/trade/modify-order", {"orderId": "1"}),
        ("/api/v2/mix/order/close-positions", {"productType": "USDT-FUTURES"}),
        ("/api/v2/mix/account/set-position-mode", {"productType": "USDT-FUTURES"}),
    ],
)
def test_an_order_of_another_symbol_or_of_none_is_denied(path: str, body: Any) -> None:
    assert refused(LISTED, "POST", path, body) == "tenant_symbol"
    assert refused(NONE, "POST", path, body) == ""


SYMBOLS = st.sampled_from(["BTCUSDT", "ETHUSDT", "DOGEUSDT", "btcusdt", "", None])
ORDERS = st.dictionaries(st.sampled_from(["size", "price", "clientOid"]), st.text(max_size=5), max_size=3)


@given(st.lists(st.tuples(ORDERS, SYMBOLS), max_size=6), SYMBOLS)
def test_a_batch_passes_only_if_each_of_its_orders_is_of_a_listed_symbol(orders: Any, shared: str | None) -> None:
    batch = [{**order, "symbol": symbol} if symbol is not None else order for order, symbol in orders]
    body = {"orderList": batch, **({} if shared is None else {"symbol": shared})}
    meant = [shared if symbol is None else symbol for _, symbol in orders] + ([shared] if shared is not None else [])
    good = bool(meant) and all(one is not None and one.upper() in LISTED.symbols for one in meant)
    assert (refused(LISTED, "POST", BATCH, body) == "") is good


async def test_the_service_denies_what_its_tenant_denies_within_a_second_and_signs_the_rest(
    world: Any, connect: Any, server: Any, request_of: Any, told: Any
) -> None:
    tenant = server.tenant()
    bound = Bound(world, connect, tenant, request_of())
    await bound.bind()
    await bound.become(types.STATUS_CONNECTED)
    assert (await bound.sign(SPOT_ORDER, FUTURES_ORDER)).signed
    denials = Denials(("futures_trade",), ("GET /api/v2/spot/trade/fills",), ("BTCUSDT",))
    server.provision(Tenant(tenant, "Test", Rules((), 0, denials)))
    other = ExchangeRequest(method="POST", path=SPOT_ORDER.path, body=b'{"symbol":"DOGEUSDT"}')

    async def denied(work: Any) -> str:
        with pytest.raises(PolicyRefused) as refusal:
            await work
        return str(refusal.value.extra["rule"])

    async with asyncio.timeout(10):
        while True:  # what is registered is read again after a second
            try:
                await bound.sign(FUTURES_ORDER)
            except PolicyRefused:
                break
            await asyncio.sleep(0.05)
    assert await denied(bound.sign(FUTURES_ORDER)) == "tenant_denied"
    assert await denied(bound.sign(FILLS)) == "tenant_denied"
    assert await denied(bound.sign(SPOT_ORDER, other)) == "tenant_symbol"
    assert await denied(bound.login()) == "tenant_denied"
    before = len(await bound.signed_lines(told))
    assert len((await bound.sign(SPOT_ORDER, CANCEL)).signed) == 2
    assert (await bound.signed_lines(told))[before:] == ["spot_trade", "spot_trade"]
