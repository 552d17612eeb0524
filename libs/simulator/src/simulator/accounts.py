"""One API key as the exchange knows it, with the account behind it. Immutable: a change makes a new Account, so
that a request sees one state from start to end. Never shows a credential in its repr."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Literal

from simulator.signature import Verifier

Mode = Literal["classic", "unified", "hybrid", "upgrading", "switching"]

AUTHORITIES: Final = frozenset(
    (
        *("coor", "coow", "cpor", "cpow", "stor", "stow", "smor", "smow", "ttor", "ttow", "wtor", "wtow"),
        *("wwow", "chor", "chow", "p2pr", "p2p", "p2pw", "taxr", "taxw", "pllr", "pllw"),
    )
)


@dataclass(frozen=True, slots=True)
class Style:
    """Which of two spellings an account's replies use, where Bitget's own sources disagree."""

    ips: Literal["text", "list", "null"] = "text"
    perm_type: Literal["underscore", "hyphen"] = "underscore"
    parent_id: Literal["text", "number", "null"] = "text"
    success: Literal["msg", "message"] = "msg"
    lists: Literal["null", "empty"] = "empty"
    wallets: Literal["list", "null", "wrapped"] = "list"
    info: Literal["open", "manage"] = "open"
    coin_futures: Literal["offered", "empty", "error"] = "offered"


@dataclass(frozen=True, slots=True)
class Holding:
    """An amount of one coin in one wallet."""

    available: Decimal
    frozen: Decimal

    @property
    def total(self) -> Decimal:
        return self.available + self.frozen


Wallet = Mapping[str, Holding]
NOTHING: Final = Holding(Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Later:
    """What becomes of an account after so many calls of its key, or seconds since the first of them."""

    becomes: "Account"
    change: Mapping[str, Any] = field(repr=False)
    calls: int = 0
    seconds: float = 0.0

    def due(self, calls: int, elapsed_s: float) -> bool:
        """Tell whether the account has changed by its `calls`-th call, `elapsed_s` after the first."""
        return bool(self.calls and calls > self.calls) or bool(self.seconds and elapsed_s >= self.seconds)


@dataclass(frozen=True, slots=True)
class Account:
    """An API key, its rights and its owner's wallets.

    `seen_ip` replaces the caller's address, so that a loopback caller can pretend. `state` is a name of codes.STATES. A
    key made seconds ago is unknown for `fresh_for` seconds, or `fresh_calls` calls, from its first call on.
    """

    name: str
    api_key: str
    passphrase: str = field(repr=False)
    verifier: Verifier = field(repr=False)
    uid: str
    secret_key: str = field(default="", repr=False)
    public_key_pem: str = field(default="", repr=False)
    parent_id: str = ""
    mode: Mode = "unified"
    demo: bool = False
    authorities: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()
    perm_type: Literal["read_only", "read_and_write"] = "read_and_write"
    ips: tuple[str, ...] = ()
    seen_ip: str = ""
    spot: Wallet = field(default_factory=dict)
    futures: Wallet = field(default_factory=dict)
    funding: Wallet = field(default_factory=dict)
    style: Style = Style()
    state: str = ""
    fresh_for: float = 0.0
    fresh_calls: int = 0
    later: Later | None = None
    expect: str = ""

    @property
    def classic(self) -> bool:
        return self.mode == "classic"

    def pool(self) -> dict[str, Holding]:
        """Return spot and futures money as one, as a unified account has it; non-zero coins only."""
        pool = {coin: held for coin, held in self.spot.items() if held.total}
        for coin, held in self.futures.items():
            if held.total:
                base = pool.get(coin, NOTHING)
                pool[coin] = Holding(base.available + held.available, base.frozen + held.frozen)
        return pool


@dataclass(frozen=True, slots=True)
class Scope:
    """A right an endpoint needs: any one of `tokens`, in words for the refusal; `write` also needs a read-write
    unified key."""

    words: str
    tokens: frozenset[str]
    write: bool = False

    def granted(self, account: Account) -> bool:
        """Tell whether the key has the right; classic keys carry it in `authorities`, unified ones in `permissions`."""
        if account.classic:
            return not self.tokens.isdisjoint(account.authorities)
        if self.write and account.perm_type != "read_and_write":
            return False
        return not self.tokens.isdisjoint(account.permissions)
