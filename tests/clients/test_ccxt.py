"""ccxt as anybody has it, but for address and key: it trades at the exchange, and at Strongroom in its place."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Credentials, Exchange
from tests.clients.library import Library, Refused

pytestmark = pytest.mark.timeout(400)  # the first test makes the clients' environment
# Directly, to see that the simulator is what ccxt takes for Bitget; and with three lines changed.
PROXIED = (("ccxt", "proxy"), ("ccxt.async_support", "proxy"))
WAYS = (("ccxt", "direct"), *PROXIED)
SPOT, SWAP = "BTC/USDT", "BTC/USDT:USDT"
SIZES = {SPOT: 0.001, SWAP: 0.01}
ORDER_CALLS = {
    ("classic", SPOT): ("POST /api/v2/spot/trade/place-order", "POST /api/v2/spot/trade/batch-orders"),
    ("classic", SWAP): ("POST /api/v2/mix/order/place-order", "POST /api/v2/mix/order/batch-place-order"),
    ("unified", SPOT): ("POST /api/v3/trade/place-order", "POST /api/v3/trade/place-batch"),
    ("unified", SWAP): ("POST /api/v3/trade/place-order", "POST /api/v3/trade/place-batch"),
}


@pytest.fixture(scope="session")
def clients(clients_python: Path) -> Iterator[Callable[[str, Credentials], Library]]:
    """Start each client once: what it has learnt of the markets holds for every test."""
    with contextlib.ExitStack() as running:

        @functools.cache
        def one(library: str, credentials: Credentials) -> Library:
            keys = {"apiKey": credentials.api_key, "secret": credentials.secret, "password": credentials.passphrase}
            program = Path(__file__).with_name("driver.py")
            return running.enter_context(
                Library(clients_python, program, library=library, url=credentials.base_url, **keys)
            )

        yield one


@pytest.fixture(params=WAYS, ids="-".join)
def library_and_way(request: pytest.FixtureRequest) -> tuple[str, str]:
    library, way = request.param
    return library, way


@pytest.fixture
def way(library_and_way: tuple[str, str]) -> str:
    """Whether the client asks the exchange itself or the base URL of a binding."""
    return library_and_way[1]


@pytest.fixture
def client(
    library_and_way: tuple[str, str], clients: Callable[[str, Credentials], Library], credentials: Credentials
) -> Library:
    return clients(library_and_way[0], credentials)


def _usdt(client: Library, symbol: str) -> Any:
    return client.fetch_balance({} if symbol == SPOT else {"type": "swap", "productType": "USDT-FUTURES"})["USDT"]


def _ids(orders: list[Any]) -> set[str]:
    return {order["id"] for order in orders}


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_orders_are_placed_amended_and_cancelled(
    client: Library, credentials: Credentials, exchange: Exchange, symbol: str
) -> None:
    before, size = _usdt(client, symbol), SIZES[symbol]
    order = client.create_order(symbol, "limit", "buy", size, 60000, {"clientOrderId": "mine-1"})
    assert order["clientOrderId"] == "mine-1"
    assert _usdt(client, symbol)["free"] < before["free"]
    amended = client.edit_order(order["id"], symbol, "limit", "buy", size, 59000)["id"]
    (open_order,) = client.fetch_open_orders(symbol)
    assert (open_order["id"], open_order["price"], open_order["amount"]) == (amended, 59000, size)
    assert client.fetch_order(amended, symbol)["status"] == "open"
    client.cancel_order(amended, symbol)
    assert client.fetch_open_orders(symbol) == []
    assert client.fetch_order(amended, symbol)["status"] == "canceled"
    assert _usdt(client, symbol) == before
    assert exchange.arrived()[ORDER_CALLS[credentials.mode, symbol][0]] == 1


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_batches_are_placed_and_cancelled(
    client: Library, credentials: Credentials, exchange: Exchange, symbol: str
) -> None:
    rows = [
        {"symbol": symbol, "type": "limit", "side": "buy", "amount": SIZES[symbol], "price": price}
        for price in (50000, 51000)
    ]
    placed = _ids(client.create_orders(rows))
    assert len(placed) == 2
    assert _ids(client.fetch_open_orders(symbol)) == placed
    assert _ids(client.cancel_orders(sorted(placed), symbol)) == placed
    client.create_order(symbol, "limit", "buy", SIZES[symbol], 52000)
    client.cancel_all_orders(symbol)
    assert client.fetch_open_orders(symbol) == []
    assert exchange.arrived()[ORDER_CALLS[credentials.mode, symbol][1]] == 1


def test_a_market_order_changes_the_balances(client: Library, credentials: Credentials) -> None:
    before = client.fetch_balance()
    amount = 0.001 if credentials.mode == "classic" else 65  # v3 counts a market buy in the quote coin
    order = client.create_order(SPOT, "market", "buy", amount, 65000)
    assert client.fetch_order(order["id"], SPOT)["status"] == "closed"
    (trade,) = client.fetch_my_trades(SPOT)
    assert (trade["order"], trade["price"], trade["amount"]) == (order["id"], 65000, 0.001)
    after = client.fetch_balance()
    assert after["USDT"]["total"] == pytest.approx(before["USDT"]["total"] - 65)
    assert after["BTC"]["total"] == pytest.approx(before["BTC"]["total"] + 0.000999)


def test_positions_are_opened_levered_and_closed(client: Library) -> None:
    client.set_leverage(10, SWAP)
    client.create_order(SWAP, "market", "buy", 0.01)
    (position,) = client.fetch_positions([SWAP])
    assert (position["side"], position["contracts"], position["entryPrice"]) == ("long", 0.01, 65000)
    assert (position["leverage"], position["initialMargin"], position["hedged"]) == (10, 65, False)
    client.create_order(SWAP, "market", "sell", 0.004, None, {"reduceOnly": True})
    assert client.fetch_positions([SWAP])[0]["contracts"] == 0.006
    client.close_position(SWAP)
    assert client.fetch_positions([SWAP]) == []


def test_hedge_mode_holds_both_sides(client: Library) -> None:
    client.set_position_mode(True, SWAP)
    client.create_order(SWAP, "market", "buy", 0.01, None, {"hedged": True})
    client.create_order(SWAP, "market", "sell", 0.005, None, {"hedged": True})
    held = {one["side"]: one["contracts"] for one in client.fetch_positions([SWAP])}
    assert held == {"long": 0.01, "short": 0.005}
    client.create_order(SWAP, "market", "sell", 0.01, None, {"hedged": True, "reduceOnly": True})
    assert [one["side"] for one in client.fetch_positions([SWAP])] == ["short"]


def test_an_order_that_waits_for_a_price_is_placed_found_and_cancelled(
    client: Library, credentials: Credentials
) -> None:
    """ccxt places one that protects a position on unified accounts, and any on classic ones."""
    wanted, size = {"trigger": True}, SIZES[SWAP]
    client.create_order(SWAP, "market", "buy", size)
    if credentials.mode == "unified":
        protects = {"stopLossPrice": 60000, "reduceOnly": True}
        placed = client.create_order(SWAP, "market", "sell", size, None, protects)
    else:
        placed = client.create_order(SWAP, "limit", "buy", size, 60000, {"triggerPrice": 60000})
        spot = client.create_order(SPOT, "limit", "buy", SIZES[SPOT], 60000, {"triggerPrice": 60000})
        assert _ids(client.fetch_open_orders(SPOT, None, None, wanted)) == {spot["id"]}
        client.cancel_order(spot["id"], SPOT, wanted)
        assert client.fetch_open_orders(SPOT, None, None, wanted) == []
    assert _ids(client.fetch_open_orders(SWAP, None, None, wanted)) == {placed["id"]}
    client.cancel_order(placed["id"], SWAP, wanted)
    assert client.fetch_open_orders(SWAP, None, None, wanted) == []


def test_a_closed_position_is_history(client: Library) -> None:
    client.create_order(SWAP, "market", "buy", SIZES[SWAP])
    client.close_position(SWAP)
    (past,) = client.fetch_positions_history([SWAP])
    assert (past["side"], past["entryPrice"]) == ("long", 65000)


@pytest.mark.parametrize("symbol", [SPOT, SWAP])
def test_what_the_exchange_refuses_reaches_the_caller_as_an_error(
    client: Library, credentials: Credentials, symbol: str
) -> None:
    too_much = {("classic", SPOT): "43012", ("classic", SWAP): "40762"}.get((credentials.mode, symbol), "25202")
    with pytest.raises(Refused, match=f'"code":"{too_much}"'):
        client.create_order(symbol, "limit", "buy", 100, 60000)
    client.create_order(symbol, "limit", "buy", SIZES[symbol], 60000, {"clientOrderId": "once"})
    repeat = {("classic", SPOT): "43118", ("classic", SWAP): "40786"}.get((credentials.mode, symbol), "25212")
    with pytest.raises(Refused, match=f'"code":"{repeat}"'):
        client.create_order(symbol, "limit", "buy", SIZES[symbol], 60000, {"clientOrderId": "once"})
    assert len(client.fetch_open_orders(symbol)) == 1


@pytest.mark.parametrize("library_and_way", PROXIED, ids="-".join, indirect=True)  # at the exchange what may, may
def test_what_is_never_signed_is_ccxts_own_error_with_our_sentence_and_the_exchange_sees_nothing(
    client: Library, exchange: Exchange
) -> None:
    address = "T" + "a" * 33
    refused = {
        "Withdrawals are never signed": lambda: client.withdraw("USDT", 10, address, params={"network": "TRC20"}),
        "Moving funds or positions between wallets": lambda: client.transfer("USDT", 10, "spot", "swap"),
    }
    client.fetch_balance()
    before = exchange.arrived()
    for sentence, call in refused.items():
        with pytest.raises(Refused, match=sentence) as error:
            call()
        assert "policy_refused" in str(error.value)
    sent = {name for name, count in exchange.arrived().items() if count != before.get(name, 0)}
    assert not [name for name in sent if name.startswith("POST")]
