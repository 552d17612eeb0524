"""What a call is: who makes it with which parameters, which right and rate it has, and the tables made of such calls.
Reads parameters and bodies; decides nothing about the market."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from simulator.accounts import AUTHORITIES, Account, Scope
from simulator.codes import Refusal
from simulator.exchange import Exchange

Moment = int | str | None
Fields = Mapping[str, Any]

SPOT_READ: Final = Scope("spot order read", frozenset(("stor", "stow")))
SPOT_WRITE: Final = Scope("spot order write", frozenset(("stow",)))
FUTURES_READ: Final = Scope("future order read", frozenset(("coor", "coow")))
FUTURES_WRITE: Final = Scope("future order write", frozenset(("coow",)))
HOLDING_READ: Final = Scope("future position read", frozenset(("cpor", "cpow")))
HOLDING_WRITE: Final = Scope("future position write", frozenset(("cpow",)))
ANY_READ: Final = Scope("read", AUTHORITIES)
MANAGE_READ: Final = Scope("uta manage read", frozenset(("uta_mgt",)))
MANAGE_WRITE: Final = Scope("uta manage write", frozenset(("uta_mgt",)), write=True)
TRADE_READ: Final = Scope("uta trade read", frozenset(("uta_trade",)))
TRADE_WRITE: Final = Scope("uta trade write", frozenset(("uta_trade",)), write=True)


@dataclass(frozen=True, slots=True)
class Call:
    """An authenticated, permitted call: what a reply is made from. `account` shows the money as it is now."""

    exchange: Exchange
    account: Account
    params: Mapping[str, str]
    body: bytes = b""

    def chosen(self, name: str, options: frozenset[str]) -> str:
        """Return a required parameter in upper case; 40019 when missing, 40020 when it is none of the options."""
        return chosen(self.params, name, options)

    def fields(self) -> dict[str, Any]:
        """Return the body's JSON object with every number as text; 40017 for anything else."""
        value = self._parsed()
        if not isinstance(value, dict):
            raise Refusal("40017", "body")
        return value

    def rows(self) -> list[dict[str, Any]]:
        """Return the body's JSON list of objects with every number as text; 40017 for anything else."""
        return objects(self._parsed(), "body")

    def _parsed(self) -> Any:
        try:
            return json.loads(self.body, parse_float=str, parse_int=str)
        except (ValueError, RecursionError):
            raise Refusal("40017", "body") from None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A public call: what a reply is made from. `told` is the time that the exchange admits to."""

    exchange: Exchange
    params: Mapping[str, str]
    told: Moment


@dataclass(frozen=True, slots=True)
class Private:
    """A call that needs a key; `rate` is calls per second and UID, `scope` None means any key may call it."""

    rate: int
    scope: Scope | None
    reply: Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Public:
    """A call for everybody; `rate` is calls per second and IP."""

    rate: int
    reply: Callable[[Inquiry], Any]


Endpoint = Public | Private
Table = dict[tuple[str, bytes], Endpoint]


def text(fields: Fields, name: str) -> str:
    """Return a field's text, empty when it is absent or null; 40017 when it is neither text nor a number."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refusal("40017", name)
    return value


def required(fields: Fields, name: str) -> str:
    """Return a field's text; 40019 when it is empty."""
    if not (value := text(fields, name)):
        raise Refusal("40019", name)
    return value


def chosen(fields: Fields, name: str, options: frozenset[str]) -> str:
    """Return a required field in upper case; 40019 when missing, 40020 when it is none of the options."""
    value = required(fields, name).upper()
    if value not in options:
        raise Refusal("40020", name)
    return value


def positive(fields: Fields, name: str) -> Decimal:
    """Return a required amount above zero; 40019 when missing, 40020 when it is no such number."""
    try:
        amount = Decimal(required(fields, name))
    except InvalidOperation:
        raise Refusal("40020", name) from None
    if not amount.is_finite() or amount <= 0 or amount.adjusted() > 18:
        raise Refusal("40020", name)
    return amount


def objects(value: Any, name: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects; 40017 for anything else."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Refusal("40017", name)
    return value
