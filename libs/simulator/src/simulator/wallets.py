"""Money that leaves a wallet: transfers between one's own wallets, and withdrawals. They work for keys that may, so
that a test can show that nobody else's call gets through. A withdrawal is gone at once; no chain is behind it."""

import re
from decimal import Decimal
from typing import Any, Final

from simulator import funds
from simulator.accounts import Scope
from simulator.book import Movement, WalletName
from simulator.calls import MANAGE_READ, MANAGE_WRITE, Call, Fields, Private, Table, positive, required, text
from simulator.codes import Refusal
from simulator.symbols import COINS, Chain
from simulator.tickets import client_oid, page

TRANSFER_WRITE: Final = Scope("transfer write", frozenset(("wtow",)))
TRANSFER_READ: Final = Scope("transfer read", frozenset(("wtor", "wtow")))
WITHDRAW_WRITE: Final = Scope("withdraw write", frozenset(("wwow",)))
# The sources disagree whether v3 asks for `withdraw` or for management with write: either opens it here.
UNIFIED_WITHDRAW: Final = Scope("withdraw write", frozenset(("withdraw", "uta_mgt")), write=True)
_TYPES: Final[dict[str, WalletName]] = {
    "spot": "spot",
    "uta": "spot",
    "usdt_futures": "futures",
    "usdc_futures": "futures",
    "coin_futures": "futures",
    "p2p": "funding",
    "funding": "funding",
}
_ADDRESS: Final = re.compile(r"[!-~]{4,128}")


def transfer(call: Call) -> dict[str, str]:
    fields, book = call.fields(), call.exchange.book(call.account.uid)
    source, target = _wallet(fields, "fromType"), _wallet(fields, "toType")
    coin, amount = required(fields, "coin"), positive(fields, "amount")
    if amount > funds.available(call.account, source, coin):
        raise Refusal("43117")
    book.move(source, coin, -amount)
    book.move(target, coin, amount)
    done = _kept(call, fields, amount, text(fields, "fromType"), text(fields, "toType"))
    book.transfers.append(done)
    return {"transferId": done.id, "clientOid": done.client_oid}


def withdraw(call: Call) -> dict[str, str]:
    """Take the amount and the network's fee; only a key with an address list may."""
    if not call.account.ips:
        raise Refusal("22010")
    fields, book = call.fields(), call.exchange.book(call.account.uid)
    coin, amount = required(fields, "coin"), positive(fields, "size")
    address = required(fields, "address")
    if not _ADDRESS.fullmatch(address):
        raise Refusal("40020", "address")
    chain = _chain(fields, coin) if text(fields, "transferType") != "internal_transfer" else None
    if chain is not None and amount < chain.least:
        raise Refusal("43114", str(chain.least))
    cost = amount + (chain.fee if chain else Decimal(0))
    if cost > funds.available(call.account, "spot", coin):
        raise Refusal("43012")
    book.move("spot", coin, -cost)
    done = _kept(call, fields, amount, "spot", address)
    book.withdrawals.append(done)
    return {"orderId": done.id, "clientOid": done.client_oid}


def withdrawals(call: Call) -> list[dict[str, Any]]:
    found = page(call, call.exchange.book(call.account.uid).withdrawals, lambda one: one.id)
    return [
        {
            "orderId": one.id,
            "clientOid": one.client_oid,
            "recordId": one.id,
            "coin": one.coin,
            "type": "withdraw",
            "size": str(one.amount),
            "toAddress": one.target,
            "status": "success",
            "cTime": str(one.at_ms),
            "uTime": str(one.at_ms),
        }
        for one in found
    ]


def _kept(call: Call, fields: Fields, amount: Decimal, source: str, target: str) -> Movement:
    number = call.exchange.next_id()
    oid = client_oid(fields, "clientOid") or number
    return Movement(number, oid, required(fields, "coin"), amount, source, target, call.exchange.clock())


def _wallet(fields: Fields, name: str) -> WalletName:
    if (wallet := _TYPES.get(required(fields, name))) is None:
        raise Refusal("40020", name)
    return wallet


def _chain(fields: Fields, coin: str) -> Chain:
    wanted = required(fields, "chain")
    chains = COINS[coin].chains if coin in COINS else ()
    for chain in chains:
        if chain.name.lower() == wanted.lower():
            return chain
    raise Refusal("40034", "chain")


CALLS: Final[Table] = {
    ("POST", b"/api/v2/spot/wallet/transfer"): Private(10, TRANSFER_WRITE, transfer),
    ("POST", b"/api/v2/spot/wallet/withdrawal"): Private(5, WITHDRAW_WRITE, withdraw),
    ("GET", b"/api/v2/spot/wallet/withdrawal-records"): Private(10, TRANSFER_READ, withdrawals),
    ("POST", b"/api/v3/account/transfer"): Private(5, MANAGE_WRITE, transfer),
    ("POST", b"/api/v3/account/withdrawal"): Private(1, UNIFIED_WITHDRAW, withdraw),
    ("GET", b"/api/v3/account/withdrawal-records"): Private(10, MANAGE_READ, withdrawals),
}
