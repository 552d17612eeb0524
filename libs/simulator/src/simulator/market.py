"""Public market data of both families: what may be traded and the one price it has. A book around that price is made up
and moves with it; nothing here reads an account."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from simulator.amounts import plain
from simulator.calls import Inquiry, Public, Table, chosen, required, text
from simulator.codes import Refusal
from simulator.symbols import COINS, MARKETS, SPOT, Coin, Symbol, of

PRODUCTS: Final = frozenset(
    f"{prefix}{kind}-FUTURES" for prefix in ("", "S") for kind in ("USDT", "USDC", "COIN")
)  # those with an S were the demo products of old; clients still ask
CATEGORIES: Final = frozenset(("SPOT", "MARGIN", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES"))
LEVELS: Final = 5
_VOLUME: Final = Decimal("1520.5")


def server_time(inquiry: Inquiry) -> dict[str, str | None]:
    return {"serverTime": None if inquiry.told is None else str(inquiry.told)}


def coins(inquiry: Inquiry) -> list[dict[str, Any]]:
    wanted = text(inquiry.params, "coin").upper()
    return [_coin(coin) for coin in COINS.values() if wanted in ("", coin.name)]


def spot_symbols(inquiry: Inquiry) -> list[dict[str, Any]]:
    return [_spot_symbol(symbol) for symbol in _wanted(inquiry, SPOT, "40034")]


def margin_currencies(_: Inquiry) -> list[dict[str, Any]]:
    """Spot margin is not simulated, so nothing can be borrowed."""
    return [
        {
            "symbol": symbol.name,
            "baseCoin": symbol.base,
            "quoteCoin": symbol.quote,
            "isBorrowable": False,
            "isCrossBorrowable": False,
            "isIsolatedBaseBorrowable": False,
            "isIsolatedQuoteBorrowable": False,
            "status": "1",
        }
        for symbol in of(SPOT)
    ]


def contracts(inquiry: Inquiry) -> list[dict[str, Any]]:
    product = chosen(inquiry.params, "productType", PRODUCTS)
    return [_contract(symbol) for symbol in _wanted(inquiry, product, "40034")]


def instruments(inquiry: Inquiry) -> list[dict[str, Any]]:
    category = chosen(inquiry.params, "category", CATEGORIES)
    return [_instrument(symbol) for symbol in _wanted(inquiry, category, "25100")]


def spot_tickers(inquiry: Inquiry) -> list[dict[str, Any]]:
    return [_ticker(inquiry, symbol) for symbol in _wanted(inquiry, SPOT, "40034")]


def mix_tickers(inquiry: Inquiry) -> list[dict[str, Any]]:
    product = chosen(inquiry.params, "productType", PRODUCTS)
    return [_mix_ticker(inquiry, symbol) for symbol in _wanted(inquiry, product, "40034")]


def mix_ticker(inquiry: Inquiry) -> list[dict[str, Any]]:
    required(inquiry.params, "symbol")
    return mix_tickers(inquiry)


def tickers(inquiry: Inquiry) -> list[dict[str, Any]]:
    category = chosen(inquiry.params, "category", CATEGORIES)
    return [_unified_ticker(inquiry, symbol) for symbol in _wanted(inquiry, category, "25100")]


def _depth(
    category: Callable[[Inquiry], str], missing: str, asks: str = "asks", bids: str = "bids"
) -> Callable[[Inquiry], dict[str, Any]]:
    def reply(inquiry: Inquiry) -> dict[str, Any]:
        required(inquiry.params, "symbol")
        symbol = _wanted(inquiry, category(inquiry), missing)[0]
        price, size = symbol.price(inquiry.exchange.prices), plain(symbol.step * 2000)
        steps = [symbol.tick * level for level in range(1, LEVELS + 1)]
        return {
            asks: [[plain(price + step), size] for step in steps],
            bids: [[plain(price - step), size] for step in steps],
            "ts": str(inquiry.exchange.clock()),
        }

    return reply


def _wanted(inquiry: Inquiry, category: str, missing: str) -> list[Symbol]:
    """Return a category's markets, or the one that `symbol` names; refused with `missing` when there is none."""
    if not (name := text(inquiry.params, "symbol")):
        return of(category)
    if (category, name) not in MARKETS:
        raise Refusal(missing, name)
    return [MARKETS[category, name]]


