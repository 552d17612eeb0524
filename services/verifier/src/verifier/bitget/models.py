"""Own the shapes of Bitget's answers: lenient about how a value is written, strict about what is taken over.

Whatever has an unexpected shape becomes None or is left out. Nothing here raises.
"""

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from verifier.bitget import addresses

_UID: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")
_COIN: Final = re.compile(r"[0-9A-Za-z._-]{1,24}")
_TOKEN: Final = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
_PLAIN: Final = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
LIST_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What the exchange tells about the calling key; None means that it did not tell."""

    uid: str = ""
    parent_uid: str = ""
    addresses: tuple[str, ...] | None = None
    tokens: tuple[str, ...] | None = None
    perm_type: str = ""


def key_info(data: dict[str, Any], tokens_field: str) -> KeyInfo:
    """Read an account-info answer; `tokens_field` is `permissions` (unified) or `authorities` (classic)."""
    return KeyInfo(
        uid=uid(data.get("userId")) or uid(data.get("uid")),  # "uid" is what the account's settings call it
        parent_uid=uid(data.get("parentId")),
        addresses=addresses.listed(data["ips"]) if "ips" in data else None,
        tokens=tokens(data.get(tokens_field)),
        perm_type=text(data.get("permType")),
    )


def rows(data: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; `{"list": ...}`, null and anything else read as far as they go."""
    if isinstance(data, dict):
        data = data.get("list")
    return [row for row in data[:LIST_LIMIT] if isinstance(row, dict)] if isinstance(data, list) else []


def text(value: Any) -> str:
    """Return a short word, or nothing."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else ""


def uid(value: Any) -> str:
    """Return an account id given as text or number; 0, null and "" mean none."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        value = str(value)
    return value if isinstance(value, str) and _UID.fullmatch(value) and value != "0" else ""


def coin(value: Any) -> str:
    """Return a coin's name in upper case, or nothing."""
    return value.upper() if isinstance(value, str) and _COIN.fullmatch(value) else ""


def tokens(value: Any) -> tuple[str, ...] | None:
    """Return permission tokens as the exchange spells them; what is not a word stands as "?"."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        return None
    return tuple(text(item) or "?" for item in value[:LIST_LIMIT])


def amount(value: Any) -> str:
    """Return a decimal text as the exchange gave it ("0" for nothing, "" for no number)."""
    if value is None or value == "":
        return "0"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    plain = str(value).strip()
    if _PLAIN.fullmatch(plain):
        return plain
    try:
        number = Decimal(plain)
    except InvalidOperation:
        return ""
    return format(number, "f") if number.is_finite() and -30 < number.adjusted() < 30 else ""


def told(row: dict[str, Any], name: str) -> str:
    """Return an amount that an answer always has; "" (unknown) where it is missing."""
    return "" if row.get(name) is None else amount(row[name])


def total(*amounts: str) -> str:
    """Return the sum of decimal texts, without trailing zeros; "" (unknown) when one of them is unknown."""
    if "" in amounts:
        return ""
    result = sum(map(Decimal, amounts), Decimal(0))
    return format(result.normalize() + 0, "f") if result else "0"
