"""Own the parsing of JSON that decides anything: duplicate names, NaN and bottomless nesting are refused."""

import json
from typing import Any


def loads(data: bytes | str) -> Any:
    """Return the parsed value; raise ValueError for anything that two parsers could read differently."""
    try:
        return json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate name")
    return result


def _no_constant(_: str) -> Any:
    raise ValueError("not a number")
