"""The exchange's HTTP face, a plain ASGI application: reads a request, lets faults and checks decide, answers, and
logs what it received. State lives in Exchange; who may do what is decided in checks and the endpoint table."""

import asyncio
import contextlib
import json
import re
import socket
import struct
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from simulator import checks
from simulator.accounts import Account
from simulator.calls import Call, Inquiry, Moment, Private, Public, Table
from simulator.codes import OK, TEXTS, Refusal
from simulator.endpoints import ENDPOINTS
from simulator.exchange import LOGGED_BODY, Exchange, Seen
from simulator.faults import NONSENSE, Fault, Weather
from simulator.request import CONTENT_TYPE, KEY, PASSPHRASE, SIGN, Reply, Request, from_scope, parameters, read_body

RESET_EXTENSION: Final = "simulator.reset"

_V1: Final = re.compile(rb"/api/[a-z]+/v1/.*")
_LONG: Final = 64 << 20  # bytes
_DEEP: Final = 10_000
_HTML: Final = b"<html><head><title>%d</title></head><body><h1>%d Bad Gateway</h1></body></html>\r\n"


def build_app(exchange: Exchange, endpoints: Table | None = None) -> "App":
    """Return the ASGI application that serves `exchange`; `endpoints` replaces the table, for tests of a new call."""
    return App(exchange, ENDPOINTS if endpoints is None else endpoints)


class App:
    """One listener's application."""

    def __init__(self, exchange: Exchange, endpoints: Table) -> None:
        self._exchange = exchange
        self._endpoints = endpoints
        self._paths = {path for _, path in endpoints}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("only HTTP is served")
        request = from_scope(scope)
        await read_body(request, receive)
        account = self._meet(request)
        weather = self._weather(request, account)
        if weather.delay:
            await _pause(weather.delay, receive)
            account = checks.find(self._exchange.accounts, request)  # it may have changed meanwhile
        fault = weather.fault
        if fault is not None and fault.kind == "reset":
            self._record(request, account, 0, "reset")
            await _reset(scope, receive)
            return
        reply = self._answer(request, account, weather)
        self._record(request, account, reply.status, reply.code)
        await _send(reply, send)

    def _weather(self, request: Request, account: Account | None) -> Weather:
        name, api_key = (account.name, account.api_key) if account else ("", "")
        return self._exchange.faults.weather(request.path.decode("latin-1"), name, api_key, self._exchange.clock())

    def _meet(self, request: Request) -> Account | None:
        account = checks.find(self._exchange.accounts, request)
        return None if account is None else self._exchange.meet(account)

    def _answer(self, request: Request, account: Account | None, weather: Weather) -> Reply:
        now_ms = self._exchange.clock() + weather.offset_ms
        told = NONSENSE.get(weather.shows, now_ms)
        fault = weather.fault
        if fault is not None and fault.kind not in ("cut_json", "empty"):
            return _faulty(fault, request, told)
        try:
            reply = self._serve(request, account, now_ms, told)
        except Refusal as refusal:
            reply = _refused(refusal.status, refusal.code, refusal.text, told)
        return reply if fault is None else _damaged(fault, reply)

    def _serve(self, request: Request, account: Account | None, now_ms: int, told: Moment) -> Reply:
        """Run one request through the limits, the checks and the endpoint table, in the exchange's order."""
        endpoint = self._endpoint(request)
        limits, path = self._exchange.limits, request.path.decode("latin-1")
        if isinstance(endpoint, Public):
            left = limits.remaining(request.peer, path, endpoint.rate, self._exchange.clock())
            _check_rate(left)
            return _success("msg", endpoint.reply(Inquiry(self._exchange, parameters(request.query), told)), told, left)
        if account is not None and self._exchange.fresh(account):
            account = None
        known = checks.authenticate(account, request, now_ms, unified_api=path.startswith("/api/v3/"))
        left = limits.remaining(known.uid, path, endpoint.rate, self._exchange.clock())
        _check_rate(left)
        if endpoint.scope is not None and not endpoint.scope.granted(known):
            raise Refusal("40014", endpoint.scope.words)
        data = endpoint.reply(
            Call(self._exchange, self._exchange.usable(known), parameters(request.query), request.body)
        )
        word = "msg" if path.startswith("/api/v3/") else known.style.success
        return _success(word, data, told, left)

    def _endpoint(self, request: Request) -> Public | Private:
        if not self._exchange.limits.admit_ip(request.peer, self._exchange.clock()):
            raise Refusal("429")
        if request.too_large:
            raise Refusal("413")
        if request.method not in ("GET", "POST"):
            raise Refusal("405")
        if _V1.fullmatch(request.path):
            raise Refusal("30032")
        endpoint = self._endpoints.get((request.method, request.path))
        if endpoint is None:
            raise Refusal("405" if request.path in self._paths else "40404")
        if request.method == "POST" and not _is_json(request.checked.get(CONTENT_TYPE, b"")):
            raise Refusal("40007")
        return endpoint

    def _record(self, request: Request, account: Account | None, status: int, code: str) -> None:
        exchange = self._exchange
        exchange.received += 1
        exchange.codes[code] += 1
        exchange.count(request.method, request.path)
        exchange.log.append(
            Seen(
                number=exchange.received,
                at_ms=exchange.clock(),
                peer=request.peer,
                account=account.name if account else "",
                method=request.method,
                target=request.target,
                headers=request.headers,
                body=request.body[:LOGGED_BODY],
                status=status,
                code=code,
            )
        )


