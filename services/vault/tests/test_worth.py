"""What orders are worth: every call of the table has its way, and what is above a cap is signed in no spelling."""

import json
from decimal import Decimal
from typing import Any

import pytest
from common.errors import PolicyRefused
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strongroom.types.v1.request_pb2 import ExchangeRequest
from vault import policy, trading, worth
from vault.canonical import canonical
from vault.denials import MOVES_NOTHING, SETTINGS, Denials, denials_of

TABLE, POLICY = trading.load(), policy.load()
CAPPED = Denials(max_order_notional="1000")
V2, V3 = "/api/v2", "/api/v3/trade"
SPOT, FUTURES = {"symbol": "BTCUSDT"}, {"symbol": "BTCUSDT", "productType": "USDT-FUTURES"}
LIMIT, BUY = {"orderType": "limit", "side": "sell"}, {"orderType": "market", "side": "buy"}
# One body for each form of the table: of size 2 at the price 300, or of a size that is 600 USDT.
FORMS: list[tuple[str, dict[str, Any], str, str, str]] = [
    (f"{V2}/spot/trade/place-order", SPOT | LIMIT, "size", "price", ""),
    (f"{V2}/spot/trade/place-order", SPOT | BUY, "size", "", ""),
    (f"{V2}/spot/trade/batch-orders", SPOT | LIMIT, "size", "price", "orderList"),
    (f"{V2}/spot/trade/batch-orders", SPOT | BUY, "size", "", "orderList"),
    (f"{V2}/spot/trade/cancel-replace-order", SPOT | {"orderId": "1"}, "size", "price", ""),
    (f"{V2}/spot/trade/batch-cancel-replace-order", SPOT | {"orderId": "1"}, "size", "price", "orderList"),
    (f"{V2}/spot/trade/place-plan-order", SPOT | LIMIT, "size", "executePrice", ""),
    (f"{V2}/spot/trade/place-plan-order", SPOT | {"orderType": "market", "planType": "total"}, "size", "", ""),
    (f"{V2}/mix/order/place-order", FUTURES | LIMIT, "size", "price", ""),
    (f"{V2}/mix/order/batch-place-order", FUTURES | LIMIT, "size", "price", "orderList"),
    (f"{V2}/mix/order/modify-order", FUTURES | {"orderId": "1"}, "newSize", "newPrice", ""),
    (f"{V2}/mix/order/place-plan-order", FUTURES | LIMIT | {"planType": "normal_plan"}, "size", "price", ""),
    (f"{V2}/mix/order/place-tpsl-order", FUTURES | {"planType": "loss_plan"}, "size", "executePrice", ""),
    (f"{V3}/place-order", SPOT | LIMIT | {"category": "SPOT"}, "qty", "price", ""),
    (f"{V3}/place-order", SPOT | BUY | {"category": "SPOT"}, "qty", "", ""),
    (f"{V3}/place-batch", SPOT | LIMIT | {"category": "usdt-futures"}, "qty", "price", "*"),
    (f"{V3}/place-batch", SPOT | BUY | {"category": "spot"}, "qty", "", "*"),
    (f"{V3}/modify-order", SPOT | {"category": "SPOT", "orderId": "1"}, "qty", "price", ""),
    (f"{V3}/batch-modify-order", SPOT | {"category": "SPOT", "orderId": "1"}, "qty", "price", "*"),
    (
        f"{V3}/place-strategy-order",
        SPOT | {"category": "USDT-FUTURES", "type": "trigger", "triggerOrderType": "limit"},
        "qty",
        "triggerOrderPrice",
        "",
    ),
]
NAMES = [f"{path}-{'base' if price else 'quote'}" for path, _, _, price, _ in FORMS]
FORM = pytest.mark.parametrize("form", FORMS, ids=NAMES)


def ask(path: str, body: Any) -> Any:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return canonical(ExchangeRequest(method="POST", path=path, body=raw), POLICY.camel_case_paths)


