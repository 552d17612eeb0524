"""Own the outermost layer of the app: what is refused before any route looks at it, and what every answer carries.

Decides on the raw request only. Logs one line for each request, but for those that are turned away: route template,
never the path, query or a header.
"""

import asyncio
import re
from collections import Counter
from typing import Final
from urllib.parse import parse_qsl

from common import context, logs, tracing
from common.clock import Clock
from common.ids import BINDING_ID
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway import problems
from gateway.metrics import Metrics
from gateway.problems import Problem
from gateway.turnstile import TURNED_AWAY, Turnstile

BODY_BYTES: Final = 65_536
BODY_S: Final = 10.0
CLIENT_GONE: Final = 499
METHODS: Final = frozenset(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
CLOSE: Final = (b"connection", b"close")

_ONCE: Final = frozenset(
    [b"host", b"authorization", b"content-length", b"content-type", b"idempotency-key", b"last-event-id", b"access-key"]
)
_SECRET_NAMES: Final = frozenset(
    [
        "secret",
        "secret_key",
        "secretkey",
        "passphrase",
        "api_key",
        "apikey",
        "token",
        "access_token",
        "password",
        "authorization",
    ]
)
_HOST: Final = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
# Spellings that two readers of a path understand differently. None of our paths has any.
_ODD_PATH: Final = re.compile(
    rb"//|/\.{1,2}(/|$)|[;\\]|%(2[ef5]|5c|3b|[01][0-9a-f]|7f)|%(?![0-9a-f]{2})|[^!-~]", re.IGNORECASE
)


def _stay() -> None:
    """Leave nothing: the request was not let in."""


class ClientGone(Exception):
    """The client went away before its body was complete."""


def admit(scope: Scope) -> None:
    """Raise Problem for a request that could be read in two ways, or that has a secret in its URL."""
    if _ODD_PATH.search(scope["raw_path"]):
        raise Problem("invalid_exchange_request" if b"/proxy/" in scope["raw_path"] else "not_found")
    names = Counter(name for name, _ in scope["headers"])
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    wrong_host = len(hosts) != 1 or not _HOST.fullmatch(hosts[0])
    codings = [value.lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    wrong_body = codings not in ([], [b"chunked"]) or (codings and names[b"content-length"])
    if wrong_host or wrong_body or any(names[name] > 1 for name in _ONCE):
        raise Problem("malformed_request", headers={"Connection": "close"})
    for name, _ in parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True):
        if name.strip().lower().replace("-", "_") in _SECRET_NAMES:
            raise Problem("secret_in_query")


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body; raise Problem when it is too large or too slow, ClientGone when it is cut."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if not length.isdigit() or int(length[:12]) > BODY_BYTES:
        raise Problem("body_too_large")
    body, more = bytearray(), True
    try:
        async with asyncio.timeout(BODY_S):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > BODY_BYTES:
                    raise Problem("body_too_large")
    except TimeoutError:
        raise Problem("request_timeout", headers={"Connection": "close"}) from None
    return bytes(body)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, and then waits for the client to go."""
    pending = [body]

    async def replayed() -> Message:
        if pending:
            return {"type": "http.request", "body": pending.pop(), "more_body": False}
        return await receive()

    return replayed


def _method(scope: Scope) -> str:
    """Return the method as it may stand in a trace: a client may send any word."""
    return scope["method"] if scope["method"] in METHODS else "_OTHER"


class _Answer:
    """The way out: adds what every answer carries, and remembers how it went."""

    def __init__(self, scope: Scope, send: Send, request_id: str, *, last: bool) -> None:
        self._scope = scope
        self._send = send
        self._last = last
        self._headers = [
            (b"x-request-id", request_id.encode()),
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            rate = self._scope.get("rate_limit", ())
            message["headers"] = [*message.get("headers", ()), *self._headers, *rate]
            if self._last and CLOSE not in message["headers"]:
                message["headers"].append(CLOSE)
        await self._send(message)


class Edge:
    """Admit, limit, place in context, answer every failure as a problem, record."""

    def __init__(self, app: ASGIApp, turnstile: Turnstile, clock: Clock, metrics: Metrics) -> None:
        self._app = app
        self._turnstile = turnstile
        self._clock = clock
        self._metrics = metrics
        self.leaving = False  # then each answer is the last of its connection

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        started = self._clock.monotonic()
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        request = context.accept(headers.get(b"x-request-id"), headers.get(b"traceparent"))
        span = tracing.serving(request, _method(scope))
        proxied = b"/proxy/" in scope["raw_path"]
        problems.proxied_at.set(int(self._clock.unix() * 1000) if proxied else None)
        answer = _Answer(scope, send, request.request_id, last=self.leaving)
        try:
            await self._serve(scope, receive, answer)
        except ClientGone:
            answer.status = CLIENT_GONE
        except Exception as error:  # noqa: BLE001  the last line of defence: nothing else may reach the caller
            span.fail(error)
            logs.get().error("request_failed", error=type(error).__name__, where=logs.places(error))
            if not answer.status:
                await problems.response(Problem("internal"))(scope, receive, answer.send)
        finally:
            scope.get("leave", _stay)()
            self._record(scope, answer.status or CLIENT_GONE, self._clock.monotonic() - started, span)

    async def _serve(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            admit(scope)
            body = await read_body(scope, receive)
            self._turnstile.check(scope)
        except Problem as problem:
            if any(name == b"expect" for name, _ in scope["headers"]):
                # The client waits to be asked for a body that nobody wants: what it sends next could be either.
                problem.headers = {**problem.headers, "Connection": "close"}
            await problems.response(problem)(scope, receive, answer.send)
            return
        await self._app(scope, _replay(body, receive), answer.send)

    def _record(self, scope: Scope, status: int, seconds: float, span: tracing.Span) -> None:
        if TURNED_AWAY in scope:  # the refusal that is repeated has its line, a flood none of its own
            self._metrics.record(TURNED_AWAY, scope["method"], status, seconds)
            return
        route = getattr(scope.get("route"), "path", "unmatched")
        found = scope.get("path_params", {}).get("binding_id", "")
        binding = found if BINDING_ID.fullmatch(found) else None
        self._metrics.record(route, scope["method"], status, seconds)
        span.rename(f"{_method(scope)} {route}")
        span.set(method=_method(scope), route=route, status=status, tenant=scope.get("tenant"), binding=binding)
        span.end()
        logs.get().info(
            "request",
            method=scope["method"],
            path=route,
            status=status,
            duration_ms=round(seconds * 1000, 1),
            tenant=scope.get("tenant"),
            binding=binding,
        )
