"""Own what may be signed for a caller: every call of the exchange has a capability, and a capability asks for scopes.

The table is data and is reviewed as data; what is not in it is refused. Decides and never signs. Pure.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from common import strict_json
from common.errors import PolicyRefused
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT

from vault.canonical import Canonical, refuse

SPOT: Final = frozenset([SCOPE_SPOT])
FUTURES: Final = frozenset([SCOPE_FUTURES])
BOTH: Final = SPOT | FUTURES
# What a capability asks of the binding's scopes, whatever the body says; reads and public calls ask for none.
BY_PATH: Final[Mapping[str, frozenset[int]]] = {
    "public": frozenset(),
    "read": frozenset(),
    "spot_trade": SPOT,
    "futures_trade": FUTURES,
    "futures_settings": FUTURES,
    "trade_all_products": BOTH,  # it reaches every order of the account
}
# Here the body says which product is meant. With `trade_by_id` it need not: an order's id is enough for the exchange.
BY_BODY: Final = frozenset(["trade_by_category", "trade_by_id"])
# These are refused whatever the key could do, and so is every call that is not in the table.
NEVER: Final[Mapping[str, str]] = {
    "withdraw": "Withdrawals are never signed.",
    "transfer": "Moving funds or positions between wallets and accounts is never signed.",
    "key_admin": "Managing API keys is never signed: the answers hold secrets.",
    "sub_accounts": "Managing sub-accounts is never signed.",
    "account_mode": "Changing the account's mode is never signed.",
    "account_settings": "Settings of the whole account, such as where deposits go, are never signed.",
    "broker": "Calls of brokers are never signed.",
    "p2p": "Person-to-person trading is never signed.",
    "margin_trade": "Margin trading, which borrows, belongs to no scope.",
    "copy_trade": "Copy trading belongs to no scope.",
    "convert": "Conversions belong to no scope.",
    "earn": "Savings products belong to no scope.",
    "loan": "Loans belong to no scope.",
    "stocks": "Trading of stocks belongs to no scope.",
    "strategies": "The exchange's own trading bots belong to no scope.",
}
CATEGORIES: Final[Mapping[str, frozenset[int]]] = {
    "SPOT": SPOT,
    "USDT-FUTURES": FUTURES,
    "USDC-FUTURES": FUTURES,
    "COIN-FUTURES": FUTURES,
}
OLD_API: Final = re.compile(r"/api/([a-z0-9-]+/v1|v1)/.+")
ELEMENTS: Final = 50  # of a batch; the exchange takes fewer


@dataclass(frozen=True, slots=True)
class Allowed:
    """Why a call may be signed: its capability, which is the rule, and the scopes that it needed."""

    rule: str
    scopes: frozenset[int]


class Table:
    """Every known call of the exchange, by method and path."""

    def __init__(self, rows: Iterable[Mapping[str, str]]) -> None:
        self._capabilities = {(row["method"], row["path"]): row["capability"] for row in rows}
        self._paths = frozenset(path for _, path in self._capabilities)
        if unknown := set(self._capabilities.values()) - BY_PATH.keys() - BY_BODY - NEVER.keys():
            raise ValueError(f"capabilities without a rule: {', '.join(sorted(unknown))}")

    @property
    def calls(self) -> Mapping[tuple[str, str], str]:
        """The capability of each (method, path)."""
        return self._capabilities

    def decide(self, request: Canonical, scopes: frozenset[int]) -> Allowed:
        """Return why a binding with `scopes` may have `request` signed; raise PolicyRefused with the rule it breaks."""
        rule = self._capability(request)
        if rule in NEVER:
            raise refuse(rule)
        needed = _needed(rule, _elements(request.body))
        return within(Allowed(rule, needed), scopes)

    def _capability(self, request: Canonical) -> str:
        found = self._capabilities.get((request.method, request.path))
        if found is not None:
            return found
        if OLD_API.fullmatch(request.path):
            raise refuse("old_api")
        raise refuse("method" if request.path in self._paths else "unknown_call")


def within(allowed: Allowed, scopes: frozenset[int]) -> Allowed:
    """Return `allowed` if a binding with `scopes` may have it signed; raise PolicyRefused with the scope it lacks."""
    if missing := allowed.scopes - scopes:
        raise refuse("scope_spot" if SCOPE_SPOT in missing else "scope_futures")
    return allowed


def load() -> Table:
    """Return the table shipped with this package."""
    with resources.files("vault").joinpath("endpoints.csv").open() as lines:
        return Table(csv.DictReader(lines))


def explained(refused: PolicyRefused) -> PolicyRefused:
    """Return the refusal with a sentence that says what its rule means."""
    rule = refused.extra["rule"]
    return PolicyRefused(refused.reason, {**NEVER, **WORDS}.get(rule, refused.detail), rule=rule)


def why(refused: PolicyRefused) -> str:
    """Return in a sentence what the rule of a refusal means; raise KeyError for one that is not of this file."""
    return {**NEVER, **WORDS}[refused.extra["rule"]]


def _needed(rule: str, elements: list[dict[str, Any]]) -> frozenset[int]:
    """Return the scopes that a call needs, by its capability and by the products that its body names."""
    if rule in BY_BODY:
        return frozenset().union(*(_named(element, rule) for element in elements or [{}]))
    named = [element["category"] for element in elements if "category" in element]
    if rule == "futures_trade" and any(_product(category) != FUTURES for category in named):
        raise refuse("category")
    return BY_PATH[rule]


def _named(element: Mapping[str, Any], rule: str) -> frozenset[int]:
    """Return the scope of the product of one order; an order's id alone may be of any."""
    if "category" not in element and rule == "trade_by_id":
        return BOTH
    return _product(element.get("category"))


