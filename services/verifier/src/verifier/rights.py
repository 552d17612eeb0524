"""Own which rights a scope needs, in the words of Bitget's own dialog, and which of them a key's list does not show."""

from typing import Final

from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_CLASSIC,
    ANSWER_UNKNOWN,
    ANSWER_YES,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    Scope,
)

from verifier.bitget.probe import ACCOUNT_ITSELF, Facts

WORDS: Final = {SCOPE_SPOT: "spot", SCOPE_FUTURES: "futures"}
READING: Final = {SCOPE_SPOT: "Spot (read)", SCOPE_FUTURES: "Futures orders and Futures holdings (read)"}
CLASSIC: Final = {
    SCOPE_SPOT: {"stow": "Spot trade (read-write)"},
    SCOPE_FUTURES: {"coow": "Futures orders (read-write)", "cpow": "Futures holdings (read-write)"},
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
    tokens = {token.replace("-", "_").lower() for token in facts.info.tokens}
    if facts.mode == ACCOUNT_MODE_CLASSIC:
        return [right for token, right in CLASSIC[scope].items() if token not in tokens]
    # With the right there and a read-write switch that says a new word, nothing is known to be missing.
    return [] if "uta_trade" in tokens and answer == ANSWER_UNKNOWN else [UNIFIED]
