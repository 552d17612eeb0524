"""What the two account families answer to their reads (docs/bitget.md 2.2-2.4). Numbers are text; the account's
style picks between spellings where the sources differ. Reads only: nothing here changes an account."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from simulator.accounts import Account, Holding, Wallet
from simulator.codes import Refusal
from simulator.exchange import Exchange

REGISTERED_MS: Final = "1672531200000"
CATEGORIES: Final = frozenset(("SPOT", "MARGIN", "USDT-FUTURES", "USDC-FUTURES", "COIN-FUTURES"))
MARGIN_COINS: Final = {"USDT-FUTURES": "USDT", "USDC-FUTURES": "USDC", "COIN-FUTURES": ""}
ZERO: Final = Decimal(0)
NOTHING: Final = Holding(ZERO, ZERO)

_IDLE: Final = (  # fields of a futures account that holds no position
    *("crossedRiskRate", "unrealizedPL", "crossedUnrealizedPL", "isolatedUnrealizedPL"),
    *("crossedMargin", "isolatedMargin", "unionMm", "coupon"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated, permitted call: what a reply is made from."""

    exchange: Exchange
    account: Account
    params: Mapping[str, str]
    body: bytes = b""

    def chosen(self, name: str, options: frozenset[str]) -> str:
        """Return a required parameter in upper case; 40019 when missing, 40020 when it is none of the options."""
        value = self.params.get(name, "").upper()
        if not value:
            raise Refusal("40019", name)
        if value not in options:
            raise Refusal("40020", name)
        return value


def unified_info(call: Call) -> dict[str, Any]:
    account = call.account
    if account.style.info == "manage" and "uta_mgt" not in account.permissions:  # where the sources disagree
        raise Refusal("40014", "uta manage read")
    word = account.perm_type if account.style.perm_type == "underscore" else account.perm_type.replace("_", "-")
    return {
        "userId": account.uid,
        "inviterId": None,
        "parentId": _parent(account),
        "channelCode": "",
        "channel": "",
        "ips": _ips(account),
        "permType": word,
        "permissions": list(account.permissions),
        "regisTime": REGISTERED_MS,
    }


def unified_assets(call: Call) -> dict[str, Any]:
    """One pool: spot and futures money together, non-zero coins only."""
    account = call.account
    pool = _pool(account)
    prices = call.exchange.prices
    equity = sum((holding.total * prices.get(coin, Decimal(0)) for coin, holding in pool.items()), Decimal(0))
    totals = dict.fromkeys(("unrealisedPnl", "usdtUnrealisedPnl", "btcUnrealizedPnl", "mmr", "imr", "mgnRatio"), "0")
    return {
        "accountEquity": _number(equity),
        "usdtEquity": _number(equity / prices["USDT"]),
        "btcEquity": _number(equity / prices["BTC"]),
        "effEquity": _number(equity),
        "positionMgnRatio": "0",
        **totals,
        "assets": _listed(account, [_unified_asset(coin, held, prices.get(coin, ZERO)) for coin, held in pool.items()]),
    }


def unified_funding(call: Call) -> list[dict[str, str]]:
    return [
        {
            "coin": coin,
            "balance": _number(held.total),
            "available": _number(held.available),
            "frozen": _number(held.frozen),
        }
        for coin, held in call.account.funding.items()
    ]


def unified_settings(call: Call) -> dict[str, Any]:
    account = call.account
    return {
        "uid": account.uid,
        "accountMode": account.mode,
        "assetMode": "union",
        "holdMode": "one_way_mode",
        "stpMode": "none",
        "symbolConfigList": _empty_list(account),
        "coinConfigList": _empty_list(account),
    }


def switch_status(_: Call) -> dict[str, str | None]:
    return {"status": "success", "reason": None}


def unified_positions(call: Call) -> dict[str, Any]:
    call.chosen("category", CATEGORIES)
    return {"list": _empty_list(call.account)}


def classic_info(call: Call) -> dict[str, Any]:
    account = call.account
    return {
        "userId": account.uid,
        "inviterId": "",
        "channelCode": "",
        "channel": "",
        "ips": _ips(account),
        "authorities": list(account.authorities),
        "parentId": _parent(account),
        "traderType": "not_trader",
        "regisTime": REGISTERED_MS,
    }


