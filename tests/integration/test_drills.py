"""What SREs practise, on the whole stack: harm is done, nobody is told anything false, and no restart is needed.

The rest of what is practised has files of its own; docs/drills.md names them all.
"""

import datetime as dt
import resource
import secrets
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from cli.pki import Authority

from tests.integration.conftest import Driver, eventually
from tests.integration.test_audit import audit
from tests.integration.test_incidents import operator

ASSETS = {"method": "GET", "path": "/api/v3/account/assets"}
EVER = 180.0


def pids(driver: Driver) -> dict[str, int]:
    return {child.name: child.pid for child in driver.stack.children}


def took(what: str, condition: Callable[[], Any], seconds: float = EVER) -> None:
    """Wait for a condition and print how long that took."""
    began = time.monotonic()
    eventually(condition, seconds)
    print(f"{what} after {time.monotonic() - began:.1f} s")


def asked(driver: Driver) -> int:
    """Return how often the exchange was asked for what the drills ask for."""
    with httpx.Client(base_url=driver.facts["simulator_control_url"], trust_env=False) as http:
        return sum(one["target"] == ASSETS["path"] for one in http.get("/requests").json()["requests"])


def test_an_expired_certificate_is_503_for_as_long_as_it_is_there_and_a_new_one_heals_it(driver: Driver) -> None:
    bound, before = driver.bind(driver.account()).json(), pids(driver)
    authority = Authority.load(driver.stack.home / "pki")
    path = f"/v1/bindings/{bound['id']}"
    with driver.client() as http:
        now = dt.datetime.now(dt.UTC)
        authority.issue("gateway", valid_from=now - dt.timedelta(days=2), lifetime=dt.timedelta(days=1))
        try:
            took("refused", lambda: http.get(path).status_code == 503)
            refused = http.get(path)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        finally:
            authority.issue("gateway")
        took("served again", lambda: http.get(path).status_code == 200)
        assert http.get(path).json()["status"] == "connected"
    assert driver.bind(driver.account()).json()["status"] == "connected"
    assert pids(driver) == before


def test_while_the_audit_disk_is_full_nothing_is_signed_or_changed_and_it_goes_on_when_there_is_room(
    driver: Driver,
) -> None:
    bound, before = driver.bind(driver.account()).json(), pids(driver)
    use = f"/v1/bindings/{bound['id']}/requests"
    trail = max((driver.stack.home / "audit").glob("*.jsonl"), key=lambda file: file.stat().st_mtime)
    with driver.client() as http:
        assert http.post(use, json=ASSETS).status_code == 200
        resource.prlimit(before["vault"], resource.RLIMIT_FSIZE, (trail.stat().st_size + 200, resource.RLIM_INFINITY))
        try:
            took("refused", lambda: http.post(use, json=ASSETS).status_code == 503)
            before_that = asked(driver)
            refused = http.post(use, json=ASSETS)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            assert driver.bind(driver.account(), wait=0).status_code == 503
            assert http.delete(f"/v1/bindings/{bound['id']}").status_code == 503
            assert http.get(f"/v1/bindings/{bound['id']}").json()["status"] == "connected", "it is told as before"
            assert asked(driver) == before_that
        finally:
            resource.prlimit(before["vault"], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        took("signed again", lambda: http.post(use, json=ASSETS).status_code == 200)
    assert driver.bind(driver.account()).json()["status"] == "connected"
    assert pids(driver) == before
    if (driver.stack.home / "openbao" / "init.json").exists():  # the servers of the wheels
        driver.child("vault").stop()  # so that its last head is written
        try:
            checked = audit("verify", driver.stack.home / "audit", "--home", driver.stack.home)
        finally:
            driver.child("vault").start()
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("seconds", [-120, 120])
def test_a_clock_that_is_off_calls_no_good_key_wrong(driver: Driver, seconds: int) -> None:
    old = driver.bind(driver.account()).json()
    driver.faults({"kind": "clock", "seconds": seconds})
    made = driver.bind(driver.account()).json()
    assert made["status"] in ("pending", "connected"), made["findings"]
    with driver.client() as http:
        assert http.post(f"/v1/bindings/{old['id']}/verify").is_success
        took("connected by a corrected clock", lambda: driver.settled(made["id"])["status"] == "connected")
        assert http.get(f"/v1/bindings/{old['id']}").json()["status"] == "connected"
        driver.faults()
        assert http.post(f"/v1/bindings/{made['id']}/verify").is_success
        took("fresh again", lambda: http.get(f"/v1/bindings/{made['id']}").json()["stale"] is False)
        assert http.get(f"/v1/bindings/{made['id']}").json()["status"] == "connected"


@pytest.mark.drill
def test_an_address_that_is_banned_makes_verdicts_old_and_none_false(driver: Driver) -> None:
    old = driver.bind(driver.account()).json()
    driver.faults({"kind": "storm", "lasts": 60})
    made = driver.bind(driver.account(), wait=5).json()
    with driver.client(Prefer="wait=5") as http:
        looked = http.post(f"/v1/bindings/{old['id']}/verify").json()
        assert (made["status"], looked["status"]) == ("pending", "connected")
        took("the new key is connected", lambda: driver.settled(made["id"])["status"] == "connected", 400)
        took("the old one is fresh", lambda: http.get(f"/v1/bindings/{old['id']}").json()["stale"] is False, 400)


def test_the_answer_to_a_leak_stops_ends_and_tells(driver: Driver) -> None:
    subject, tenant = secrets.token_hex(6), driver.facts["tenants"][0]["id"]
    leaked = [driver.bind(driver.account(), subject=subject).json()["id"] for _ in range(2)]
    other = driver.bind(driver.account()).json()["id"]
    with operator(driver) as admin, driver.client() as http:
        use = lambda name: http.post(f"/v1/bindings/{name}/requests", json=ASSETS)  # noqa: E731
        assert all(use(name).status_code == 200 for name in leaked)
        target = {"kind": "subject", "tenant": tenant, "subject": subject}
        frozen = admin.post("/v1/admin/freezes", json={"target": target, "reason": "a leak"})
        assert frozen.status_code == 201
        took("nothing is signed any more", lambda: all(use(name).status_code == 403 for name in leaked))
        order = {"selector": {"tenant": tenant, "subject": subject}, "reason": "a leak"}
        began = admin.post("/v1/admin/revocations", json=order).headers["location"]
        took("every one has ended", lambda: admin.get(began).json()["state"] == "done")
        assert sorted(admin.get(began).json()["binding_ids"]) == sorted(leaked)
        assert admin.delete(frozen.headers["location"], params={"reason": "ended"}).status_code == 204
        assert [use(name).json()["code"] for name in leaked] == ["binding_revoked"] * 2
        for name in leaked:
            told = {line["action"] for line in http.get("/v1/audit", params={"binding": name}).json()["items"]}
            assert {"bind", "sign", "revoke"} <= told, told
        assert use(other).status_code == 200
