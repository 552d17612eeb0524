"""JSON that two parsers could read differently is refused."""

import pytest
from common import strict_json


@pytest.mark.parametrize("text", ['{"a":1,"a":2}', '{"o":{"a":1,"a":1}}', '{"a":NaN}', "[Infinity]", "[" * 100_000, ""])
def test_ambiguous_or_bottomless_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads(text)


def test_plain_json_is_read() -> None:
    assert strict_json.loads(b'{"a":[1,"x",null]}') == {"a": [1, "x", None]}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_bytes_are_utf_8_and_nothing_else(encoding: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        strict_json.loads('{"a":1}'.encode(encoding))
