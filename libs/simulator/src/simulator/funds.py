"""What a user owns and can use: the configured wallets, what has moved since, and what orders and positions tie up."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from simulator.accounts import NOTHING, Account, Holding
from simulator.book import Book, WalletName

Wallets = dict[WalletName, dict[str, Holding]]


def owned(account: Account, book: Book) -> Account:
    """Return the account with what has moved, as its configuration would have it: nothing is tied up by an order."""
    if not book.moved:
        return account
    wallets = _wallets(account)
    if not account.classic:  # one pool: what spot lacks, futures has
        moved = {coin for _, coin in book.moved}
        pool = account.pool()
        for coin in moved:
            wallets["futures"].pop(coin, None)
            wallets["spot"][coin] = pool.get(coin, NOTHING)
    for (wallet, coin), amount in book.moved.items():
        _add(wallets[_in(account, wallet)], coin, amount)
    return replace(account, spot=wallets["spot"], futures=wallets["futures"], funding=wallets["funding"])


def usable(account: Account, book: Book) -> Account:
    """Return the account as its owner sees it: what orders and positions tie up is frozen."""
    account = owned(account, book)
    if not book.live and not book.positions:
        return account
    wallets = _wallets(account)
    for wallet, coin, amount in _merged(account, book.held()):
        held = wallets[wallet].get(coin, NOTHING)
        wallets[wallet][coin] = Holding(held.available - amount, held.frozen + amount)
    return replace(account, spot=wallets["spot"], futures=wallets["futures"])


def available(account: Account, wallet: WalletName, coin: str) -> Decimal:
    """Return what can be used of a coin; `account` as `usable` returned it."""
    if wallet == "funding":
        return account.funding.get(coin, NOTHING).available
    if not account.classic:
        return account.pool().get(coin, NOTHING).available
    return (account.spot if wallet == "spot" else account.futures).get(coin, NOTHING).available


def _merged(
    account: Account, held: Iterable[tuple[WalletName, str, Decimal]]
) -> Iterable[tuple[WalletName, str, Decimal]]:
    return ((_in(account, wallet), coin, amount) for wallet, coin, amount in held)


def _in(account: Account, wallet: WalletName) -> WalletName:
    return wallet if account.classic or wallet == "funding" else "spot"


def _wallets(account: Account) -> Wallets:
    return {"spot": dict(account.spot), "futures": dict(account.futures), "funding": dict(account.funding)}


def _add(wallet: dict[str, Holding], coin: str, amount: Decimal) -> None:
    held = wallet.get(coin, NOTHING)
    wallet[coin] = Holding(held.available + amount, held.frozen)
