"""What the two account families answer to their reads (docs/bitget.md 2.2-2.4). Numbers are text; the account's
style picks between spellings where the sources differ. Reads only: nothing here changes an account."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from simulator.accounts import NOTHING, Account, Holding, Wallet
from simulator.amounts import ZERO, plain
from simulator.calls import ANY_READ, FUTURES_READ, MANAGE_READ, SPOT_READ, Call, Private, Table
from simulator.codes import Refusal

REGISTERED_MS: Final = "1672531200000"
MARGIN_COINS: Final = {"USDT-FUTURES": "USDT", "USDC-FUTURES": "USDC", "COIN-FUTURES": ""}

_IDLE: Final = (  # fields of a futures account that holds no position
    *("crossedRiskRate", "unrealizedPL", "crossedUnrealizedPL", "isolatedUnrealizedPL"),
    *("crossedMargin", "isolatedMargin", "unionMm", "coupon"),
)


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
    pool = account.pool()
    prices = call.exchange.prices
    equity = sum((holding.total * prices.get(coin, Decimal(0)) for coin, holding in pool.items()), Decimal(0))
    totals = dict.fromkeys(("unrealisedPnl", "usdtUnrealisedPnl", "btcUnrealizedPnl", "mmr", "imr", "mgnRatio"), "0")
    return {
        "accountEquity": plain(equity),
        "usdtEquity": plain(equity / prices["USDT"]),
        "btcEquity": plain(equity / prices["BTC"]),
        "effEquity": plain(equity),
        "positionMgnRatio": "0",
        **totals,
        "assets": _listed(account, [_unified_asset(coin, held, prices.get(coin, ZERO)) for coin, held in pool.items()]),
    }


def unified_funding(call: Call) -> list[dict[str, str]]:
    return [
        {
            "coin": coin,
            "balance": plain(held.total),
            "available": plain(held.available),
            "frozen": plain(held.frozen),
        }
        for coin, held in call.account.funding.items()
    ]


def unified_settings(call: Call) -> dict[str, Any]:
    account = call.account
    return {
        "uid": account.uid,
        "accountMode": account.mode,
        "assetMode": "union",
        "holdMode": "hedge_mode" if call.exchange.book(account.uid).hedged else "one_way_mode",
        "stpMode": "none",
        "symbolConfigList": _empty_list(account),
        "coinConfigList": _empty_list(account),
    }


def switch_status(_: Call) -> dict[str, str | None]:
    return {"status": "success", "reason": None}


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
            "available": plain(held.available),
            "frozen": plain(held.frozen),
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
        return [futures_account(coin, call.account.futures.get(coin, NOTHING), call.exchange.prices)]
    if call.account.style.coin_futures == "error":  # delisted
        raise Refusal("40034", "productType")
    if call.account.style.coin_futures == "empty":
        return []
    coins = (item for item in call.account.futures.items() if item[0] not in MARGIN_COINS.values())
    return [futures_account(coin, held, call.exchange.prices) for coin, held in coins]


def upgrade_status(_: Call) -> dict[str, str | None]:
    return {"status": "fail", "reason": "upgrade_disabled"}


def classic_bots(_: Call) -> list[dict[str, str]]:
    return []


def classic_overview(call: Call) -> list[dict[str, str]]:
    account = call.account
    wallets: dict[str, Wallet] = {"spot": account.spot, "futures": account.futures, "funding": account.funding}
    return [
        {"accountType": name, "usdtBalance": plain(_in_usdt(wallets.get(name, {}), call.exchange.prices))}
        for name in ("spot", "futures", "funding", "earn", "bots", "margin")
    ]


def classic_funding(call: Call) -> list[dict[str, str]]:
    prices = call.exchange.prices
    return [
        {
            "coin": coin,
            "available": plain(held.available),
            "frozen": plain(held.frozen),
            "usdtValue": plain(_in_usdt({coin: held}, prices)),
        }
        for coin, held in call.account.funding.items()
    ]


def _unified_asset(coin: str, held: Holding, price: Decimal) -> dict[str, str]:
    return {
        "coin": coin,
        "equity": plain(held.total),
        "usdValue": plain(held.total * price),
        "balance": plain(held.total),
        "available": plain(held.available),
        "debt": "0",
        "locked": plain(held.frozen),
    }


def futures_account(coin: str, held: Holding, prices: Mapping[str, Decimal]) -> dict[str, Any]:
    available, total = plain(held.available), plain(held.total)
    in_usdt = _in_usdt({coin: held}, prices)
    return {
        "marginCoin": coin,
        "locked": plain(held.frozen),
        "available": available,
        "crossedMaxAvailable": available,
        "isolatedMaxAvailable": available,
        "maxTransferOut": available,
        "accountEquity": total,
        "usdtEquity": plain(in_usdt),
        "btcEquity": plain(in_usdt * prices["USDT"] / prices["BTC"]),
        "unionTotalMargin": total,
        "unionAvailable": available,
        "assetList": [],
        "assetMode": "single",
        **dict.fromkeys(_IDLE, "0"),
    }


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


CALLS: Final[Table] = {
    ("GET", b"/api/v3/account/info"): Private(5, None, unified_info),
    ("GET", b"/api/v3/account/assets"): Private(20, MANAGE_READ, unified_assets),
    ("GET", b"/api/v3/account/funding-assets"): Private(20, MANAGE_READ, unified_funding),
    ("GET", b"/api/v3/account/settings"): Private(20, MANAGE_READ, unified_settings),
    ("GET", b"/api/v3/account/switch-status"): Private(5, MANAGE_READ, switch_status),
    ("GET", b"/api/v2/spot/account/info"): Private(1, SPOT_READ, classic_info),
    ("GET", b"/api/v2/spot/account/assets"): Private(10, SPOT_READ, classic_spot),
    ("GET", b"/api/v2/mix/account/accounts"): Private(10, FUTURES_READ, classic_futures),
    ("GET", b"/api/v2/spot/account/upgrade-status"): Private(1, SPOT_READ, upgrade_status),
    ("GET", b"/api/v2/account/all-account-balance"): Private(1, ANY_READ, classic_overview),
    ("GET", b"/api/v2/account/funding-assets"): Private(10, ANY_READ, classic_funding),
    ("GET", b"/api/v2/account/bot-assets"): Private(10, ANY_READ, classic_bots),
}