def classic_spot(call: Call) -> Any:
    wanted = call.params.get("coin", "").upper()
    everything = call.params.get("assetType", "hold_only") == "all"
    now = str(call.exchange.clock())
    found = [
        {
            "coin": coin,
            "available": _number(held.available),
            "frozen": _number(held.frozen),
            "locked": "0",
            "limitAvailable": "0",
            "uTime": now,
        }
        for coin, held in call.account.spot.items()
        if (not wanted or coin == wanted) and (everything or held.total)
    ]
    return _listed(call.account, found)


def classic_futures(call: Call) -> list[dict[str, Any]]:
    """One entry for each margin coin; COIN-FUTURES covers every coin but the two stable ones."""
    product = call.chosen("productType", frozenset(MARGIN_COINS))
    if coin := MARGIN_COINS[product]:
        return [_futures_account(coin, call.account.futures.get(coin, NOTHING), call.exchange.prices)]
    if call.account.style.coin_futures == "error":  # delisted
        raise Refusal("40034", "productType")
    if call.account.style.coin_futures == "empty":
        return []
    coins = (item for item in call.account.futures.items() if item[0] not in MARGIN_COINS.values())
    return [_futures_account(coin, held, call.exchange.prices) for coin, held in coins]


def upgrade_status(_: Call) -> dict[str, str | None]:
    return {"status": "fail", "reason": "upgrade_disabled"}


def classic_bots(_: Call) -> list[dict[str, str]]:
    return []


def classic_overview(call: Call) -> list[dict[str, str]]:
    account = call.account
    wallets: dict[str, Wallet] = {"spot": account.spot, "futures": account.futures, "funding": account.funding}
    return [
        {"accountType": name, "usdtBalance": _number(_in_usdt(wallets.get(name, {}), call.exchange.prices))}
        for name in ("spot", "futures", "funding", "earn", "bots", "margin")
    ]


def classic_funding(call: Call) -> list[dict[str, str]]:
    prices = call.exchange.prices
    return [
        {
            "coin": coin,
            "available": _number(held.available),
            "frozen": _number(held.frozen),
            "usdtValue": _number(_in_usdt({coin: held}, prices)),
        }
        for coin, held in call.account.funding.items()
    ]


def _unified_asset(coin: str, held: Holding, price: Decimal) -> dict[str, str]:
    return {
        "coin": coin,
        "equity": _number(held.total),
        "usdValue": _number(held.total * price),
        "balance": _number(held.total),
        "available": _number(held.available),
        "debt": "0",
        "locked": _number(held.frozen),
    }


def _futures_account(coin: str, held: Holding, prices: Mapping[str, Decimal]) -> dict[str, Any]:
    available, total = _number(held.available), _number(held.total)
    in_usdt = _in_usdt({coin: held}, prices)
    return {
        "marginCoin": coin,
        "locked": _number(held.frozen),
        "available": available,
        "crossedMaxAvailable": available,
        "isolatedMaxAvailable": available,
        "maxTransferOut": available,
        "accountEquity": total,
        "usdtEquity": _number(in_usdt),
        "btcEquity": _number(in_usdt * prices["USDT"] / prices["BTC"]),
        "unionTotalMargin": total,
        "unionAvailable": available,
        "assetList": [],
        "assetMode": "single",
        **dict.fromkeys(_IDLE, "0"),
    }


def _pool(account: Account) -> dict[str, Holding]:
    pool = {coin: held for coin, held in account.spot.items() if held.total}
    for coin, held in account.futures.items():
        if held.total:
            base = pool.get(coin, NOTHING)
            pool[coin] = Holding(base.available + held.available, base.frozen + held.frozen)
    return pool


def _in_usdt(wallet: Wallet, prices: Mapping[str, Decimal]) -> Decimal:
    usd = sum((held.total * prices.get(coin, Decimal(0)) for coin, held in wallet.items()), Decimal(0))
    return usd / prices["USDT"]


def _ips(account: Account) -> str | list[str] | None:
    if account.style.ips == "list":
        return list(account.ips)
    if account.style.ips == "null" and not account.ips:
        return None
    return ",".join(account.ips)


def _parent(account: Account) -> str | int | None:
    if account.style.parent_id == "number":
        return int(account.parent_id or 0)
    if account.style.parent_id == "null" and not account.parent_id:
        return None
    return account.parent_id


def _listed(account: Account, found: list[Any]) -> Any:
    """Return rows as the account's style has them: a list, null, or a list inside an object."""
    return {"list": found, "null": None, "wrapped": {"list": found}}[account.style.wallets]


def _empty_list(account: Account) -> list[Any] | None:
    return None if account.style.lists == "null" else []


def _number(amount: Decimal) -> str:
    return format(amount.quantize(Decimal("1e-12")).normalize() + 0, "f") if amount else "0"
