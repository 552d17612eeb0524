"""What is refused before any route looks at it, in bytes on a socket; and what every answer carries."""

import contextlib
import importlib.util
import resource
import socket
import time
from http.client import HTTPConnection

import httpx
import pytest
from gateway import edge, http

from services.gateway.tests.raw import message, problems, talk

ID = "0" * 32
HEADS = {"content-type", "content-length", "date", "x-request-id", "cache-control", "x-content-type-options"}


@pytest.mark.parametrize(
    "headers",
    [
        ("Host: a", "Host: b"),
        ("Host: a", "Authorization: Bearer a.b.c", "Authorization: Bearer d.e.f"),
        ("Host: a", "Content-Type: application/json", "content-type: text/plain"),
        ("Host: a", "Idempotency-Key: a", "Idempotency-Key: b"),
        ("Host: a", "Last-Event-ID: a", "Last-Event-ID: b"),
        ("Host: a", "Content-Length: 1", "Content-Length: 2"),
        ("Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Host: a", "Transfer-Encoding: chunked", "Content-Length: 4"),
        ("Host: a", "Transfer-Encoding: chunked, identity"),
        ("Host: a", "Transfer-Encoding: identity, chunked"),
        ("Host: a", "Content-Length: -1"),
        ("Host: a", "Content-Length: 1x"),
        ("Host: a/b?c=",),
        ("Host: a b",),
        ("Host:",),
        (),
        ("Host: a", "X : y"),
        ("Host: a", "no colon"),
        ("Host: a", "X-Long: 1\r\n folded"),
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_refused_once(served, headers):
    answers = problems(talk(served.port, message("POST /v1/bindings HTTP/1.1", *headers, body=b"1\r\nG\r\n0\r\n\r\n")))
    assert answers == [(400, "malformed_request")]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/bindings/../bindings",
        "/v1/%2e%2e/bindings",
        "/v1/bindings/%2E",
        "/v1//bindings",
        "//evil.example/v1/bindings",
        "/v1/bindings/..%2fadmin",
        "/v1/bindings%2F",
        "/v1/bindings;x=1",
        "/v1/bindings/%00",
        "/v1/bindings/\\evil",
        "/v1/bindings/%5c",
        "/v1/bindings/a%252e",
        "/v1/bindings/%0d%0aX:y",
        "/v1/bindings/%zz",
        "/v1/bindings/.",
        "/v1/bindings/",
        "/v1/bindings/" + ID + "/",
        "/V1/bindings",
        "/v1/Bindings",
        "/v1",
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/metrics",
        "/livez",
        "/readyz",
        "/v1/webhooks/",
        f"/v1/bindings/{ID}/proxy",
        "/v1/exchanges/okx",
        "/v1/bindings/" + ID + "/credentials",
    ],
)
def test_an_odd_or_unknown_path_is_not_found(served, path):
    assert problems(talk(served.port, message(f"GET {path} HTTP/1.1", "Host: a", "Connection: close"))) == [
        (404, "not_found")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "GET /v1/bind\xe4ngs HTTP/1.1",
        "GET /v1/a b HTTP/1.1",
        "CONNECT example.com:443 HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET /v1/bindings HTTP/9.9",
        "\x16\x03\x01\x02\x00\x01",
        "OPTIONS * HTTP/1.1",
        "get /v1/bindings HTTP/1.1",
    ],
)
def test_what_is_no_http_is_refused_as_a_problem(served, line):
    ((status, code),) = problems(talk(served.port, message(line, "Host: a", "Connection: close")))
    assert (status, code) in [(400, "malformed_request"), (404, "not_found")]


@pytest.mark.parametrize(
    ("path", "method", "allowed"),
    [
        ("/v1/bindings", "PUT", "GET, POST"),
        ("/v1/bindings", "TRACE", "GET, POST"),
        ("/v1/bindings", "HEAD", "GET, POST"),
        (f"/v1/bindings/{ID}", "PUT", "DELETE, GET, PATCH"),
        (f"/v1/bindings/{ID}", "OPTIONS", "DELETE, GET, PATCH"),
        (f"/v1/bindings/{ID}/verify", "GET", "POST"),
        ("/v1/events", "POST", "GET"),
    ],
)
def test_another_method_is_told_which_there_are(client, path, method, allowed):
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    if method != "HEAD":
        assert answer.json()["code"] == "method_not_allowed"


