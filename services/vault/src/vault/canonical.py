"""Own the one canonical request: the bytes to sign and the bytes to send come from the same object.

What could be read in two ways is refused, never repaired (docs/bitget.md 1.2, 1.3 and 6).
"""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from common.errors import PolicyRefused
from strongroom.types.v1.request_pb2 import ExchangeRequest

PATH: Final = re.compile(r"/api/v[0-9]+(/[a-z0-9-]+)+")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
UNSAFE_VALUE: Final = re.compile(r"[\x00-\x1f\x7f&=?]")  # these would change where a raw query begins or ends
PATH_LIMIT: Final = 256
VALUE_LIMIT: Final = 512


@dataclass(frozen=True, slots=True)
class Canonical:
    """A checked request; `query` is sorted by name and raw."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes

    def unstamped(self) -> bytes:
        """Return the text to sign without its timestamp, which stands before it."""
        query = "&".join(f"{name}={value}" for name, value in self.query)
        return f"{self.method}{self.path}{'?' if query else ''}{query}".encode() + self.body

    def prehash(self, timestamp_ms: int) -> bytes:
        """Return the bytes to sign."""
        return str(timestamp_ms).encode() + self.unstamped()

    def target(self) -> str:
        """Return path and query as they go on the wire: values percent-encoded, a space as %20."""
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in self.query)
        return f"{self.path}{'?' if query else ''}{query}"


def canonical(request: ExchangeRequest, camel_case_paths: frozenset[str]) -> Canonical:
    """Return the canonical form; raise PolicyRefused with the rule that a request breaks."""
    if request.method not in ("GET", "POST"):
        raise refuse("method")
    path = request.path
    if len(path) > PATH_LIMIT or not (PATH.fullmatch(path) or path in camel_case_paths):
        raise refuse("path_grammar")
    if request.method == "POST" and request.query:
        raise refuse("query_on_post")  # without a separator, query and body could trade places unseen
    if request.method == "GET" and request.body:
        raise refuse("body_on_get")
    query = sorted((parameter.name, parameter.value) for parameter in request.query)
    if len({name for name, _ in query}) != len(query):
        raise refuse("query_duplicate")
    for name, value in query:
        if not NAME.fullmatch(name) or len(value) > VALUE_LIMIT or UNSAFE_VALUE.search(value):
            raise refuse("query_grammar")
    return Canonical(request.method, path, tuple(query), request.body)


def refuse(rule: str) -> PolicyRefused:
    """Return the refusal that names `rule`."""
    return PolicyRefused(rule=rule)