def _coin(coin: Coin) -> dict[str, Any]:
    return {
        "coinId": coin.number,
        "coin": coin.name,
        "transfer": "true",
        "areaCoin": "no",
        "chains": [
            {
                "chain": chain.name,
                "needTag": "false",
                "withdrawable": "true",
                "rechargeable": "true",
                "withdrawFee": plain(chain.fee),
                "extraWithdrawFee": "0",
                "depositConfirm": "12",
                "withdrawConfirm": "12",
                "minDepositAmount": "0.000001",
                "minWithdrawAmount": plain(chain.least),
                "browserUrl": "",
                "contractAddress": "",
                "withdrawStep": "0",
                "withdrawMinScale": "8",
                "congestion": "normal",
            }
            for chain in coin.chains
        ],
    }


def _spot_symbol(symbol: Symbol) -> dict[str, Any]:
    return {
        "symbol": symbol.name,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "minTradeAmount": "0",
        "maxTradeAmount": "900000000000000000000",
        "takerFeeRate": plain(symbol.taker),
        "makerFeeRate": plain(symbol.maker),
        "pricePrecision": str(symbol.price_places),
        "quantityPrecision": str(symbol.size_places),
        "quotePrecision": "8",
        "minTradeUSDT": plain(symbol.least),
        "status": "online",
        "buyLimitPriceRatio": "0.05",
        "sellLimitPriceRatio": "0.05",
        "orderQuantity": "500",
        "areaSymbol": "no",
    }


def _contract(symbol: Symbol) -> dict[str, Any]:
    unset = dict.fromkeys(("deliveryTime", "deliveryStartTime", "deliveryPeriod", "launchTime", "maintainTime"), "")
    return {
        "symbol": symbol.name,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "buyLimitPriceRatio": "0.05",
        "sellLimitPriceRatio": "0.05",
        "feeRateUpRatio": "0.005",
        "makerFeeRate": plain(symbol.maker),
        "takerFeeRate": plain(symbol.taker),
        "openCostUpRatio": "0.01",
        "supportMarginCoins": [symbol.quote],
        "minTradeNum": plain(symbol.step),
        "priceEndStep": "1",
        "volumePlace": str(symbol.size_places),
        "pricePlace": str(symbol.price_places),
        "sizeMultiplier": plain(symbol.step),
        "symbolType": "perpetual",
        "minTradeUSDT": plain(symbol.least),
        "maxSymbolOrderNum": "200",
        "maxProductOrderNum": "1000",
        "maxPositionNum": "150",
        "symbolStatus": "normal",
        "offTime": "-1",
        "limitOpenTime": "-1",
        "fundInterval": "8",
        "minLever": "1",
        "maxLever": str(symbol.lever),
        "posLimit": "0.1",
        **unset,
    }


def _instrument(symbol: Symbol) -> dict[str, Any]:
    common = {
        "symbol": symbol.name,
        "category": symbol.category,
        "baseCoin": symbol.base,
        "quoteCoin": symbol.quote,
        "buyLimitPriceRatio": "0.05",
        "sellLimitPriceRatio": "0.05",
        "makerFeeRate": plain(symbol.maker),
        "takerFeeRate": plain(symbol.taker),
        "minOrderQty": plain(symbol.step),
        "maxOrderQty": "0",
        "pricePrecision": str(symbol.price_places),
        "quantityPrecision": str(symbol.size_places),
        "quotePrecision": None if symbol.futures else "8",
        "minOrderAmount": plain(symbol.least),
        "maxSymbolOrderNum": "400",
        "maxProductOrderNum": "400",
        "status": "online",
        "maintainTime": "",
    }
    if not symbol.futures:
        return {**common, "areaSymbol": "no", "isReality": "no"}
    return {
        **common,
        "feeRateUpRatio": "0.005",
        "openCostUpRatio": "0.01",
        "priceMultiplier": plain(symbol.tick),
        "quantityMultiplier": plain(symbol.step),
        "type": "perpetual",
        "maxPositionNum": "150",
        "offTime": "-1",
        "limitOpenTime": "-1",
        "fundInterval": "8",
        "minLeverage": "1",
        "maxLeverage": str(symbol.lever),
        **dict.fromkeys(("deliveryTime", "deliveryStartTime", "deliveryPeriod", "launchTime"), ""),
    }