NAMES = ["secret", "secret_key", "passphrase", "api_key", "token", "access_token", "password", "authorization"]


@pytest.mark.bar(19)
def test_the_public_port_describes_and_measures_nothing(client):
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/livez", "/readyz"):
        assert client.get(path).status_code == 404
    for method in ("TRACE", "CONNECT", "TRACK"):
        assert client.request(method, "/v1/bindings").status_code in (400, 404, 405)
    assert importlib.util.find_spec("grpc_reflection") is None  # no server of ours could answer for it


@pytest.mark.bar(17)
@pytest.mark.parametrize("name", [*NAMES, "Secret-Key", "%73ecret"])
def test_a_secret_in_the_url_is_refused_and_not_repeated(client, name):
    answer = client.get(f"/v1/bindings?limit=1&{name}=canary")
    assert (answer.status_code, answer.json()["code"]) == (400, "secret_in_query")
    assert "canary" not in answer.text


@pytest.mark.parametrize("size", [65_537, 8 << 20, 64 << 20])
def test_a_body_that_is_too_large_is_refused_and_the_connection_goes_on(client, body, size):
    answer = client.post("/v1/bindings", content=b"x" * size, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert client.post("/v1/bindings", json=body).status_code == 202


def test_an_idle_connection_is_kept_longer_than_clients_keep_theirs(served):
    connection = HTTPConnection("127.0.0.1", served.port, timeout=20)
    for pause in (6, 0):  # httpx gives an idle connection up after 5 seconds
        connection.request("GET", "/v1/bindings")
        answer = connection.getresponse()
        assert (answer.status, answer.read() != b"") == (401, True)
        time.sleep(pause)
    connection.close()


def test_a_body_without_a_length_is_counted(client, body):
    answer = client.post("/v1/bindings", content=(b"x" * 4096 for _ in range(2048)))
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert client.post("/v1/bindings", json=body).status_code == 202


def test_a_body_of_64_kib_is_read(client):
    content = b'{"label": "' + b"x" * (65_536 - 13) + b'"}'
    answer = client.post("/v1/bindings", content=content, headers={"Content-Type": "application/json"})
    assert (len(content), answer.status_code) == (65_536, 422)


def test_a_client_that_asks_before_it_sends_is_refused_and_the_connection_ends(served):
    head = message("POST /v1/bindings HTTP/1.1", "Host: a", "Content-Length: 8388608", "Expect: 100-continue")
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(head)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert problems(received) == [(413, "body_too_large")]


def test_a_length_beyond_any_number_is_refused(served):
    head = message("POST /v1/bindings HTTP/1.1", "Host: a", "Content-Length: " + "9" * 18)
    assert problems(talk(served.port, head))[0] in [(413, "body_too_large"), (400, "malformed_request")]


def test_endless_headers_are_refused(served):
    received = talk(served.port, b"GET /v1/bindings HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 33_000)
    assert problems(received) == [(431, "headers_too_large")]


def test_a_body_that_does_not_come_is_refused_in_time(served, monkeypatch):
    assert edge.BODY_S == 10
    monkeypatch.setattr(edge, "BODY_S", 0.5)
    received = talk(served.port, message("POST /v1/bindings HTTP/1.1", "Host: a", "Content-Length: 5", body=b"{"))
    assert problems(received) == [(408, "request_timeout")]


def test_a_head_that_does_not_come_is_cut_in_time(served, monkeypatch):
    assert http.HEAD_S == 10
    monkeypatch.setattr(http, "HEAD_S", 0.5)
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        for part in (b"GET /v1/bindings HTTP/1.1\r\n", b"Host: a\r\n", b"X: y\r\n"):
            connection.sendall(part)
            time.sleep(0.1)  # a slow client, not a race: each part comes well before the deadline of the whole
        assert connection.recv(100) == b""


def test_the_rest_of_a_refused_body_may_not_take_for_ever(served, monkeypatch):
    monkeypatch.setattr(http, "DRAIN_S", 0.5)
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(message("POST /v1/bindings HTTP/1.1", "Host: a", "Content-Length: 8388608", body=b"x"))
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert problems(received) == [(413, "body_too_large")]


def test_a_connection_beyond_the_limit_is_told_so_and_closed(serve):
    few = serve(connections="16")
    with contextlib.ExitStack() as opened:
        for _ in range(15):
            opened.enter_context(socket.create_connection(("127.0.0.1", few.port), timeout=5))
        received = talk(few.port, b"")
        assert problems(received) == [(503, "unavailable")]
        assert b"retry-after: 2\r\n" in received
    deadline = time.monotonic() + 5
    while few.gateway._public.server_state.connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert httpx.get(f"{few.url}/v1/bindings").status_code == 401


def test_pipelined_requests_are_answered_in_order(served):
    one = message("GET /v1/nothing HTTP/1.1", "Host: a")
    two = message("GET /v1/bindings HTTP/1.1", "Host: a", "Connection: close")
    assert problems(talk(served.port, one + two)) == [(404, "not_found"), (401, "unauthenticated")]


@pytest.mark.bar(18)
@pytest.mark.parametrize("path", ["/v1/bindings", "/nothing", "/v1/exchanges/bitget", "/v1/bindings?token=1"])
def test_every_answer_may_not_be_kept_and_names_no_server(client, path):
    answer = client.get(path)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert set(answer.headers) <= HEADS | {"etag", "ratelimit", "ratelimit-policy"}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("abcdefgh", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("short", False),
        ("has spaces in", False),
        ("é" * 8, False),
    ],
)
def test_a_request_id_is_taken_over_only_if_it_is_one(client, sent, kept):
    answer = client.get("/nothing", headers={"X-Request-Id": sent.encode()})
    assert (answer.headers["x-request-id"] == sent) is kept
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_problem_has_the_members_of_the_contract(client):
    answer = client.get("/nothing")
    assert answer.headers["content-type"] == "application/problem+json"
    assert list(answer.json()) == ["type", "title", "status", "detail", "code", "request_id"]
    assert answer.json()["type"] == "urn:strongroom:problem:not_found"


def test_a_client_that_goes_while_it_sends_does_no_harm(served, client):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(message("POST /v1/bindings HTTP/1.1", "Host: a", "Content-Length: 50", body=b'{"label'))
    assert client.get("/v1/bindings").status_code == 200


@pytest.mark.bar(11)
def test_an_unknown_failure_in_a_route_tells_nothing(serve, issuer, tenant):
    broken = serve()
    broken.gateway._streams.open = None  # calling it is a TypeError, which no code expects
    headers = {"Authorization": f"Bearer {issuer.issue(tenant)}"}
    answer = httpx.get(f"{broken.url}/v1/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.json()["detail"] == "Something went wrong on our side."


CHUNKED = ("POST /v1/bindings HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")


def test_what_follows_a_chunked_body_is_no_header(served, issuer, tenant):
    """A head without Authorization stays without it, whatever comes behind the body."""
    trailers = f"Authorization: Bearer {issuer.issue(tenant)}\r\nHost: b\r\n\r\n".encode()
    received = talk(served.port, message(*CHUNKED, body=b"2\r\n{}\r\n0\r\n" + trailers))
    assert problems(received) == [(401, "unauthenticated")]


def test_endless_trailers_cost_no_memory(served, monkeypatch):
    monkeypatch.setattr(edge, "BODY_S", 1.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with socket.create_connection(("127.0.0.1", served.port), timeout=5) as connection:
        connection.sendall(message(*CHUNKED, body=b"0\r\n"))
        with contextlib.suppress(OSError):
            for _ in range(100_000):
                connection.sendall((b"A: " + b"x" * 900 + b"\r\n") * 70)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024  # KiB
