"""The exchange's whole state: keys, faults, limits, prices and the log of what was received. One event loop owns
it; no I/O here."""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Protocol

from simulator import funds
from simulator.accounts import Account
from simulator.book import Book
from simulator.clock import Clock, now_ms
from simulator.faults import Fault, Faults
from simulator.limits import Limits

LOG_SIZE = 1000
FIRST_ID = 1_300_000_000_000_000_000
LOGGED_BODY = 16 * 1024  # bytes kept of each body, so that the log is bounded too

DEFAULT_PRICES = {"USDT": Decimal(1), "USDC": Decimal(1), "BTC": Decimal(65000), "ETH": Decimal(3200)}


@dataclass(frozen=True, slots=True)
class Seen:
    """One received request and what it was answered; `code` is the exchange code, or the fault's kind."""

    number: int
    at_ms: int
    peer: str
    account: str
    method: str
    target: str
    headers: Sequence[tuple[bytes, bytes]] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    code: str


@dataclass(frozen=True, slots=True)
class Setup:
    """What an exchange starts with, and returns to on reset. Prices are USD for one coin; a coin without one is
    worth nothing."""

    accounts: tuple[Account, ...] = ()
    faults: tuple[Fault, ...] = ()
    limits_enforced: bool = True
    prices: Mapping[str, Decimal] = field(default_factory=lambda: DEFAULT_PRICES)


@dataclass(slots=True)
class Life:
    """Since when a key has been used, and how often."""

    first_ms: int
    calls: int = 0


class Door(Protocol):
    """Where callers come in."""

    async def set_open(self, opened: bool) -> None:
        """Take connections, or cut those there are and refuse new ones."""


class NoDoor:
    """An exchange that nobody reaches over a socket of ours."""

    async def set_open(self, opened: bool) -> None:
        """There is nothing to close."""


class Exchange:
    """A Bitget in memory. `accounts` is keyed by API key; change it freely, each request reads it once."""

    def __init__(self, setup: Setup | None = None, clock: Clock = now_ms) -> None:
        self._setup = setup or Setup()
        self.clock = clock
        self.prices = self._setup.prices
        self.faults = Faults()
        self.limits = Limits()
        self.door: Door = NoDoor()
        self.reset()

    def reset(self) -> None:
        """Return to the state at the start: accounts, orders, faults, limits and an empty log."""
        self.accounts: dict[str, Account] = {account.api_key: account for account in self._setup.accounts}
        self.lives: dict[str, Life] = {}
        self.books: dict[str, Book] = {}
        self.arrived: Counter[str] = Counter()
        self._ids = FIRST_ID
        self.faults.replace([replace(fault) for fault in self._setup.faults], self.clock())
        self.limits.enforced = self._setup.limits_enforced
        self.limits.clear()
        self.log: deque[Seen] = deque(maxlen=LOG_SIZE)
        self.codes: Counter[str] = Counter()
        self.received = 0

    def meet(self, account: Account) -> Account:
        """Count one call with the account's key, and return the account as it has become by now."""
        now = self.clock()
        life = self.lives.setdefault(account.api_key, Life(now))
        life.calls += 1
        while account.later is not None and account.later.due(life.calls, (now - life.first_ms) / 1000):
            account = self.accounts[account.api_key] = account.later.becomes
        return account

    def fresh(self, account: Account) -> bool:
        """Tell whether the key was made so shortly ago that the exchange does not know it yet."""
        life = self.lives.get(account.api_key, Life(self.clock()))
        return life.calls <= account.fresh_calls or (self.clock() - life.first_ms) / 1000 < account.fresh_for

    def count(self, method: str, path: bytes) -> None:
        """Count one request by its method and path, which is cut; of paths without end only the first ones."""
        name = f"{method} {path.decode('latin-1')[:200]}"
        if name in self.arrived or len(self.arrived) < LOG_SIZE:
            self.arrived[name] += 1

    def book(self, uid: str) -> Book:
        """Return what a user has done here, from now on if nothing yet."""
        book = self.books.setdefault(uid, Book())
        book.elapse(self.clock())
        return book

    def usable(self, account: Account) -> Account:
        """Return an account with its money as it is now."""
        book = self.books.get(account.uid)
        return account if book is None else funds.usable(account, book)

    def owned(self, account: Account) -> Account:
        """Return an account with what has moved, as its configuration would have it."""
        book = self.books.get(account.uid)
        return account if book is None else funds.owned(account, book)

    def next_id(self) -> str:
        """Return a number that no order, fill or transfer had."""
        self._ids += 1
        return str(self._ids)

    def remove(self, api_key: str) -> Account | None:
        """Forget a key and its life; return what it was."""
        self.lives.pop(api_key, None)
        return self.accounts.pop(api_key, None)

    def named(self, name: str) -> Account:
        """Return the account with this name; KeyError when there is none."""
        for account in self.accounts.values():
            if account.name == name:
                return account
        raise KeyError(name)
