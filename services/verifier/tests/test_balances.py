"""Amounts: as the exchange gave them, summed once, and never made up where one was not told."""

from typing import Any

import pytest
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT
from verifier.bitget import balances, models

BOTH = frozenset((SCOPE_SPOT, SCOPE_FUTURES))
USDT = {"coin": "USDT", "available": "10", "frozen": "1", "locked": "0.5"}
FUTURES = {"marginCoin": "USDT", "available": "3", "accountEquity": "4", "usdtEquity": "4", "unrealizedPL": "-1"}


def test_a_classic_account_is_summed_from_its_wallets() -> None:
    held = balances.classic([USDT], {"USDT-FUTURES": [FUTURES]}, None, BOTH)
    assert held.total_usdt == "15.5"
    assert (held.spot[0].locked, held.spot[0].total) == ("1.5", "11.5")
    assert (held.futures[0].equity, held.futures[0].unrealized_pnl) == ("4", "-1")


@pytest.mark.parametrize("odd", [None, "x", [], {}, True, "NaN"])
def test_a_sum_with_an_unknown_part_is_unknown(odd: Any) -> None:
    spot = balances.classic([{**USDT, "available": odd}], {}, None, BOTH)
    assert (spot.spot[0].available, spot.spot[0].total, spot.total_usdt) == ("", "", "")
    futures = balances.classic([USDT], {"USDT-FUTURES": [{**FUTURES, "usdtEquity": odd}]}, None, BOTH)
    assert futures.total_usdt == ""
    valued = balances.classic([USDT], {}, [{"accountType": "spot", "usdtBalance": odd}], BOTH)
    assert valued.total_usdt == ""
    unified = balances.unified({"usdtEquity": odd, "assets": [{"coin": "USDT", "balance": odd}]}, BOTH)
    assert unified is not None
    assert (unified.total_usdt, unified.spot[0].total, unified.futures[0].equity) == ("", "", "")


def test_a_wallet_without_locked_amounts_has_none() -> None:
    held = balances.classic([{"coin": "USDT", "available": "7"}], {}, None, BOTH)
    assert (held.spot[0].locked, held.spot[0].total, held.total_usdt) == ("0", "7", "7")


@pytest.mark.parametrize("empty", [None, [], {"list": None}, {}, "x", 7])
def test_no_rows_are_no_money_and_no_fault(empty: Any) -> None:
    held = balances.classic(empty, {"COIN-FUTURES": empty}, empty, BOTH)
    assert (held.total_usdt, list(held.spot), list(held.futures)) == ("0", [], [])


def test_coins_without_a_price_leave_the_total_unknown_and_the_exchanges_own_value_tells_it() -> None:
    coins = [USDT, {"coin": "BTC", "available": "1"}]
    assert balances.classic(coins, {}, None, BOTH).total_usdt == ""
    overview = [{"accountType": "spot", "usdtBalance": "65011.5"}, {"accountType": "earn", "usdtBalance": "9"}]
    assert balances.classic(coins, {}, overview, BOTH).total_usdt == "65011.5"


def test_an_amount_that_is_unknown_is_not_taken_for_funds() -> None:
    assert not balances.funded([{"available": "x"}], "available")
    assert balances.funded([{"available": "x"}, {"available": "0.1"}], "available")
    assert models.total("1", "", "2") == ""
