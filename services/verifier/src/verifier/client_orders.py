"""Own the client order ids that follow from an idempotency key: the exchange then carries a repeated order out once.

Which calls place orders is data (client_orders.csv). An id is put into the text where it is missing; nothing else of a
body changes, and a body that is not strict JSON is left to the policy, which refuses it.
"""

import base64
import csv
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from common import strict_json
from common.errors import InvalidArgument

# `list` is empty for one order, * for a list of orders, otherwise the member that holds the list.
COLUMNS: Final = ["path", "list", "field"]
ALL: Final = "*"
KEY: Final = re.compile(r"[!-~]{1,255}")
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_DECODER: Final = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Call:
    """Where a call names its orders."""

    orders: str
    field: str


@dataclass(frozen=True, slots=True)
class Order:
    """One order in the text of a body: where its object begins, and what it says."""

    start: int
    content: dict[str, Any]


def _load() -> dict[str, Call]:
    rows = csv.DictReader(
        files("verifier.bitget").joinpath("client_orders.csv").read_text(encoding="utf-8").splitlines(), strict=True
    )
    if rows.fieldnames != COLUMNS:
        raise ValueError("client orders: columns")
    return {row["path"]: Call(row["list"], row["field"]) for row in rows}


CALLS: Final = _load()


def identified(path: str, body: bytes, name: tuple[str, str, str]) -> tuple[bytes, list[str]]:
    """Return a POST's body in which every order has a client order id, and these ids.

    `name` is (tenant, binding, idempotency key); with an empty key nothing is put in. Raises InvalidArgument for a key
    outside the grammar and for an id that is there and empty.
    """
    if name[2] and not KEY.fullmatch(name[2]):
        raise InvalidArgument(
            "idempotency_key", "Use 1 to 255 visible ASCII characters as idempotency key.", field="idempotency_key"
        )
    call = CALLS.get(path)
    if call is None or not body:
        return body, []
    try:
        text = body.decode()
        parsed = strict_json.loads(text)
    except ValueError:
        return body, []
    orders = list(_orders(text, parsed, call.orders))
    return (_filled(text, orders, call.field, name) if name[2] else body), _ids(orders, call.field, name)


def derived(name: tuple[str, str, str], index: int) -> str:
    """Return the client order id of one order: 28 characters of a-z and 2-7, the same for the same four things."""
    parts = [*name, str(index)]
    digest = hashlib.sha256("".join(f"{len(part)}:{part}" for part in parts).encode()).digest()
    return "sr" + base64.b32encode(digest[:16]).decode().rstrip("=").lower()


def _filled(text: str, orders: list[Order], field: str, name: tuple[str, str, str]) -> bytes:
    """Put the missing ids in, from behind, so that places before them stay what they are."""
    for index, order in reversed(list(enumerate(orders))):
        if field in order.content:
            if order.content[field] in ("", None):
                raise InvalidArgument(
                    "client_order_id", f"{field} is empty: leave it out, or name the order.", field=field
                )
            continue
        comma = "," if order.content else ""
        inside = order.start + 1
        text = f'{text[:inside]}"{field}":"{derived(name, index)}"{comma}{text[inside:]}'
    return text.encode()


def _ids(orders: list[Order], field: str, name: tuple[str, str, str]) -> list[str]:
    """Return the ids under which the orders can be asked for."""
    told = [order.content.get(field) or (derived(name, index) if name[2] else "") for index, order in enumerate(orders)]
    return [one for one in told if isinstance(one, str) and one]


def _orders(text: str, parsed: Any, where: str) -> Iterator[Order]:
    """Yield the orders of a text that is valid JSON; none where it has another shape than the call's."""
    start = _skip(text, 0)
    if where == ALL and isinstance(parsed, list):
        yield from _elements(text, start)
    elif not where and isinstance(parsed, dict):
        yield Order(start, parsed)
    elif isinstance(parsed, dict) and isinstance(parsed.get(where), list):
        yield from _elements(text, _member(text, start, where))


def _member(text: str, start: int, wanted: str) -> int:
    """Return where the value of a member, which is there, begins."""
    place = start
    while True:
        name, place = _DECODER.raw_decode(text, _skip(text, place + 1))
        value = _skip(text, _skip(text, place) + 1)
        if name == wanted:
            return value
        _, place = _DECODER.raw_decode(text, value)
        place = _skip(text, place)


def _elements(text: str, start: int) -> Iterator[Order]:
    """Yield the objects of the list that begins at `start`."""
    place = _skip(text, start + 1)
    while text[place] != "]":
        content, end = _DECODER.raw_decode(text, place)
        if isinstance(content, dict):
            yield Order(place, content)
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place