def refused(path: str, body: Any, denials: Denials = CAPPED) -> str:
    """Return the rule by which a call is refused, empty when it is not; each has a sentence that says what to do."""
    made = ask(path, body)
    try:
        denials.check(made, TABLE.calls["POST", path], cancels=POLICY.is_cancel(made))
    except PolicyRefused as refusal:
        return str(refusal.extra["rule"]) if len(trading.why(refusal)) > 40 else "no words"
    return ""


def order(form: Any, size: Any, price: Any = None) -> dict[str, Any]:
    _, fixed, named_size, named_price, _ = form
    return fixed | {named_size: size} | ({named_price: price} if named_price else {})


def body(form: Any, *orders: dict[str, Any]) -> Any:
    where = form[4]
    return orders[0] if not where else list(orders) if where == "*" else {where: list(orders)}


def worths(form: Any, *orders: dict[str, Any]) -> list[str]:
    return [worth.usdt(one) for one in worth.worths(ask(form[0], body(form, *orders)))]


def named(form: Any, size: str, price: str) -> dict[str, Any]:
    """Return an order of this form worth `size` × `price`."""
    return order(form, size, price) if form[3] else order(form, f"{Decimal(size) * Decimal(price):f}")


def test_every_call_that_trades_has_its_way_to_be_valued_and_no_other_call_has_one() -> None:
    trades = {
        path
        for (_, path), rule in TABLE.calls.items()
        if rule not in trading.NEVER and rule not in MOVES_NOTHING and rule != SETTINGS
    }
    assert worth.CALLS.keys() == trades
    assert list(worth.rows()[0]) == worth.COLUMNS
    assert {row["unit"] for row in worth.rows()} == {worth.FREE, worth.UNKNOWN, worth.BASE, worth.QUOTE}
    ways = {path: len({row["unit"] for row in worth.rows() if row["path"] == path}) for path in trades}
    mixed = {path for path, count in ways.items() if count > 1}
    assert mixed == {path for path, *_ in FORMS if sum(path == other[0] for other in FORMS) > 1}
    assert {(row["path"], row["unit"]) for row in worth.rows() if row["size"]} == {
        (path, worth.BASE if price else worth.QUOTE) for path, _, _, price, _ in FORMS
    }


def test_what_only_cancels_or_sets_is_worth_nothing_and_every_other_call_needs_an_order() -> None:
    free = {path for path, call in worth.CALLS.items() if call.free}
    assert free >= POLICY.cancels
    for (method, path), rule in TABLE.calls.items():
        if method == "POST" and rule not in trading.NEVER:
            expected = "" if path in free or rule in MOVES_NOTHING or rule == SETTINGS else "tenant_notional_unknown"
            for given_body in ({"symbol": "BTCUSDT"}, b"", [{}], {"orderIdList": [{"orderId": "1"}]}):
                assert refused(path, given_body) == expected, path


@FORM
def test_an_order_is_worth_its_size_times_its_price_and_each_of_a_batch_counts(form: Any) -> None:
    assert worths(form, named(form, "2", "300")) == ["600"]
    assert refused(form[0], body(form, named(form, "2", "500"))) == ""
    assert refused(form[0], body(form, named(form, "2", "500.00000001"))) == "tenant_order_notional"
    if form[4]:
        assert worths(form, named(form, "2", "300"), named(form, "0.5", "3")) == ["600", "1.5"]
        over = named(form, "1", "1000.1")
        for place in range(3):
            orders = [named(form, "1", "1000") for _ in range(2)]
            orders.insert(place, over)
            assert refused(form[0], body(form, *orders)) == "tenant_order_notional"


@FORM
def test_every_other_price_that_an_order_names_counts_too_and_none_besides_a_size_in_usdt(form: Any) -> None:
    rows = [row for row in worth.rows() if row["path"] == form[0] and (row["unit"] == worth.BASE) is bool(form[3])]
    first, *others = rows[0]["prices"].split() or [""]
    if not form[3]:
        for name in filter(None, [first, *others]):
            assert worths(form, named(form, "2", "300") | {name: "9999"}) == ["600"]
        return
    assert first == form[3]
    for name in others:
        assert worths(form, named(form, "2", "300") | {name: "301"}) == ["602"]
        assert worths(form, named(form, "2", "300") | {name: "299"}) == ["600"]
        assert worths(form, named(form, "2", "300") | {name: ""}) == ["600"]
        assert refused(form[0], body(form, named(form, "2", "300") | {name: "500.1"})) == "tenant_order_notional"
        for odd in ("0", "-1", None, 1.5, "1e9"):
            assert refused(form[0], body(form, named(form, "2", "300") | {name: odd})) == "tenant_notional_unknown"