def _product(category: Any) -> frozenset[int]:
    """Return the scope of a category, which the exchange writes in either case."""
    known = CATEGORIES.get(category.upper()) if isinstance(category, str) and category.isascii() else None
    if known is None:
        raise refuse("category")
    return known


def _elements(body: bytes) -> list[dict[str, Any]]:
    """Return what a body asks for, one object each; a batch is a list of them, and an empty body asks for nothing."""
    if not body:
        return []
    try:
        parsed = strict_json.loads(body)
    except ValueError:
        raise refuse("body_json") from None
    elements = parsed if isinstance(parsed, list) else [parsed]
    if not 0 < len(elements) <= ELEMENTS or not all(isinstance(element, dict) for element in elements):
        raise refuse("body_json")
    return elements


WORDS: Final[Mapping[str, str]] = {
    "tenant_denied": "The rules of this tenant deny this call.",
    "tenant_symbol": "The rules of this tenant list its symbols: every order must name one of them.",
    "tenant_order_notional": "The rules of this tenant cap what an order may be worth, and one is worth more: make it "
    "smaller, or ask for a higher cap.",
    "tenant_daily_notional": "The rules of this tenant cap what the orders of a day (UTC) are worth, and that would be "
    "more: make them smaller, wait for tomorrow, or ask for a higher cap.",
    "tenant_notional_unknown": "The rules of this tenant cap what orders are worth, and this call does not tell: send "
    "limit orders, or market buys of spot, of symbols quoted in USDT, amounts as plain decimal texts, no other fields.",
    "scope_spot": "The binding does not have the scope spot, which this call needs.",
    "scope_futures": "The binding does not have the scope futures, which this call needs.",
    "category": "The body must name its product in `category`: SPOT, USDT-FUTURES, USDC-FUTURES or COIN-FUTURES.",
    "body_json": f"The body must be a JSON object or a list of 1 to {ELEMENTS} objects, each name once.",
    "old_api": "The first version of the exchange's API is switched off: use v2 or v3.",
    "unknown_call": "Nobody here knows this call, so it is not signed.",
    "method": "The exchange has this path with another method; only GET and POST exist.",
    "path_grammar": "The path must be /api/v2/… or /api/v3/… as the exchange documents it, without query or encoding.",
    "query_on_post": "A POST carries its parameters in the body, never in the query.",
    "body_on_get": "A GET carries its parameters in the query, never in a body.",
    "query_duplicate": "A query name stands here twice.",
    "query_grammar": "A query name or value has characters that could change its meaning.",
}
