"""Own which rights a scope needs, in the words of Bitget's own dialog: which are missing, which nobody asked for."""

from collections.abc import Container
from typing import Final

from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_CLASSIC,
    ANSWER_UNKNOWN,
    ANSWER_YES,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    Scope,
)

from verifier.bitget import permissions
from verifier.bitget.facts import ACCOUNT_ITSELF, Facts

WORDS: Final = {SCOPE_SPOT: "spot", SCOPE_FUTURES: "futures"}
READING: Final = {SCOPE_SPOT: "Spot (read)", SCOPE_FUTURES: "Futures orders and Futures holdings (read)"}
CLASSIC: Final = {
    SCOPE_SPOT: {"stow": "Spot trade (read-write)"},
    SCOPE_FUTURES: {"coow": "Futures orders (read-write)", "cpow": "Futures holdings (read-write)"},
}
# Rights of a classic key that can be switched off one by one, and the scope that needs them. Transfer and withdraw have
# findings of their own; reading more than needed harms nothing.
OPTIONAL: Final = {
    "coow": ("Futures orders (read-write)", SCOPE_FUTURES),
    "cpow": ("Futures holdings (read-write)", SCOPE_FUTURES),
    "stow": ("Spot trade (read-write)", SCOPE_SPOT),
    "smow": ("Spot margin trade (read-write)", None),
    "ttow": ("Copy trading (read-write)", None),
    "chow": ("Sub-accounts (read-write)", None),
    "p2p": ("P2P (read-write)", None),
    "p2pw": ("P2P (read-write)", None),
    "taxw": ("Tax (read-write)", None),
    "pllw": ("Crypto loans (read-write)", None),
}
# On a unified account margin and sub-accounts come with the rights that trading and balances need.
OPTIONAL_UNIFIED: Final = {
    "copy_futures_order": "Copy trading: futures orders",
    "copy_futures_position": "Copy trading: futures positions",
}
UNIFIED: Final = "Unified account trade (read-write)"
UNIFIED_READING: Final = "Unified account management (read)"


def lacking(facts: Facts, scope: Scope.ValueType) -> list[str]:
    """Return the rights for trading in `scope` that are missing.

    None when the key's list could not be read, unless the account could not either: then nothing speaks for the key.
    """
    if facts.info.tokens is None:
        return [UNIFIED] if facts.info_refused and ACCOUNT_ITSELF in facts.refused else []
    answer = facts.permissions.spot_trade if scope == SCOPE_SPOT else facts.permissions.futures_trade
    if answer == ANSWER_YES:
        return []
    tokens = set(map(permissions.word, facts.info.tokens))
    if facts.mode == ACCOUNT_MODE_CLASSIC:
        return [right for token, right in CLASSIC[scope].items() if token not in tokens]
    # With the right there and a read-write switch that says a new word, nothing is known to be missing.
    return [] if "uta_trade" in tokens and answer == ANSWER_UNKNOWN else [UNIFIED]


def unneeded(facts: Facts, scopes: Container[Scope.ValueType]) -> list[str]:
    """Return, sorted, the rights that the key has, no requested scope needs, and its owner can switch off."""
    tokens = set(map(permissions.word, facts.info.tokens or ()))
    if facts.mode == ACCOUNT_MODE_CLASSIC:
        known = (OPTIONAL[token] for token in tokens if token in OPTIONAL)
        return sorted({right for right, scope in known if scope is None or scope not in scopes})
    if facts.permissions.copy_trade != ANSWER_YES:
        return []
    return sorted(OPTIONAL_UNIFIED[token] for token in tokens if token in OPTIONAL_UNIFIED)
