"""Client order ids from an idempotency key: put in where they are missing, and nothing else of a body changes."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
from common.errors import InvalidArgument
from hypothesis import given, settings
from hypothesis import strategies as st
from verifier.client_orders import ALL, CALLS, derived, identified

NAME = ("t" * 26, "a" * 32, "key-1")
SPOT, BATCH, LIST = (
    "/api/v2/spot/trade/place-order",
    "/api/v3/trade/place-batch",
    "/api/v2/mix/order/batch-place-order",
)
ENDPOINTS = Path(__file__).parents[2] / "vault/src/vault/endpoints.csv"


def test_an_order_gets_an_id_and_keeps_every_other_byte() -> None:
    body = '{ "price" : 1.10 , "note":"龙 \\u9f99","size":10000000000000000000000.50}'.encode()
    filled, told = identified(SPOT, body, NAME)
    mark = f'"clientOid":"{derived(NAME, 0)}",'.encode()
    assert filled.replace(mark, b"") == body
    assert json.loads(filled)["clientOid"] == told[0]


def test_an_id_that_is_there_stays_and_an_empty_one_is_refused() -> None:
    body = b'{"clientOid":"mine"}'
    assert identified(SPOT, body, NAME) == (body, ["mine"])
    for empty in (b'{"clientOid":""}', b'{"clientOid":null}'):
        with pytest.raises(InvalidArgument) as refused:
            identified(SPOT, empty, NAME)
        assert refused.value.extra["field"] == "clientOid"


def test_each_order_of_a_batch_gets_its_own() -> None:
    filled, told = identified(BATCH, b'[{"a":1} , {"clientOid":"x"},{}]', NAME)
    assert [one["clientOid"] for one in json.loads(filled)] == told == [derived(NAME, 0), "x", derived(NAME, 2)]
    body = b'{"orderLists":[{}],"x":{"orderList":[1]},"orderList" : [ {} , {"size":"1"} ],"z":[{}]}'
    filled, told = identified(LIST, body, NAME)
    assert [one["clientOid"] for one in json.loads(filled)["orderList"]] == told
    assert len(set(told)) == 2
    assert json.loads(filled)["z"] == [{}]


def test_without_a_key_or_for_another_call_nothing_changes() -> None:
    body = b'{"size":"1"}'
    assert identified(SPOT, body, (*NAME[:2], "")) == (body, [])
    assert identified("/api/v2/spot/trade/cancel-order", body, NAME) == (body, [])


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b'{"a":1,"a":2}', b"NaN", b"[1,2]", b'"x"', b"[" * 50_000])
def test_what_is_no_order_is_left_to_the_policy(body: bytes) -> None:
    for path in (SPOT, BATCH, LIST):
        assert identified(path, body, NAME) == (body, [])


@pytest.mark.parametrize("key", ["a b", "a\n", "ä", "x" * 256])
def test_a_key_outside_the_grammar_is_refused(key: str) -> None:
    with pytest.raises(InvalidArgument):
        identified(SPOT, b"{}", (*NAME[:2], key))


def test_an_id_fits_the_exchange_and_follows_from_all_four_things() -> None:
    others = [derived(NAME, 1), *(derived((*NAME[:place], "b", *NAME[place + 1 :]), 0) for place in range(3))]
    # Parts are told apart: what ends one may not begin the next.
    others += [derived(("ab", "c", "d"), 0), derived(("a", "bc", "d"), 0)]
    assert len({derived(NAME, 0), *others}) == 7
    assert all(re.fullmatch(r"[a-z0-9]{28}", one) for one in others)
    assert derived(NAME, 0) == derived(NAME, 0)


def test_the_calls_that_place_orders_are_calls_that_can_be_signed() -> None:
    with ENDPOINTS.open() as lines:
        known = {row["path"]: row["capability"] for row in csv.DictReader(lines) if row["method"] == "POST"}
    assert {known[path] for path in CALLS} == {"spot_trade", "futures_trade", "trade_by_category"}
    placing = re.compile(r"/(place-|batch-place|batch-orders|cancel-replace|batch-cancel-replace|click-backhand)")
    signed = {"spot_trade", "futures_trade", "trade_by_category", "trade_by_id"}
    # It names two ids of its own, one for each of its two orders.
    exempt = {"/api/v2/mix/order/place-pos-tpsl"}
    assert {path for path, what in known.items() if what in signed and placing.search(path)} - exempt == set(CALLS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
ORDERS = st.lists(st.dictionaries(st.text(max_size=12), JSON, max_size=4), max_size=4)


@given(orders=ORDERS, other=st.dictionaries(st.text(max_size=12), JSON, max_size=3), dense=st.booleans())
@settings(max_examples=200, deadline=None)
def test_whatever_the_body_only_ids_are_added(orders: Any, other: Any, dense: bool) -> None:
    spacing: Any = {"separators": (",", ":")} if dense else {"indent": 1}
    for path, call in CALLS.items():
        whole = orders if call.orders == ALL else {**other, **({call.orders: orders} if call.orders else {})}
        before = orders if call.orders else [whole]
        if any(call.field in one for one in before):
            continue
        filled, told = identified(path, json.dumps(whole, **spacing).encode(), NAME)
        after = json.loads(filled)
        found = (after if call.orders == ALL else after[call.orders]) if call.orders else [after]
        assert [one.pop(call.field) for one in found] == told == [derived(NAME, place) for place in range(len(before))]
        assert after == whole
