"""What is repeated and what never is, and how a stream goes on after a cut, against a small real server."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from strongroom_client import OutcomeUnknown, PolicyRefused, Reset, Strongroom

PROBLEM = "application/problem+json"
EXCHANGE = {"Strongroom-Source": "exchange", "Content-Type": "application/json"}
EVENT = {
    "id": "a-1", "type": "binding.status", "binding_id": "b", "status": "connected", "reason": None, "stale": False,
    "findings": [], "changes": [], "revision": 2, "occurred_at": "2026-11-28T00:00:00Z",
}  # fmt: skip


class Gateway(ThreadingHTTPServer):
    """Answers with what `script` holds, one entry for each request; None cuts the connection."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, dict[str, str], str] | None] = []
        self.asked: list[tuple[str, dict[str, str], bytes]] = []


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append((f"{self.command} {self.path}", dict(self.headers), body))
        answer = self.server.script.pop(0)
        if answer is not None:
            status, headers, text = answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def room(gateway: Gateway) -> Iterator[Strongroom]:
    with Strongroom(f"http://127.0.0.1:{gateway.server_port}", "token") as made:
        yield made


def problem(status: int, code: str, **facts: Any) -> tuple[int, dict[str, str], str]:
    told = {"code": code, "detail": "d", "title": "t", "status": status, "request_id": "r", **facts}
    return status, {"Content-Type": PROBLEM, "Strongroom-Source": "strongroom"}, json.dumps(told)


def test_an_exchanges_refusal_is_an_answer_and_ours_an_error(room: Strongroom, gateway: Gateway) -> None:
    gateway.script = [
        (400, {**EXCHANGE, "Strongroom-Reason": "ip_not_whitelisted"}, '{"code":"40018"}'),
        problem(403, "policy_refused", rule="withdrawal"),
    ]
    answer = room.execute("b", "POST", "/api/v2/x", body={"a": "1"}, idempotency_key="k")
    assert (answer.status, answer.reason, answer.json()["code"]) == (400, "ip_not_whitelisted", "40018")
    line, headers, body = gateway.asked[0]
    assert (line, headers["Idempotency-Key"]) == ("POST /v1/bindings/b/requests", "k")
    assert json.loads(body) == {"method": "POST", "path": "/api/v2/x", "body": {"a": "1"}}
    with pytest.raises(PolicyRefused) as told:
        room.execute("b", "POST", "/api/v2/spot/wallet/withdrawal", body={})
    assert (told.value.rule, told.value.request_id) == ("withdrawal", "r")


@pytest.mark.parametrize("fault", [None, (502, {}, "<html>"), problem(504, "outcome_unknown")])
def test_an_order_that_may_have_left_is_never_sent_again(room: Strongroom, gateway: Gateway, fault: Any) -> None:
    gateway.script = [fault, (200, EXCHANGE, "{}")]
    with pytest.raises(OutcomeUnknown):
        room.execute("b", "POST", "/api/v2/spot/trade/place-order", body={}, idempotency_key="k")
    assert len(gateway.asked) == 1


def test_a_reading_call_is_repeated_and_an_order_only_after_429(room: Strongroom, gateway: Gateway) -> None:
    gateway.script = [None, (503, {}, ""), (200, EXCHANGE, "{}")]
    assert room.execute("b", "GET", "/api/v2/x").is_success
    gateway.script = [problem(429, "too_many_requests"), (200, EXCHANGE, "{}")]
    assert room.execute("b", "POST", "/api/v2/x", body={}).is_success
    assert len(gateway.asked) == 5


def test_a_stream_resumes_after_the_last_event_and_tells_of_a_hole(room: Strongroom, gateway: Gateway) -> None:
    head = {"Content-Type": "text/event-stream"}
    frame = f"retry: 2000\n\n:\n\nid: a-1\nevent: binding.status\ndata: {json.dumps(EVENT)}\n\n"
    gateway.script = [
        (200, head, ":\n\n"),
        (200, head, frame),
        (200, head, 'event: reset\ndata: {"reason":"history_gone"}\n\n'),
    ]
    stream = room.events()
    found = [next(stream) for _ in range(4)]
    assert [one if isinstance(one, Reset) else one.id for one in found] == [
        Reset("opened"), Reset("opened"), "a-1", Reset("history_gone"),
    ]  # fmt: skip
    assert [headers.get("Last-Event-ID") for _, headers, _ in gateway.asked] == [None, None, "a-1"]
    stream.close()  # type: ignore[attr-defined]


def test_a_client_of_the_proxy_asks_under_the_binding_with_the_token(room: Strongroom, gateway: Gateway) -> None:
    gateway.script = [(200, EXCHANGE, "{}")]
    with room.proxy("b") as http:
        assert http.get("/api/v2/x", params={"symbol": "BTCUSDT"}).json() == {}
    line, headers, _ = gateway.asked[0]
    assert line == "GET /v1/bindings/b/proxy/api/v2/x?symbol=BTCUSDT"
    assert headers["Authorization"] == "Bearer token"


def test_a_transport_takes_the_programs_own_key_and_signature_away(room: Strongroom, gateway: Gateway) -> None:
    gateway.script = [(200, EXCHANGE, "{}"), (200, EXCHANGE, "{}")]
    own = {"ACCESS-KEY": "own", "ACCESS-SIGN": "own", "ACCESS-PASSPHRASE": "own", "X-Own": "own", "paptrading": "1"}
    own |= {"Authorization": "Bearer own", "Cookie": "own=1"}
    with httpx.Client(base_url="https://api.bitget.com", transport=room.transport("b"), headers=own) as http:
        http.get("/api/v2/x", params={"symbol": "BTC/USDT", "id": "a+b&c=%20"})
        http.post("/api/v2/y", content=b'{"size": "1.0", "a":1}', headers={"Content-Type": "application/json"})
        with pytest.raises(httpx.UnsupportedProtocol):
            http.get("https://api.bitget.com.example.com/api/v2/x")
        with pytest.raises(httpx.UnsupportedProtocol):
            http.get("http://api.bitget.com/api/v2/x")
    (get, sent, _), (post, _, body) = gateway.asked
    assert get == "GET /v1/bindings/b/proxy/api/v2/x?symbol=BTC%2FUSDT&id=a%2Bb%26c%3D%2520"
    assert (post, body) == ("POST /v1/bindings/b/proxy/api/v2/y", b'{"size": "1.0", "a":1}')
    names = {name.lower() for name in sent}
    assert names <= {"host", "accept", "accept-encoding", "connection", "user-agent", "authorization"}, names
    assert {name.lower(): value for name, value in sent.items()}["authorization"] == "Bearer token"
    assert not any("own" in value for _, headers, _ in gateway.asked for value in headers.values())
