"""Own how a request for the exchange is read from a caller's: strictly, from the raw bytes, with one reading or none.

Headers of the caller's are never passed on. Whether the request may be made, the vault service decides.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import Final
from urllib.parse import unquote_to_bytes

from common import strict_json
from starlette.responses import Response, StreamingResponse
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter

from gateway.problems import FieldFault, Problem
from gateway.signing_client import Reply

PATH: Final = re.compile(r"/api/v[23](?:/[A-Za-z0-9_-]{1,64}){1,8}")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
VALUE: Final = re.compile(r"[^\x00-\x1f\x7f]{0,512}")
# What a value may look like in a URL. A plus is a space to some readers and a plus to others.
_ENCODED: Final = re.compile(r"(?:[A-Za-z0-9._~,:@!$'()*/?-]|%[0-9A-Fa-f]{2})*")
_PROXIED: Final = re.compile(rb"/v1/bindings/[^/]+/proxy(/.*)", re.DOTALL)
PARAMETERS: Final = 32
KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


def fault(field: str, message: str) -> Problem:
    """Return the problem of a request that the exchange would not be asked."""
    return Problem("invalid_exchange_request", message, [FieldFault(field=field, code="invalid", message=message)])


def path_of(raw_path: bytes) -> str:
    """Return the exchange's path of a proxied one; raise Problem for any other spelling than the exchange's own."""
    match = _PROXIED.fullmatch(raw_path)
    path = match[1].decode("latin-1") if match else ""
    if not PATH.fullmatch(path):
        raise fault("path", "The path must be one of the exchange's, spelled as it does: /api/v2/… or /api/v3/….")
    return path


def query_of(raw_query: bytes) -> dict[str, str]:
    """Return the parameters of a raw query, decoded once; raise Problem for any that has two readings."""
    found: dict[str, str] = {}
    for part in raw_query.decode("latin-1").split("&") if raw_query else ():
        name, equals, value = part.partition("=")
        if not equals or not _ENCODED.fullmatch(value):
            raise fault("query", "The query must be name=value pairs in percent-encoding; a space is %20.")
        if name in found:
            raise fault("query", "Name each parameter once.")
        try:
            found[name] = unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise fault("query", "The query must be UTF-8 in percent-encoding.") from None
    return found


def request_of(method: str, path: str, query: Mapping[str, str], body: bytes) -> ExchangeRequest:
    """Return the request for the exchange; raise Problem unless it is a GET with a query or a POST with a body."""
    if method == "GET" and body:
        raise fault("body", "A GET has no body at the exchange.")
    if method == "POST" and query:
        raise fault("query", "A POST has no query at the exchange: parameters go into the body.")
    if len(query) > PARAMETERS:
        raise fault("query", f"There are at most {PARAMETERS} parameters.")
    if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in query.items()):
        raise fault("query", "A parameter has characters that it cannot have.")
    pairs = [QueryParameter(name=name, value=value) for name, value in query.items()]
    return ExchangeRequest(method=method, path=path, query=pairs, body=body)


def check_json(body: bytes) -> None:
    """Raise Problem for a body that is no JSON, or has a name twice; an empty one is none."""
    try:
        if body:
            strict_json.loads(body.decode())
    except ValueError as error:
        duplicate = type(error) is ValueError and error.args == ("duplicate name",)
        raise Problem("duplicate_key" if duplicate else "malformed_json") from None


def idempotency_key(value: str | None) -> str:
    """Return the caller's key, empty for none; raise Problem for one that is malformed."""
    if value is not None and not KEY.fullmatch(value):
        found = FieldFault(field="Idempotency-Key", code="malformed", message="1 to 255 visible ASCII characters.")
        raise Problem("invalid_parameter", errors=[found])
    return value or ""


def answer(reply: Reply) -> Response:
    """Return the exchange's answer, unchanged but for its date: the connection is ours."""
    headers = {name: value for name, value in reply.headers if name.lower() != "date"}
    headers["Strongroom-Source"] = "exchange"
    if reply.reason:
        headers["Strongroom-Reason"] = reply.reason
    if reply.rest is None:
        return Response(reply.body, reply.status, headers)
    first, rest = reply.body, reply.rest

    async def pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in rest:
            yield piece

    return StreamingResponse(pieces(), reply.status, headers)
