"""Webhooks on the whole stack: what happens to a key reaches a receiver, which checks it and may be away meanwhile."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from tests.integration.conftest import Driver, eventually


class Receiver(http.server.ThreadingHTTPServer):
    """Keeps (headers, body) of each request, and answers `status`."""

    def __init__(self, port: int = 0) -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.status = 200
        super().__init__(("127.0.0.1", port), Handler)

    def statuses(self, binding: str, secret: str) -> list[str]:
        """Return the statuses that came of a binding, each message verified by the reference implementation."""
        messages = [Webhook(secret).verify(body, headers) for headers, body in list(self.got)]
        assert {message["type"] for message in messages} <= {"binding.status"}
        return [one["data"]["status"] for one in messages if one["data"]["binding_id"] == binding]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = self.rfile.read(int(self.headers["content-length"]))
        server.got.append((dict(self.headers.items()), body))
        self.send_response(server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base class names it
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_status_reaches_a_receiver_signed_and_goes_on_after_the_deliverer_was_killed(
    driver: Driver, receiver: Receiver
) -> None:
    with driver.client() as rest:
        made = rest.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{receiver.server_port}/hook"})
        assert made.status_code == 201, made.text
        one, secret = made.headers["location"], made.json()["secret"]
        bound = driver.bind(driver.account()).json()["id"]
        eventually(lambda: receiver.statuses(bound, secret)[-1:] == ["connected"])
        ids = [headers["webhook-id"] for headers, _ in receiver.got]
        assert len(set(ids)) == len(ids)
        receiver.status = 503
        assert rest.delete(f"/v1/bindings/{bound}").status_code == 204
        eventually(lambda: "revoked" in receiver.statuses(bound, secret))
        driver.child("deliverer").kill()
        receiver.status = 200
        fresh = rest.post(f"{one}/secret").json()["secret"]
        driver.child("deliverer").start()
        came = eventually(lambda: receiver.statuses(bound, secret).count("revoked") >= 2 and receiver.got[-1], 60)
        for each in (secret, fresh):
            assert Webhook(each).verify(came[1], came[0])["data"]["status"] == "revoked"
        log = eventually(lambda: _log(rest, one))
        assert log[0]["status"] == 200
        assert {entry["status"] for entry in log} == {200, 503}
        trail = rest.get("/v1/audit").json()["items"]
        assert {"webhook_create", "webhook_rotate"} <= {line["action"] for line in trail}
        assert rest.delete(one).status_code == 204
    logs = "".join(file.read_text(errors="replace") for file in (driver.stack.home / "logs").iterdir())
    trail = "".join(file.read_text() for file in (driver.stack.home / "audit").glob("*.jsonl"))
    for each in (secret, fresh):
        assert each not in logs + trail
        assert each.removeprefix("whsec_") not in logs + trail


def _log(rest: Any, one: str) -> list[dict[str, Any]]:
    """Return the delivery log once the last attempt in it was taken."""
    log: list[dict[str, Any]] = rest.get(f"{one}/attempts").json()["items"]
    return log if log and log[0]["delivered"] else []


def test_another_tenant_gets_none_of_it(driver: Driver, receiver: Receiver) -> None:
    with driver.client(1) as rest:
        made = rest.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{receiver.server_port}/hook"}).json()
        mine = driver.bind(driver.account(), tenant=1).json()["id"]
        others = driver.bind(driver.account()).json()["id"]
        eventually(lambda: receiver.statuses(mine, made["secret"])[-1:] == ["connected"])
        assert others not in json.dumps([body.decode() for _, body in receiver.got])
        assert rest.delete(f"/v1/webhooks/{made['webhook']['id']}").status_code == 204
