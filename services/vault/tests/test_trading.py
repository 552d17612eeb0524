"""What may be signed for a caller: the whole table, the products that bodies name, and everything that is refused."""

import json
from collections import defaultdict
from typing import Any

import pytest
from common.errors import PolicyRefused
from hypothesis import given
from hypothesis import strategies as st
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from vault import policy, trading
from vault.canonical import canonical

TABLE = trading.load()
CAPITALS = policy.load().camel_case_paths
SPOT, FUTURES = frozenset([SCOPE_SPOT]), frozenset([SCOPE_FUTURES])
BOTH = SPOT | FUTURES
PLACE = "/api/v3/trade/place-order"
OF = defaultdict(list)
for call, capability in TABLE.calls.items():
    OF[capability].append(call)


def decide(method: str, path: str, body: Any = b"", scopes: frozenset[int] = BOTH, **query: str) -> trading.Allowed:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    parameters = [QueryParameter(name=name, value=value) for name, value in query.items()]
    request = ExchangeRequest(method=method, path=path, query=parameters, body=raw)
    return TABLE.decide(canonical(request, CAPITALS), scopes)


def refused(method: str, path: str, body: Any = b"", scopes: frozenset[int] = BOTH, **query: str) -> str:
    with pytest.raises(PolicyRefused) as error:
        decide(method, path, body, scopes, **query)
    assert trading.why(error.value)
    return str(error.value.extra["rule"])


def test_the_table_has_every_documented_call_of_both_families_once() -> None:
    assert len(TABLE.calls) == 609
    assert {path.split("/")[2] for _, path in TABLE.calls} == {"v2", "v3"}
    assert {method for method, _ in TABLE.calls} == {"GET", "POST"}
    assert {path for _, path in TABLE.calls if path != path.lower()} == CAPITALS


def test_no_call_that_moves_funds_or_manages_keys_or_accounts_has_an_allowing_capability() -> None:
    words = (
        "withdraw",
        "transfer",
        "apikey",
        "sub-api",
        "copy-api",
        "subaccount",
        "broker",
        "p2p",
        "upgrade",
        "switch",
    )
    suspects = {call for call in TABLE.calls if call[0] == "POST" and any(word in call[1] for word in words)}
    assert {TABLE.calls[call] for call in suspects} <= trading.NEVER.keys() | {"read"}
    reading = sorted(path for method, path in suspects if TABLE.calls[method, path] == "read")
    assert not reading


NEEDED: dict[str, dict[str, frozenset[int]]] = {
    "public": {},
    "read": {},
    "spot_trade": {"scope_spot": SPOT},
    "futures_trade": {"scope_futures": FUTURES},
    "futures_settings": {"scope_futures": FUTURES},
    "trade_all_products": {"scope_spot": SPOT, "scope_futures": FUTURES},
    "trade_by_id": {"scope_spot": SPOT, "scope_futures": FUTURES},
}


@pytest.mark.bar(21)
@pytest.mark.parametrize("scopes", [frozenset(), SPOT, FUTURES, BOTH])
def test_every_row_of_the_table_is_decided_as_it_says_for_each_set_of_scopes(scopes: frozenset[int]) -> None:
    for (method, path), capability in TABLE.calls.items():
        body = {"symbol": "BTCUSDT"} if method == "POST" else b""
        lacking = {rule for rule, needed in NEEDED.get(capability, {}).items() if not needed <= scopes}
        if capability == "trade_by_category":
            assert refused(method, path, body, scopes) == "category"
        elif capability not in NEEDED:
            assert refused(method, path, body, scopes) == capability
        elif lacking:
            assert refused(method, path, body, scopes) in lacking
        else:
            assert decide(method, path, body, scopes).rule == capability


@pytest.mark.bar(21)
def test_a_call_with_the_method_that_it_does_not_have_is_refused() -> None:
    others = {("GET" if method == "POST" else "POST", path) for method, path in TABLE.calls} - TABLE.calls.keys()
    assert len(others) == 599
    for method, path in others:
        assert refused(method, path) == "method"