# Each of these says, or might be read to say, something else than a plain decimal above 0.
SPELLINGS: list[Any] = [
    *("1e3", "1E3", "-1", "+1", "0", "0.0", "007", "1.", ".5", "1,000", "1_000", " 1", "1 ", "1\n", "0x10", "NaN"),
    *("Infinity", "inf", "١", "1\u0663", "\uff11", "²", "", "1.2.3", "9" * 31, "1." + "0" * 31, "9" * 5000),
    *(None, True, 1.0, 1.5, 0, -1, 2**53, 10**30, ["1"], {"value": "1"}, [], {}),
]


@FORM
def test_an_amount_in_any_other_spelling_is_not_guessed_at(form: Any) -> None:
    for odd in SPELLINGS:
        assert refused(form[0], body(form, order(form, odd, "1"))) == "tenant_notional_unknown", odd
        if form[3]:
            assert refused(form[0], body(form, order(form, "1", odd))) == "tenant_notional_unknown", odd
    for missing in filter(None, form[2:4]):
        left = {name: value for name, value in named(form, "1", "1").items() if name != missing}
        assert refused(form[0], body(form, left)) == "tenant_notional_unknown"
    for number in (b"1.0", b"1e3", b"1E400", b"01", b"-0", b"NaN", b"Infinity", b"1" * 5000):
        raw = json.dumps(body(form, order(form, "@", "1"))).encode().replace(b'"@"', number)
        assert refused(form[0], raw) == "tenant_notional_unknown", number


@FORM
def test_a_whole_number_is_as_plain_as_its_text(form: Any) -> None:
    assert worths(form, order(form, 3, 200)) == (["600"] if form[3] else ["3"])
    size = 1 if form[3] else 1001
    assert refused(form[0], body(form, order(form, size, 1001))) == "tenant_order_notional"


@FORM
def test_what_is_not_named_just_so_is_not_valued(form: Any) -> None:
    good = named(form, "1", "1")
    assert refused(form[0], body(form, good)) == ""
    for name in form[1]:
        if name != "orderId" and not (name == "side" and form[3]):
            left = {key: value for key, value in good.items() if key != name}
            assert refused(form[0], body(form, left)) == "tenant_notional_unknown", name
            for odd in (
                "",
                "LIMIT",
                "sell",
                "COIN-FUTURES",
                "USDC-FUTURES",
                "MARGIN",
                "track_plan",
                None,
                1,
                ["limit"],
            ):
                assert refused(form[0], body(form, good | {name: odd})) == "tenant_notional_unknown", (name, odd)
    for symbol in ("BTCUSD", "ETHBTC", "BTCUSDC", "BTCPERP", "USDT", "BTCUSDT_UMCBL", "BtcUSDT", "BTCU\u017fDT", "*"):
        assert refused(form[0], body(form, good | {"symbol": symbol})) == "tenant_notional_unknown", symbol
    assert refused(form[0], body(form, good | {"symbol": "btcusdt", "clientOid": "mine"})) == ""
    for stranger in ("Size", "SIZE", "\u017fize", "quoteSize", "marketUnit", "orderList", "amount", "callbackRatio"):
        assert refused(form[0], body(form, good | {stranger: "1"})) == "tenant_notional_unknown", stranger