def _ticker(inquiry: Inquiry, symbol: Symbol) -> dict[str, Any]:
    price = symbol.price(inquiry.exchange.prices)
    size = plain(symbol.step * 2000)
    return {
        "symbol": symbol.name,
        **dict.fromkeys(("open", "high24h", "low24h", "lastPr", "openUtc"), plain(price)),
        "bidPr": plain(price - symbol.tick),
        "askPr": plain(price + symbol.tick),
        "bidSz": size,
        "askSz": size,
        "baseVolume": plain(_VOLUME),
        "quoteVolume": plain(_VOLUME * price),
        "usdtVolume": plain(_VOLUME * price * inquiry.exchange.prices[symbol.quote]),
        "changeUtc24h": "0",
        "change24h": "0",
        "ts": str(inquiry.exchange.clock()),
    }


def _mix_ticker(inquiry: Inquiry, symbol: Symbol) -> dict[str, Any]:
    price = plain(symbol.price(inquiry.exchange.prices))
    return {
        **_ticker(inquiry, symbol),
        **dict.fromkeys(("open24h", "indexPrice", "markPrice"), price),
        "fundingRate": "0.0001",
        "holdingAmount": "0",
        "deliveryStartTime": None,
        "deliveryTime": None,
        "deliveryStatus": "",
    }


def _unified_ticker(inquiry: Inquiry, symbol: Symbol) -> dict[str, Any]:
    price = symbol.price(inquiry.exchange.prices)
    size = plain(symbol.step * 2000)
    futures = {"indexPrice": plain(price), "markPrice": plain(price), "fundingRate": "0.0001", "openInterest": "0"}
    return {
        "category": symbol.category,
        "symbol": symbol.name,
        "ts": str(inquiry.exchange.clock()),
        **dict.fromkeys(("lastPrice", "openPrice24h", "highPrice24h", "lowPrice24h"), plain(price)),
        "bid1Price": plain(price - symbol.tick),
        "ask1Price": plain(price + symbol.tick),
        "bid1Size": size,
        "ask1Size": size,
        "price24hPcnt": "0",
        "volume24h": plain(_VOLUME),
        "turnover24h": plain(_VOLUME * price),
        **(futures if symbol.futures else {}),
    }


CALLS: Final[Table] = {
    ("GET", b"/api/v2/public/time"): Public(20, server_time),
    ("GET", b"/api/v3/market/time"): Public(20, server_time),
    ("GET", b"/api/v2/spot/public/coins"): Public(3, coins),
    ("GET", b"/api/v2/spot/public/symbols"): Public(20, spot_symbols),
    ("GET", b"/api/v2/spot/market/tickers"): Public(20, spot_tickers),
    ("GET", b"/api/v2/spot/market/orderbook"): Public(20, _depth(lambda _: SPOT, "40034")),
    ("GET", b"/api/v2/margin/currencies"): Public(10, margin_currencies),
    ("GET", b"/api/v2/mix/market/contracts"): Public(20, contracts),
    ("GET", b"/api/v2/mix/market/tickers"): Public(20, mix_tickers),
    ("GET", b"/api/v2/mix/market/ticker"): Public(20, mix_ticker),
    ("GET", b"/api/v2/mix/market/merge-depth"): Public(
        20, _depth(lambda inquiry: chosen(inquiry.params, "productType", PRODUCTS), "40034")
    ),
    ("GET", b"/api/v3/market/instruments"): Public(20, instruments),
    ("GET", b"/api/v3/market/tickers"): Public(20, tickers),
    ("GET", b"/api/v3/market/orderbook"): Public(
        20, _depth(lambda inquiry: chosen(inquiry.params, "category", CATEGORIES), "25100", "a", "b")
    ),
}
