"""Own which kinds of strategy can run with a key, and why not. Only a requested scope can make one available."""

from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT, Binding, Scope, Strategy

from verifier import rights
from verifier.bitget import permissions
from verifier.bitget.facts import Facts, Product

SCOPES: Final = {
    "spot_trading": SCOPE_SPOT,
    "usdt_futures": SCOPE_FUTURES,
    "usdc_futures": SCOPE_FUTURES,
    "coin_futures": SCOPE_FUTURES,
}
NO_BALANCE: Final = "There is no balance for it yet."
NOT_OFFERED: Final = "Bitget does not offer this product to the account."
NOT_TOLD: Final = "It could not be read yet whether Bitget offers this product to the account."
NO_KEY: Final = "The key does not work at the moment."
READ_ONLY: Final = "The key is read-only."


def none_available(scopes: Iterable[Scope.ValueType]) -> list[Strategy]:
    """Return every strategy as unavailable, for a key that the exchange refuses."""
    requested = set(scopes)
    return [
        Strategy(id=name, reasons=[NO_KEY if scope in requested else _not_requested(scope)])
        for name, scope in SCOPES.items()
    ]


def of_facts(binding: Binding, facts: Facts) -> list[Strategy]:
    """Return every strategy with its reasons. Missing funds are a reason to tell, not one that stops a strategy."""
    earlier = {strategy.id: strategy.reasons for strategy in binding.verdict.strategies}
    return [_strategy(name, binding, facts, earlier.get(name, (NOT_TOLD,))) for name in SCOPES]


def _strategy(name: str, binding: Binding, facts: Facts, earlier: Sequence[str]) -> Strategy:
    scope, product = SCOPES[name], facts.products.get(name, Product())
    if scope not in binding.scopes:
        return Strategy(id=name, reasons=[_not_requested(scope)])
    blocking = []
    if permissions.read_only(facts.info):
        blocking.append(READ_ONLY)
    elif scope in facts.refused or rights.lacking(facts, scope):
        blocking.append(f"The key lacks the permission for {rights.WORDS[scope]} trading.")
    # What could not be read this time is as it was: a hiccup must not look like a change.
    if product.offered is False or (product.offered is None and NOT_OFFERED in earlier):
        blocking.append(NOT_OFFERED)
    elif product.offered is None and product.doubtful and {NOT_TOLD, NO_KEY, _not_requested(scope)} & set(earlier):
        blocking.append(NOT_TOLD)
    if blocking:
        return Strategy(id=name, reasons=blocking)
    empty = product.funded is False or (product.funded is None and NO_BALANCE in earlier)
    return Strategy(id=name, available=True, reasons=[NO_BALANCE] if empty else [])


def _not_requested(scope: Scope.ValueType) -> str:
    return f"The scope {rights.WORDS[scope]} was not requested."
