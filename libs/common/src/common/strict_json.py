"""Own the parsing of JSON that decides anything: only UTF-8; no name twice, no NaN, no bottomless nesting."""

import json
from typing import Any


def loads(data: bytes | str) -> Any:
    """Return the parsed value; raise ValueError for anything that two parsers could read differently."""
    text = data.decode() if isinstance(data, bytes) else data
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("duplicate name")
    return result


def _no_constant(_: str) -> Any:
    raise ValueError("not a number")
