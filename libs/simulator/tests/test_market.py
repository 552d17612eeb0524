"""What a client reads before it trades."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

NO_KEY = dict.fromkeys(("ACCESS-KEY", "ACCESS-SIGN", "ACCESS-TIMESTAMP", "ACCESS-PASSPHRASE"))


async def _data(caller: Any, target: str) -> Any:
    return (await caller.call(target, NO_KEY)).json()["data"]


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("/api/v2/spot/public/symbols", {"BTCUSDT", "ETHUSDT", "BTCUSDC", "ETHBTC"}),
        ("/api/v2/spot/public/symbols?symbol=ETHBTC", {"ETHBTC"}),
        ("/api/v2/mix/market/contracts?productType=usdt-futures", {"BTCUSDT", "ETHUSDT"}),
        ("/api/v2/mix/market/contracts?productType=COIN-FUTURES", set()),
        ("/api/v3/market/instruments?category=SPOT", {"BTCUSDT", "ETHUSDT", "BTCUSDC", "ETHBTC"}),
        ("/api/v3/market/instruments?category=USDT-FUTURES&symbol=BTCUSDT", {"BTCUSDT"}),
    ],
)
async def test_markets_are_listed_without_a_key(serve: Serve, make_account: Make, target: str, names: set[str]) -> None:
    _, caller = serve(make_account())
    assert {row["symbol"] for row in await _data(caller, target)} == names


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("/api/v2/spot/public/symbols?symbol=NOUSDT", "40034"),
        ("/api/v2/mix/market/contracts", "40019"),
        ("/api/v2/mix/market/ticker?productType=USDT-FUTURES", "40019"),
        ("/api/v3/market/instruments?category=OPTIONS", "40020"),
        ("/api/v3/market/tickers?category=SPOT&symbol=NOUSDT", "25100"),
        ("/api/v3/market/orderbook?category=SPOT", "40019"),
    ],
)
async def test_a_market_that_does_not_exist_is_refused(
    serve: Serve, make_account: Make, target: str, code: str
) -> None:
    _, caller = serve(make_account())
    assert await caller.code(target, NO_KEY) == code


@pytest.mark.parametrize(
    ("ticker", "depth", "last", "bid", "asks", "bids"),
    [
        (
            "/api/v2/spot/market/tickers?symbol=BTCUSDT",
            "/api/v2/spot/market/orderbook?symbol=BTCUSDT",
            *("lastPr", "bidPr", "asks", "bids"),
        ),
        (
            "/api/v2/mix/market/ticker?productType=USDT-FUTURES&symbol=BTCUSDT",
            "/api/v2/mix/market/merge-depth?productType=USDT-FUTURES&symbol=BTCUSDT",
            *("lastPr", "bidPr", "asks", "bids"),
        ),
        (
            "/api/v3/market/tickers?category=SPOT&symbol=BTCUSDT",
            "/api/v3/market/orderbook?category=SPOT&symbol=BTCUSDT",
            *("lastPrice", "bid1Price", "a", "b"),
        ),
    ],
)
async def test_a_book_lies_around_the_one_price(
    serve: Serve, make_account: Make, ticker: str, depth: str, last: str, bid: str, asks: str, bids: str
) -> None:
    _, caller = serve(make_account())
    (row,), book = await _data(caller, ticker), await _data(caller, depth)
    assert row[last] == "65000"
    assert book[bids][0][0] == row[bid]
    assert float(book[bids][0][0]) < 65000 < float(book[asks][0][0])


async def test_a_price_is_the_quotient_of_two_coins_prices(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account())
    (row,) = await _data(caller, "/api/v2/spot/market/tickers?symbol=ETHBTC")
    assert row["lastPr"] == "0.049231"  # 3200 / 65000, to six decimals


async def test_coins_name_their_networks(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account())
    (row,) = await _data(caller, "/api/v2/spot/public/coins?coin=USDT")
    assert [chain["chain"] for chain in row["chains"]] == ["TRC20", "ERC20"]
