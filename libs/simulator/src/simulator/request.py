"""One received request, as bytes off the wire, and the reply to it. Repeated authentication headers are turned into
a value that no check accepts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from starlette.types import Receive, Scope

from simulator.codes import Refusal

KEY: Final = b"access-key"
SIGN: Final = b"access-sign"
TIMESTAMP: Final = b"access-timestamp"
PASSPHRASE: Final = b"access-passphrase"
DEMO: Final = b"paptrading"
CONTENT_TYPE: Final = b"content-type"

REPEATED: Final = b"\x00"  # cannot arrive in a header, so it equals no credential
BODY_LIMIT: Final = 1024 * 1024

_CHECKED: Final = frozenset((KEY, SIGN, TIMESTAMP, PASSPHRASE, DEMO, CONTENT_TYPE))


@dataclass(slots=True)
class Request:
    """What arrived; `path` and `query` are raw bytes, `checked` holds only the headers that the checks read."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]] = field(repr=False)
    checked: Mapping[bytes, bytes] = field(repr=False)
    peer: str
    body: bytes = field(default=b"", repr=False)
    too_large: bool = False

    @property
    def target(self) -> str:
        raw = self.path + b"?" + self.query if self.query else self.path
        return raw.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer; `code` is what the request log shows."""

    status: int
    code: str
    body: bytes
    remaining: int | None = None
    content_type: bytes = b"application/json;charset=UTF-8"


def from_scope(scope: Scope) -> Request:
    """Build a request from an ASGI scope; the body is read apart."""
    client = scope["client"]
    headers = list(scope["headers"])
    return Request(
        method=scope["method"],
        path=scope["raw_path"],
        query=scope["query_string"],
        headers=headers,
        checked=_once(headers),
        peer=client[0] if client else "",
    )


async def read_body(request: Request, receive: Receive) -> None:
    """Read the whole body, or note that it is over BODY_LIMIT and keep nothing."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            break
    request.too_large = len(body) > BODY_LIMIT
    request.body = b"" if request.too_large else body


def parameters(query: bytes) -> dict[str, str]:
    """Return the query's parameters; a name given twice is refused, a `+` is a plus."""
    found: dict[str, str] = {}
    for pair in filter(None, query.decode("latin-1").split("&")):
        name, _, value = pair.partition("=")
        if (name := unquote(name)) in found:
            raise Refusal("40020", name)
        found[name] = unquote(value)
    return found


def _once(headers: Iterable[tuple[Any, Any]]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _CHECKED:
            found[name] = REPEATED if name in found else value
    return found