def _check_rate(left: int) -> None:
    if left < 0:
        raise Refusal("429")


def _is_json(content_type: bytes) -> bool:
    return content_type.split(b";")[0].strip().lower() == b"application/json"


def _success(word: str, data: Any, told: Moment, left: int) -> Reply:
    body = {"code": OK, word: "success", "requestTime": told, "data": data}
    return Reply(200, OK, _json(body), left)


def _refused(status: int, code: str, text: str, told: Moment) -> Reply:
    left = 0 if code == "429" else None
    return Reply(status, code, _json({"code": code, "msg": text, "requestTime": told, "data": None}), left)


def _faulty(fault: Fault, request: Request, told: Moment) -> Reply:
    if fault.kind == "html":
        status = fault.status or 502
        return Reply(status, "html", _HTML % (status, status), content_type=b"text/html")
    if fault.kind == "long":
        return Reply(200, "long", b'{"code":"00000","data":"%s"}' % (b"x" * _LONG))
    if fault.kind == "deep":
        return Reply(200, "deep", b'{"code":"00000","data":%s%s}' % (b"[" * _DEEP, b"]" * _DEEP))
    if fault.kind == "storm":
        return _refused(429, "429", TEXTS["429"], told)
    if fault.kind == "echo":
        code = fault.code or "40009"
        return _refused(fault.status or 400, code, f"{fault.msg or 'rejected'}: {_credentials(request)}", told)
    code = fault.code or "40725"
    return _refused(fault.status or 500, code, fault.msg or TEXTS.get(code, "error").format(""), told)


def _damaged(fault: Fault, reply: Reply) -> Reply:
    if fault.kind == "empty":
        return Reply(200, "empty", b"")
    return Reply(reply.status, "cut_json", reply.body[: len(reply.body) * 2 // 3], reply.remaining)


def _credentials(request: Request) -> str:
    """What a hostile exchange would repeat: the credentials it was sent."""
    return " ".join(request.checked.get(name, b"").decode("latin-1") for name in (KEY, PASSPHRASE, SIGN))


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


async def _send(reply: Reply, send: Send) -> None:
    headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body))]
    if reply.remaining is not None:
        headers.append((b"x-mbx-used-remain-limit", b"%d" % reply.remaining))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _pause(seconds: float, receive: Receive) -> None:
    """Wait, but not longer than the caller does."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _reset(scope: Scope, receive: Receive) -> None:
    """Cut the connection with a TCP reset; under a foreign server, fail instead."""
    extension = scope.get("extensions", {}).get(RESET_EXTENSION)
    if extension is None:
        raise ConnectionResetError("reset by the simulated exchange")
    transport = extension["transport"]
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
    await _gone(receive)