@FORM
def test_orders_stand_where_the_call_has_them_and_nowhere_else(form: Any) -> None:
    good = named(form, "1", "1")
    shapes: dict[str, Any] = {
        "": good,
        "*": [good],
        **{name: {name: [good]} for name in ("orderList", "orderDataList", "orders", "list", "data")},
        "nested": {"orderList": [{"orderList": [good]}]},
        "nested lists": [[good]],
        "in an object": {"orderList": good},
        "none": {"orderList": []},
        "nothing": [],
        "a text": json.dumps(good),
        "null": b"null",
    }
    for name, shape in shapes.items():
        expected = "" if name == form[4] else "tenant_notional_unknown"
        assert refused(form[0], shape) == expected, name
    twice = json.dumps(good).encode()[:-1] + b',"%s":"9"}' % form[2].encode()
    wrapped = twice if not form[4] else b"[%s]" % twice
    assert refused(form[0], wrapped if form[4] in ("", "*") else b'{"orderList":%s}' % wrapped) == (
        "tenant_notional_unknown"
    )


@pytest.mark.parametrize("form", [one for one in FORMS if one[4] == "orderList"], ids=lambda one: one[0])
def test_what_a_batch_shares_holds_for_each_order_and_none_says_otherwise(form: Any) -> None:
    good = named(form, "1", "700")
    rest = {name: value for name, value in good.items() if name != "symbol"}
    assert refused(form[0], {"symbol": "BTCUSDT", "orderList": [rest, good]}) == ""
    assert refused(form[0], {"symbol": "BTCUSDT", "orderList": [rest, good | {"symbol": "ETHBTC"}]}) != ""
    assert refused(form[0], {"symbol": "ETHBTC", "orderList": [rest]}) == "tenant_notional_unknown"
    assert refused(form[0], {"symbol": "ETHUSDT", "orderList": [good]}) == "tenant_notional_unknown"
    assert refused(form[0], {"symbol": "BTCUSDT", "marketUnit": "base", "orderList": [rest]}) != ""
    assert refused(form[0], {"symbol": "BTCUSDT", form[2]: "9999", "orderList": [good]}) == "tenant_notional_unknown"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{V2}/spot/trade/place-order", SPOT | {"orderType": "market", "side": "sell", "size": "1"}),
        (f"{V2}/spot/trade/place-order", SPOT | BUY | {"size": "1", "price": "1"}),
        (f"{V2}/spot/trade/place-order", SPOT | BUY | {"size": "1", "tpslType": "tpsl"}),
        (f"{V2}/spot/trade/place-order", SPOT | BUY | {"size": "1", "presetTakeProfitPrice": "1"}),
        (f"{V2}/spot/trade/place-plan-order", SPOT | BUY | {"size": "1", "triggerPrice": "1"}),
        (
            f"{V2}/spot/trade/cancel-replace-order",
            SPOT | {"orderId": "1", "orderType": "market", "size": "1", "price": "1"},
        ),
        (f"{V2}/mix/order/place-order", FUTURES | BUY | {"size": "1"}),
        (f"{V2}/mix/order/place-order", FUTURES | BUY | {"size": "1", "price": "1"}),
        (f"{V2}/mix/order/modify-order", FUTURES | {"orderId": "1", "newPresetStopLossPrice": "1"}),
        (
            f"{V2}/mix/order/place-tpsl-order",
            FUTURES | {"planType": "pos_loss", "size": "1", "executePrice": "1", "triggerPrice": "1"},
        ),
        (
            f"{V2}/mix/order/place-tpsl-order",
            FUTURES | {"planType": "loss_plan", "size": "1", "executePrice": "0", "triggerPrice": "1"},
        ),
        (f"{V3}/place-order", SPOT | BUY | {"category": "USDT-FUTURES", "qty": "1"}),
        (f"{V3}/modify-order", {"orderId": "1", "qty": "1", "price": "1"}),
        (f"{V3}/place-strategy-order", SPOT | {"category": "USDT-FUTURES", "takeProfit": "1", "qty": "1"}),
    ],
)
def test_an_order_whose_price_the_body_leaves_open_is_refused_to_whoever_has_a_cap_only(path: str, said: Any) -> None:
    assert refused(path, said) == "tenant_notional_unknown"
    assert refused(path, said, Denials()) == ""
    assert refused(path, said, Denials(symbols=("BTCUSDT", "ETHUSDT"))) in ("", "tenant_symbol")


