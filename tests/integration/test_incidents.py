"""An incident on the whole stack: an operator freezes, looks, lifts, and ends what has to end."""

from typing import Any

import httpx

from tests.integration.conftest import Driver, eventually


def operator(driver: Driver) -> httpx.Client:
    headers = {"Authorization": f"Bearer {driver.facts['admin_token']}"}
    return httpx.Client(base_url=driver.facts["gateway_url"], headers=headers, timeout=40, trust_env=False)


def codes(shown: dict[str, Any]) -> list[str]:
    return [one["code"] for one in shown["findings"]]


def test_a_frozen_customer_keeps_its_status_and_is_looked_at_again_once_it_is_lifted(driver: Driver) -> None:
    tenant = driver.facts["tenants"][0]["id"]
    frozen = driver.bind(driver.account(), subject="in-question").json()
    other = driver.bind(driver.account(), subject="somebody-else").json()
    assert (frozen["status"], other["status"]) == ("connected", "connected")
    with operator(driver) as admin, driver.client(Prefer="wait=10") as http:
        target = {"kind": "subject", "tenant": tenant, "subject": "in-question"}
        made = admin.post("/v1/admin/freezes", json={"target": target, "reason": "a stolen laptop"})
        assert made.status_code == 201
        looked = http.post(f"/v1/bindings/{frozen['id']}/verify")
        assert (looked.status_code, looked.json()["status"], looked.json()["stale"]) == (202, "connected", False)
        assert "frozen" in codes(looked.json())
        assert http.post(f"/v1/bindings/{other['id']}/verify").status_code == 200
        refused = driver.bind(driver.account(), subject="in-question")
        assert (refused.status_code, refused.json()["rule"]) == (403, "frozen")
        assert refused.json()["freeze_id"] == made.json()["id"]
        assert admin.delete(made.headers["location"], params={"reason": "found again"}).status_code == 204
        shown = eventually(
            lambda: (now := http.get(f"/v1/bindings/{frozen['id']}").json()) and "frozen" not in codes(now)
        )
        assert shown
        assert http.post(f"/v1/bindings/{frozen['id']}/verify").status_code == 200


def test_many_bindings_of_a_customer_end_and_each_says_to_delete_the_key(driver: Driver) -> None:
    tenant = driver.facts["tenants"][0]["id"]
    ending = sorted(driver.bind(driver.account(), subject="leaving").json()["id"] for _ in range(3))
    staying = driver.bind(driver.account(), subject="staying").json()["id"]
    with operator(driver) as admin, driver.client() as http:
        order = {"selector": {"tenant": tenant, "subject": "leaving"}, "reason": "the customer left"}
        tried = admin.post("/v1/admin/revocations", json={**order, "dry_run": True})
        found = eventually(lambda: (now := admin.get(tried.headers["location"]).json())["state"] == "done" and now)
        assert (found["matched"], found["revoked"], found["binding_ids"]) == (3, 0, ending)
        taken = admin.post("/v1/admin/revocations", json=order)
        assert taken.status_code == 202
        report = eventually(lambda: (now := admin.get(taken.headers["location"]).json())["state"] == "done" and now)
        assert (report["matched"], report["revoked"], report["failed"]) == (3, 3, [])
        for name in ending:
            shown = http.get(f"/v1/bindings/{name}").json()
            assert (shown["status"], "delete_key_at_exchange" in codes(shown)) == ("revoked", True)
            assert http.post(f"/v1/bindings/{name}/verify").json()["code"] == "binding_revoked"
        assert http.get(f"/v1/bindings/{staying}").json()["status"] == "connected"
