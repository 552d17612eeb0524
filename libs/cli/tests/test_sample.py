"""The sample's client is patient with a gateway that cannot answer yet, and says what it was refused with."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cli.processes import LaunchError
from cli.sample import SampleClient
from cli.screen import Screen

KEY = {"name": "sample", "api_key": "bg_0", "secret_key": "0", "passphrase": "0", "key_type": "hmac"}


class Gateway(ThreadingHTTPServer):
    """Answers each bind with the next of `statuses`, and keeps the key that it came with."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses, self.keys = list(statuses), list[str | None]()


class Handler(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.keys.append(self.headers["Idempotency-Key"])
        status = self.server.statuses.pop(0)
        told = {"code": "some_code", "detail": "Because.", "title": "T", "status": status, "request_id": "r"}
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway(503, 429, 400) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def test_a_bind_that_cannot_be_answered_yet_is_asked_for_again_under_the_same_key_until_it_is_refused(
    gateway: Gateway,
) -> None:
    with pytest.raises(LaunchError, match=r"Because\."):
        SampleClient(f"http://127.0.0.1:{gateway.server_port}", "token", Screen()).connect(KEY)
    assert gateway.statuses == []
    assert len(gateway.keys) == 3
    assert len(set(gateway.keys)) == 1
    assert gateway.keys[0]