DIGITS = st.from_regex(r"(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?", fullmatch=True)
PLAIN = st.decimals("0.00000001", "100000", places=8).map(lambda one: f"{one:f}")
AMOUNTS = st.one_of(PLAIN, DIGITS, st.sampled_from(SPELLINGS), st.text(max_size=6), st.floats(), st.integers())


@settings(max_examples=200)
@given(st.sampled_from(FORMS), st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=4), st.data())
@example(FORMS[0], [("0.1", "10000.00000001")], None)
@example(FORMS[2], [("1", "1"), ("1e9", "1")], None)
def test_nothing_that_could_be_read_to_be_worth_more_than_the_cap_passes(form: Any, amounts: Any, data: Any) -> None:
    amounts = amounts if form[4] else amounts[:1]
    orders = [order(form, size, price) for size, price in amounts]
    text = json.dumps(body(form, *orders)).encode()
    if data is not None and data.draw(st.booleans()):  # a name twice, as the last one that a lenient parser takes
        name = data.draw(st.sampled_from(form[2:4]))
        text = text.replace(b"{", b'{"%s": "1", ' % (name or "size").encode())
    if refused(form[0], text) != "":
        return
    for size, price in amounts:
        at = price if form[3] else "1"
        assert isinstance(size, str | int)
        assert isinstance(at, str | int)
        assert Decimal(0) < Decimal(size) * Decimal(at) <= 1000


@given(PLAIN, PLAIN, st.sampled_from(FORMS))
def test_a_plain_order_passes_exactly_when_it_is_worth_at_most_the_cap(size: str, price: str, form: Any) -> None:
    value = Decimal(size) * Decimal(price) if form[3] else Decimal(size)
    said = refused(form[0], body(form, order(form, size, price)))
    assert said == ("tenant_order_notional" if value > 1000 else "")


@pytest.mark.parametrize(
    ("text", "amount"), [("1", 10**8), ("0.00000001", 1), ("0.000000001", 1), ("1000.5", 1000_5 * 10**7)]
)
def test_units_are_hundred_millionths_rounded_up(text: str, amount: int) -> None:
    assert worth.units(text) == amount
    assert Decimal(worth.usdt(amount)) >= Decimal(text)


NAMED = pytest.mark.parametrize("name", ["max_order_notional", "max_daily_notional"])


@NAMED
@pytest.mark.parametrize(
    "cap", ["0", "0.00", "-1", "1e3", "007", "1.", "1.000000001", " 1", "\u0661", 1000, None, ["1"], "9" * 19]
)
def test_a_cap_of_another_form_is_refused_by_its_name(name: str, cap: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} is an amount of USDT"):
        denials_of({name: cap})


@NAMED
def test_a_cap_is_kept_as_it_was_written_and_counts_as_a_denial(name: str) -> None:
    assert denials_of({name: ""}) == Denials()
    for cap in ("1000", "0.5", "999999999999999999.99999999"):
        made = denials_of({name: cap})
        assert (made.document(), denials_of(made.document())) == ({name: cap}, made)
        with pytest.raises(PolicyRefused):
            made.check_login()


@FORM
def test_only_a_cap_on_the_day_counts_and_it_counts_every_order(form: Any) -> None:
    def counts(denials: Denials) -> int:
        return denials.check(ask(form[0], said), TABLE.calls["POST", form[0]], cancels=False)

    said = body(form, *[named(form, "2", "300")] * (2 if form[4] else 1))
    total = 1200 if form[4] else 600
    assert [counts(denials) for denials in (Denials(), CAPPED)] == [0, 0]
    assert counts(Denials(max_daily_notional=str(total))) == total * 10**8
    just_below = Denials(max_daily_notional=f"{total - 1}.99999999")
    assert refused(form[0], said, just_below) == "tenant_daily_notional"
    assert refused(form[0], {"symbol": "BTCUSDT"}, just_below) == "tenant_notional_unknown"