@pytest.mark.bar(21)
@pytest.mark.parametrize("capability", sorted(trading.NEVER))
def test_every_call_of_these_is_refused_by_its_name_whatever_the_scopes(capability: str) -> None:
    assert OF[capability]
    for method, path in OF[capability]:
        assert refused(method, path, {"category": "SPOT"} if method == "POST" else b"") == capability


@pytest.mark.parametrize("scopes", [SPOT, FUTURES, BOTH])
def test_reads_are_allowed_with_either_scope(scopes: frozenset[int]) -> None:
    for method, path in OF["read"] + OF["public"]:
        assert decide(method, path, scopes=scopes).scopes == frozenset()


@pytest.mark.parametrize(
    ("capability", "needed", "missing"),
    [
        ("spot_trade", SPOT, "scope_spot"),
        ("futures_trade", FUTURES, "scope_futures"),
        ("futures_settings", FUTURES, "scope_futures"),
    ],
)
def test_a_trade_needs_the_scope_of_its_product(capability: str, needed: frozenset[int], missing: str) -> None:
    for method, path in OF[capability]:
        assert decide(method, path, {"symbol": "BTCUSDT"}, needed) == trading.Allowed(capability, needed)
        assert refused(method, path, {"symbol": "BTCUSDT"}, BOTH - needed) == missing


@pytest.mark.parametrize("category", ["SPOT", "spot", "Spot"])
def test_an_order_of_the_unified_api_is_of_the_product_that_it_names(category: str) -> None:
    assert decide("POST", PLACE, {"category": category}, SPOT).scopes == SPOT
    assert refused("POST", PLACE, {"category": category}, FUTURES) == "scope_spot"


@pytest.mark.parametrize("category", ["USDT-FUTURES", "usdt-futures", "USDC-FUTURES", "coin-futures"])
def test_futures_are_futures_in_either_case(category: str) -> None:
    assert decide("POST", PLACE, {"category": category}, FUTURES).scopes == FUTURES
    assert refused("POST", PLACE, {"category": category}, SPOT) == "scope_futures"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"Category": "SPOT"},
        {"category": "MARGIN"},
        {"category": "margin"},
        {"category": " SPOT"},
        {"category": "SPOT\u0000"},
        {"category": "ſPOT"},
        {"category": None},
        {"category": ["SPOT"]},
        {"category": 1},
        {"category": "FUTURES"},
        [{"category": "SPOT"}, {"symbol": "BTCUSDT"}],
    ],
)
def test_an_order_without_a_product_of_a_scope_is_refused(body: Any) -> None:
    assert refused("POST", PLACE, body) == "category"


@pytest.mark.parametrize(
    "body",
    [
        *(b"x", b"[]", b"3", b'"SPOT"', b"[[]]", b'{"a":NaN}', b"\xff", b"{}{}", b'{"category":"SPOT"}x'),
        b'{"category":"SPOT","category":"USDT-FUTURES"}',
        b"[" * 100_000,
        json.dumps([{"category": "SPOT"}] * 51).encode(),
    ],
)
@pytest.mark.parametrize("path", [PLACE, "/api/v2/spot/trade/place-order", "/api/v2/mix/order/place-order"])
@pytest.mark.bar(28)
def test_a_body_with_two_readings_or_none_is_refused(path: str, body: bytes) -> None:
    assert refused("POST", path, body) == "body_json"


def test_every_element_of_a_batch_is_looked_at() -> None:
    path = "/api/v3/trade/place-batch"
    mixed = [{"category": "SPOT"}] * 19 + [{"category": "USDT-FUTURES"}]
    assert decide("POST", path, mixed).scopes == BOTH
    assert refused("POST", path, mixed, SPOT) == "scope_futures"
    assert refused("POST", path, [{"category": "SPOT"}] * 19 + [{"category": "MARGIN"}]) == "category"


