"""One whole stack for the suite: every process, real servers, logs at DEBUG, driven as a client would."""

import dataclasses
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack, embedded

# The first two have the rules that are usual; the third's are stricter.
STRICT = {"errors": ["withdraw_enabled", "withdraw_without_ip_list", "ip_list_absent"], "rotation_days": 90}
TENANTS = [{"name": "acme"}, {"name": "globex"}, {"name": "strict", "rules": STRICT}]
SHORT_S, PATIENCE_S = 5, 60.0
SETTLED = ("connected", "limited", "rejected", "disconnected")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.integration)


def eventually(condition: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
    """Return the first true value of `condition`; fail when there is none within `seconds`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    pytest.fail("the awaited condition did not come true")


@dataclasses.dataclass
class Driver:
    """A running stack and what tests do with it."""

    stack: Stack

    @property
    def facts(self) -> dict[str, Any]:
        return self.stack.description

    def client(self, tenant: int = 0, **headers: str) -> httpx.Client:
        token = self.facts["tenants"][tenant]["token"]
        return httpx.Client(
            base_url=self.facts["gateway_url"],
            headers={"Authorization": f"Bearer {token}", **headers},
            timeout=40,
            trust_env=False,
        )

    def child(self, name: str) -> Any:
        return next(child for child in self.stack.children if child.name == name)

    def sample(self, name: str) -> dict[str, Any]:
        """Return one of the stack's sample keys."""
        samples = [*self.facts["sample_keys"], *self.facts["rsa_sample_keys"]]
        found: dict[str, Any] = next(one for one in samples if one["name"] == name)
        return found

    def account(self, like: str = "unified-trader", **changes: Any) -> dict[str, Any]:
        """Make a fresh account at the exchange with the rights of a sample one; return what its owner would hold.

        `changes` replace parts of the account; a `secret_key` that is a PEM makes it an RSA one.
        """
        control = self.facts["simulator_control_url"]
        sample = self.sample(like)
        with httpx.Client(base_url=control, trust_env=False) as http:
            shown = http.get(f"/accounts/{sample['api_key']}", params={"credentials": 1}).json()
            made = {
                "api_key": "bg_" + secrets.token_hex(16),
                "secret_key": changes.pop("secret_key", secrets.token_hex(32)),
                "passphrase": "Pass" + secrets.token_hex(6),
            }
            body = {**shown, **made, "name": made["api_key"], "uid": str(secrets.randbelow(10**9)), **changes}
            answer = http.put(f"/accounts/{made['api_key']}", json=body)
            assert answer.is_success, answer.text
        return made

    def change(self, credential: dict[str, Any], **fields: Any) -> None:
        """Change an account at the exchange, as its owner would."""
        with httpx.Client(base_url=self.facts["simulator_control_url"], trust_env=False) as http:
            answer = http.put(f"/accounts/{credential['api_key']}", json=fields)
            assert answer.is_success, answer.text

    def faults(self, *faults: dict[str, Any]) -> None:
        with httpx.Client(base_url=self.facts["simulator_control_url"], trust_env=False) as http:
            assert http.put("/faults", json={"faults": list(faults)}).is_success

    def bind(self, credential: dict[str, Any], *, tenant: int = 0, wait: int = 30, **fields: Any) -> httpx.Response:
        """Bind as a client would: wait for the verdict, and ask again, under the same key, where nobody can answer yet.

        With a short `wait` the first answer is what counts.
        """
        body = {"exchange": "bitget", "label": "test", "subject": "customer-1", "scopes": ["spot", "futures"], **fields}
        key = fields.pop("idempotency_key", secrets.token_hex(8))
        body.pop("idempotency_key", None)
        deadline = time.monotonic() + (PATIENCE_S if wait > SHORT_S else 0)
        with self.client(tenant, **{"Idempotency-Key": key, "Prefer": f"wait={wait}"}) as http:
            while True:
                answer = http.post("/v1/bindings", json={**body, "credential": credential})
                if answer.status_code not in (429, 503) or time.monotonic() > deadline:
                    return answer
                time.sleep(float(answer.headers.get("Retry-After", 1)))

    def settled(self, binding_id: str, *, tenant: int = 0, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """Return the binding once a verdict is in."""

        def read() -> dict[str, Any] | None:
            with self.client(tenant) as http:
                found: dict[str, Any] = http.get(f"/v1/bindings/{binding_id}").json()
            return found if found["status"] in SETTLED else None

        return eventually(read, seconds)


def denied(stack: Stack) -> list[dict[str, Any]]:
    """Return what Redis refused to the processes since it started: nothing, whatever the suite has them do."""
    with redis.Redis.from_url(stack.description["redis_url"], decode_responses=True) as server:
        return [one for one in server.acl_log() if one["username"] in {"gateway", "deliverer", "verifier", "worker"}]


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Driver]:
    home = tmp_path_factory.mktemp("stack")
    (home / "tenants.json").write_text(json.dumps(TENANTS))
    settings = LaunchSettings(home, free_port(), None, "127.0.0.1", log_level="debug")
    servers = embedded
    if pytestconfig.getoption("servers") == "containers":
        from tests.integration.containers import containers as servers
    with Stack(settings, lambda _: None, servers) as stack:
        stack.start()
        yield Driver(stack)
        refused = denied(stack)
    assert refused == [], "Redis refused something to a process of ours: see redis_users.acl"


@pytest.fixture
def driver(running: Driver) -> Iterator[Driver]:
    """Give the suite's stack, whole and without faults, whatever the test before did."""
    for child in running.stack.children:
        if not child.alive:
            child.start()
    running.faults()
    with running.client() as http:
        eventually(lambda: http.get("/v1/bindings").is_success)
    yield running
    running.faults()
