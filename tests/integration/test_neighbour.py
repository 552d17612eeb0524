"""A tenant that asks for far more than its rate, beside one that does not: who is refused, how, and who notices it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Driver, eventually

QUIET, NOISY = 0, 1
PER_MINUTE = 60
BURST = PER_MINUTE // 6
TOLD = ("ratelimit", "ratelimit-policy", "retry-after")


@pytest.fixture
def limited(driver: Driver) -> Iterator[Driver]:
    """Give the noisy tenant a small rate, and the usual one afterwards."""
    noisy = f"/v1/admin/tenants/{driver.facts['tenants'][NOISY]['id']}"
    admin = {"Authorization": f"Bearer {driver.facts['admin_token']}"}
    with httpx.Client(base_url=driver.facts["gateway_url"], headers=admin, timeout=20, trust_env=False) as http:

        def allow(per_minute: int) -> None:
            assert http.patch(noisy, json={"quotas": {"requests_per_minute": per_minute}}).is_success

        allow(PER_MINUTE)
        with driver.client(NOISY) as tenant:
            policy = f'"tenant";q={BURST};w='
            eventually(lambda: tenant.get("/v1/bindings").headers["ratelimit-policy"].startswith(policy))
        yield driver
        allow(0)
        with driver.client(NOISY) as tenant:
            eventually(lambda: tenant.get("/v1/bindings").is_success)


@contextlib.contextmanager
def flooded(driver: Driver, threads: int = 4) -> Iterator[list[httpx.Response]]:
    """Let the noisy tenant ask as fast as it can meanwhile; gives what it was answered."""
    answers, stopping = list[httpx.Response](), threading.Event()

    def ask() -> None:
        with driver.client(NOISY) as http:
            while not stopping.is_set():
                answers.append(http.get("/v1/bindings"))

    running = [threading.Thread(target=ask) for _ in range(threads)]
    for one in running:
        one.start()
    try:
        eventually(lambda: any(one.status_code == 429 for one in answers))
        yield answers
    finally:
        stopping.set()
        for one in running:
            one.join()


@pytest.mark.bar(52)
def test_a_tenant_beyond_its_rate_is_told_so_and_every_call_of_another_succeeds(limited: Driver) -> None:
    started, others = time.monotonic(), list[httpx.Response]()
    with flooded(limited) as answers, limited.client(QUIET) as quiet:
        for _ in range(5):
            bound = limited.bind(limited.account(), tenant=QUIET, wait=0)
            place = f"/v1/bindings/{bound.json()['id']}"
            others += [bound, quiet.get(place), quiet.get("/v1/bindings?limit=10"), quiet.get("/v1/exchanges/bitget")]
            others += [quiet.delete(place), quiet.get(place)]
    elapsed = time.monotonic() - started
    assert [one.text for one in others if not one.is_success] == []
    assert {one.status_code for one in answers} <= {200, 429}
    refused = [one for one in answers if one.status_code == 429]
    assert len(answers) - len(refused) <= BURST + elapsed * PER_MINUTE / 60 + 1, "no more than its rate was let in"
    assert len(refused) > len(answers) / 2
    for one in refused:
        assert all(name in one.headers for name in TOLD), one.headers
        assert one.json()["code"] == "quota_exceeded"
        assert int(one.headers["retry-after"]) >= 1


@pytest.mark.bar(52)
def test_whoever_waits_as_it_was_told_is_let_in(limited: Driver) -> None:
    with limited.client(NOISY) as http:
        answer: Any = eventually(lambda: (one := http.get("/v1/bindings")).status_code == 429 and one)
        time.sleep(int(answer.headers["retry-after"]))
        assert http.get("/v1/bindings").is_success
