"""What dies, and what must not be lost by it."""

import contextlib
import json
import threading
import time
from functools import partial

import httpx
import pytest
import redis

from tests.integration.conftest import Driver, eventually


def answered(answer: httpx.Response) -> int | None:
    """Return the status of an answer that is one; None for a 503 or 429, after which a client asks again."""
    return None if answer.status_code in (429, 503) else answer.status_code


class Stream:
    """A customer's event stream in a thread: what came, in order, until it is cut."""

    def __init__(self, driver: Driver, path: str = "/v1/events", last: str | None = None, tenant: int = 0) -> None:
        self.events: list[dict[str, str]] = []
        self.last = last
        self._http = driver.client(tenant, **({"Last-Event-ID": last} if last else {}))
        self._path = path
        self.opened = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.opened.wait(10)

    def _read(self) -> None:
        with contextlib.suppress(httpx.HTTPError), self._http.stream("GET", self._path, timeout=60) as answer:
            assert answer.status_code == 200
            self.opened.set()
            event: dict[str, str] = {}
            for line in answer.iter_lines():
                name, _, value = line.partition(":")
                if not line and event.get("event"):
                    self.events.append(event)
                    self.last = event.get("id", self.last)
                event = {} if not line else event | ({name: value.strip()} if name else {})

    def of(self, binding_id: str) -> list[str]:
        states = [json.loads(each["data"]) for each in list(self.events) if each["event"] == "binding.status"]
        return [each["status"] for each in states if each["binding_id"] == binding_id]

    def cut(self) -> None:
        self._http.close()


def test_each_change_of_state_is_one_event_and_a_cut_stream_resumes_exactly(driver: Driver) -> None:
    stream = Stream(driver)
    first = driver.bind(driver.account()).json()["id"]
    eventually(lambda: stream.of(first) == ["pending", "connected"])
    stream.cut()
    second = driver.bind(driver.account()).json()["id"]
    third = driver.bind(driver.account("classic-spot-only")).json()["id"]
    resumed = Stream(driver, last=stream.last)
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{second}").status_code == 204
    eventually(lambda: resumed.of(second) == ["pending", "connected", "revoked"])
    assert resumed.of(third) == ["pending", "limited"]
    assert resumed.of(first) == []
    ids = [each["id"] for each in resumed.events]
    assert len(ids) == len(set(ids))
    resumed.cut()


def test_a_bindings_own_stream_carries_only_its_events(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()["id"]
    stream = Stream(driver, f"/v1/bindings/{bound}/events")
    driver.bind(driver.account())
    with driver.client() as http:
        http.delete(f"/v1/bindings/{bound}")
    eventually(lambda: stream.of(bound) == ["revoked"])
    assert len(stream.events) == 1
    stream.cut()


def test_emptying_redis_loses_no_binding_and_no_state(driver: Driver) -> None:
    kept = driver.bind(driver.account()).json()
    limited = driver.bind(driver.account("classic-spot-only")).json()
    stream = Stream(driver)
    last = stream.last
    with redis.Redis.from_url(driver.facts["redis_url"]) as server:
        server.flushall()
        fresh = driver.bind(driver.account(), wait=30).json()
        with driver.client() as http:
            for before in (kept, limited, fresh):
                now = http.get(f"/v1/bindings/{before['id']}").json()
                assert (now["status"], now["reason"]) == (before["status"], before["reason"])
                assert now["findings"] == before["findings"]
            eventually(lambda: http.get(f"/v1/bindings/{kept['id']}").json()["balances"], 90)
        eventually(lambda: any(each["event"] == "reset" for each in stream.events), 90)
        assert stream.of(kept["id"]) == stream.of(limited["id"]) == []
    assert last is None
    stream.cut()


def test_binding_and_revoking_go_on_while_redis_is_gone(driver: Driver) -> None:
    before = driver.bind(driver.account()).json()
    driver.child("valkey").kill()
    try:
        answer = driver.bind(driver.account(), wait=1)
        assert answer.status_code == 202
        bound = answer.json()
        with driver.client() as http:
            assert http.get(f"/v1/bindings/{bound['id']}").json()["status"] == "pending"
            assert http.get(f"/v1/bindings/{before['id']}").json()["status"] == "connected"
            assert http.delete(f"/v1/bindings/{before['id']}").status_code == 204
            gone = http.get("/v1/events")
            assert (gone.status_code, "retry-after" in gone.headers) == (503, True)
    finally:
        driver.child("valkey").start()
    assert driver.settled(bound["id"], seconds=90)["status"] == "connected"


@pytest.mark.bar(40)
def test_a_worker_killed_with_a_job_in_hand_changes_the_outcome_of_nothing(driver: Driver) -> None:
    stream = Stream(driver)
    driver.faults({"kind": "latency", "seconds": 2})
    credential = driver.account()
    answer = driver.bind(credential, wait=1)
    assert answer.status_code == 202
    bound = answer.json()["id"]
    driver.child("worker").kill()
    driver.faults()
    driver.child("worker").start()
    assert driver.settled(bound, seconds=90)["status"] == "connected"
    eventually(lambda: stream.of(bound)[-1:] == ["connected"])
    time.sleep(1)  # a second, wrong event would come now
    assert stream.of(bound) == ["pending", "connected"]
    stream.cut()


def test_a_vault_service_killed_under_binds_loses_nothing_that_was_acknowledged(driver: Driver) -> None:
    acknowledged: list[str] = []
    stopping = threading.Event()

    def binder() -> None:
        while not stopping.is_set():
            with contextlib.suppress(httpx.HTTPError):
                answer = driver.bind(driver.account(), wait=1)
                if answer.status_code in (201, 202):
                    acknowledged.append(answer.json()["id"])

    threads = [threading.Thread(target=binder) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(acknowledged)
        eventually(partial(lambda count: len(acknowledged) > count, before))
        driver.child("vault").kill()
        driver.child("vault").start()
    stopping.set()
    for thread in threads:
        thread.join()
    with driver.client() as http:
        for each in acknowledged:
            # 503 while the gateway finds the new process is honest; 404 would be a loss.
            assert eventually(lambda path=f"/v1/bindings/{each}": answered(http.get(path))) == 200


def test_a_sealed_off_vault_is_503_with_retry_after_and_heals(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    driver.child("openbao").kill()
    try:
        with driver.client() as http:
            for answer in (http.get(f"/v1/bindings/{bound['id']}"), driver.bind(driver.account(), wait=1)):
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) > 0
    finally:
        driver.child("openbao").start()
    with driver.client() as http:
        eventually(lambda: http.get(f"/v1/bindings/{bound['id']}").status_code == 200)
    assert eventually(lambda: driver.bind(driver.account()).status_code == 201)
