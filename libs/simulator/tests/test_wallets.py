"""Transfers and withdrawals work for keys that may, and for no others."""

from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

TRANSFER = {"fromType": "spot", "toType": "usdt_futures", "amount": "40", "coin": "USDT"}
WITHDRAWAL = {"coin": "USDT", "transferType": "on_chain", "address": "TNowhere", "chain": "TRC20", "size": "20"}
MONEY = {"spot": {"USDT": "100"}}
HERE = ["198.51.100.4"]
CLASSIC = ["stor", "coor", "wtow", "wwow"]


async def test_a_transfer_moves_money_between_wallets(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(mode="classic", authorities=CLASSIC, balances=MONEY))
    assert (await caller.ask("/api/v2/spot/wallet/transfer", TRANSFER))["transferId"]
    assert [row["available"] for row in await caller.ask("/api/v2/spot/account/assets")] == ["60"]
    (row,) = await caller.ask("/api/v2/mix/account/accounts?productType=USDT-FUTURES")
    assert row["available"] == "40"
    assert await caller.refusal("/api/v2/spot/wallet/transfer", {**TRANSFER, "amount": "61"}) == "43117"


@pytest.mark.parametrize(
    ("mode", "path", "assets"),
    [
        ("classic", "/api/v2/spot/wallet/withdrawal", "/api/v2/spot/account/assets"),
        ("unified", "/api/v3/account/withdrawal", "/api/v3/account/assets"),
    ],
)
async def test_a_withdrawal_takes_the_amount_and_the_fee(
    serve: Serve, make_account: Make, mode: str, path: str, assets: str
) -> None:
    _, caller = serve(make_account(mode=mode, authorities=CLASSIC, balances=MONEY, ips=HERE))
    placed = await caller.ask(path, WITHDRAWAL)
    data = await caller.ask(assets)
    (row,) = data if mode == "classic" else data["assets"]
    assert row["available"] == "78.5"
    assert [one["orderId"] for one in await caller.ask(f"{path}-records")] == [placed["orderId"]]


@pytest.mark.parametrize(
    ("mode", "path", "changed", "code"),
    [
        ("classic", "/api/v2/spot/wallet/transfer", {"authorities": ["stow", "wtor"]}, "40014"),
        ("classic", "/api/v2/spot/wallet/withdrawal", {"authorities": ["stow", "wtow"]}, "40014"),
        ("classic", "/api/v2/spot/wallet/withdrawal", {"ips": []}, "22010"),
        ("unified", "/api/v3/account/transfer", {"perm_type": "read_only"}, "40014"),
        ("unified", "/api/v3/account/withdrawal", {"perm_type": "read_only"}, "40014"),
        ("unified", "/api/v3/account/transfer", {"permissions": ["uta_trade"]}, "40014"),
        ("unified", "/api/v3/account/withdrawal", {"permissions": ["uta_trade"]}, "40014"),
    ],
)
async def test_a_key_without_the_right_moves_nothing(
    serve: Serve, make_account: Make, mode: str, path: str, changed: dict[str, Any], code: str
) -> None:
    usual = {"mode": mode, "authorities": CLASSIC, "balances": MONEY, "ips": HERE}
    exchange, caller = serve(make_account(**{**usual, **changed}))
    assert await caller.refusal(path, {**TRANSFER, **WITHDRAWAL}) == code
    assert not exchange.book("1001").moved


@pytest.mark.parametrize(
    ("changed", "code"),
    [({"size": "5"}, "43114"), ({"size": "99"}, "43012"), ({"chain": "MOON"}, "40034"), ({"address": ""}, "40019")],
)
async def test_a_wrong_withdrawal_is_refused(
    serve: Serve, make_account: Make, changed: dict[str, Any], code: str
) -> None:
    exchange, caller = serve(make_account(mode="classic", authorities=CLASSIC, balances=MONEY, ips=HERE))
    assert await caller.refusal("/api/v2/spot/wallet/withdrawal", {**WITHDRAWAL, **changed}) == code
    assert not exchange.book("1001").moved
