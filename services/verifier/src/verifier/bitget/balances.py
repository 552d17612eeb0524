"""Own what an account holds, in our shape: decimal texts as the exchange gave them, summed once."""

from collections.abc import Container, Mapping
from typing import Any, Final

from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT, Balances, CoinBalance, FuturesBalance, Scope

from verifier.bitget.models import amount, coin, rows, text, told, total

Scopes = Container[Scope.ValueType]
WALLETS: Final = {"spot": SCOPE_SPOT, "futures": SCOPE_FUTURES}


def unified(data: Any, scopes: Scopes) -> Balances | None:
    """Return the one pool of a unified account; `total_usdt` is the exchange's own figure, never a sum of coins."""
    if not isinstance(data, dict):
        return None
    equity = told(data, "usdtEquity")
    spot = [_unified_coin(row) for row in rows(data.get("assets")) if coin(row.get("coin"))]
    profit = amount(data.get("usdtUnrealisedPnl", data.get("unrealisedPnl")))
    # effEquity is what the exchange counts as margin, which is as near to "available" as it tells for the pool.
    pool = FuturesBalance(
        product="UNIFIED", coin="USDT", available=told(data, "effEquity"), equity=equity, unrealized_pnl=profit
    )
    return Balances(
        total_usdt=equity,
        spot=spot if SCOPE_SPOT in scopes else [],
        futures=[pool] if SCOPE_FUTURES in scopes else [],
    )


def classic(spot: Any, futures: Mapping[str, Any], overview: Any, scopes: Scopes) -> Balances:
    """Return the wallets of a classic account: `spot` rows, `futures` rows by product, `overview` by wallet.

    The total covers the requested scopes. Nothing here prices coins: without the overview it is told only where USDT
    is all there is in spot, and otherwise stays empty, which means unknown.
    """
    coins = [_classic_coin(row) for row in rows(spot) if coin(row.get("coin"))]
    positions = [(product, row) for product, data in futures.items() for row in rows(data)]
    valued = [told(row, "usdtBalance") for row in rows(overview) if WALLETS.get(text(row.get("accountType"))) in scopes]
    counted = [item.total for item in coins if item.coin == "USDT"]
    counted += [told(row, "usdtEquity") for _, row in positions]
    unpriced = any(item.coin != "USDT" and item.total != "0" for item in coins)
    return Balances(
        total_usdt="" if unpriced and not valued else total(*(valued or counted)),
        spot=coins,
        futures=[_classic_futures(product, row) for product, row in positions if coin(row.get("marginCoin"))],
    )


def funded(data: Any, *names: str) -> bool:
    """Tell whether any row holds more than nothing in one of the named amounts."""
    return any(total(amount(row.get(name))) not in ("", "0") for row in rows(data) for name in names)


def _unified_coin(row: dict[str, Any]) -> CoinBalance:
    return CoinBalance(
        coin=coin(row.get("coin")),
        available=told(row, "available"),
        locked=amount(row.get("locked")),
        total=told(row, "balance"),
    )


def _classic_coin(row: dict[str, Any]) -> CoinBalance:
    available, locked = told(row, "available"), total(amount(row.get("frozen")), amount(row.get("locked")))
    return CoinBalance(coin=coin(row.get("coin")), available=available, locked=locked, total=total(available, locked))


def _classic_futures(product: str, row: dict[str, Any]) -> FuturesBalance:
    return FuturesBalance(
        product=product,
        coin=coin(row.get("marginCoin")),
        available=told(row, "available"),
        equity=told(row, "accountEquity"),
        unrealized_pnl=amount(row.get("unrealizedPL")),
    )