@pytest.mark.parametrize("path", [path for _, path in OF["trade_by_id"]])
def test_what_an_order_id_alone_can_reach_needs_both_scopes_unless_the_product_is_named(path: str) -> None:
    assert decide("POST", path, {"orderId": "1"}).scopes == BOTH
    assert refused("POST", path, {"orderId": "1"}, SPOT) == "scope_futures"
    assert refused("POST", path, {"orderId": "1"}, FUTURES) == "scope_spot"
    assert decide("POST", path, {"orderId": "1", "category": "SPOT"}, SPOT).scopes == SPOT
    assert refused("POST", path, [{"orderId": "1", "category": "SPOT"}, {"orderId": "2"}], SPOT) == "scope_futures"


def test_cancelling_everything_after_a_countdown_needs_both_scopes() -> None:
    path = "/api/v3/trade/countdown-cancel-all"
    assert decide("POST", path, {"countdown": "10"}).scopes == BOTH
    for scopes in (SPOT, FUTURES):
        assert refused("POST", path, {"countdown": "10"}, scopes).startswith("scope_")


def test_a_futures_call_that_names_another_product_is_refused() -> None:
    for path in ("/api/v3/account/set-margin", "/api/v3/trade/close-positions", "/api/v2/mix/order/place-order"):
        assert refused("POST", path, {"category": "SPOT"}) == "category"
        assert decide("POST", path, {"category": "usdt-futures"}, FUTURES).scopes == FUTURES


@pytest.mark.parametrize(
    ("method", "path", "rule"),
    [
        ("GET", "/api/v9/account/info", "unknown_call"),
        ("GET", "/api/v2/spot/trade/place-order", "method"),
        ("POST", "/api/v3/account/info", "method"),
        ("GET", "/api/spot/v1/account/assets", "path_grammar"),
        ("GET", "/user/verify", "path_grammar"),
        ("GET", "/api/v1/anything", "old_api"),
        ("POST", "/api/v2/spot/wallet/withdrawal-v2", "unknown_call"),
    ],
)
def test_what_is_not_in_the_table_is_refused(method: str, path: str, rule: str) -> None:
    assert refused(method, path) == rule


SPELLINGS = [
    "{0}/", "{0}//", "/{0}", "{0}/.", "{0}/..", "{0}/../withdrawal", "{0};x=1", "{0}?a=1", "{0}#x", "{0}%20", "{0} ",
    " {0}", "{0}\n", "{0}\r\n", "{0}\t", "{0}\u0000", "{0}%00", "{0}%2f", "{0}\\", "{0}.", "{0}%2e", "{0}*", "{0}+",
    "https://api.bitget.com{0}", "//api.bitget.com{0}", "/./{0}", "/x/..{0}", "{1}", "{2}", "{3}", "{4}",
]  # fmt: skip


@pytest.mark.bar(22)
@pytest.mark.parametrize("capability", ["withdraw", "transfer", "key_admin"])
def test_thirty_spellings_of_a_forbidden_call_are_all_refused(capability: str) -> None:
    for method, path in OF[capability]:
        head, last = path.rsplit("/", 1)
        others = [path.upper(), path.title(), f"{head}/%{ord(last[0]):x}{last[1:]}", head + "//" + last]
        spelled = [spelling.format(path, *others) for spelling in SPELLINGS]
        assert len(set(spelled)) >= 30
        for spelling in spelled:
            for verb in (method, method.lower(), "PUT", "DELETE", "PATCH"):
                assert refused(verb, spelling) in ("method", "path_grammar", "unknown_call", capability)


@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz0123456789-/._%", max_size=60), st.sampled_from(["GET", "POST"]))
def test_only_paths_of_the_table_are_ever_allowed(tail: str, method: str) -> None:
    path = "/api/v2/" + tail
    if (method, path) not in TABLE.calls:
        assert refused(method, path)
