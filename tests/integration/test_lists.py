"""Lists: the same bindings from what is published and from the records, whatever is missing."""

from typing import Any

import redis

from tests.integration.conftest import Driver, eventually


def published(driver: Driver) -> None:
    """Wait until the first tenant's list is known to be whole: a worker says so when it has compared it with Vault."""
    worker = driver.child("worker")
    worker.kill()
    worker.start()
    with redis.Redis.from_url(driver.facts["redis_url"]) as server:
        listed = f"sr:{{{driver.facts['tenants'][0]['id']}}}:ids"
        eventually(lambda: server.zscore(listed, "") is not None)


def everything(driver: Driver, limit: int = 3, **filters: str) -> list[dict[str, Any]]:
    """Return every binding of the first tenant, page by page."""
    found, cursor = [], None
    with driver.client() as http:
        while True:
            page = http.get("/v1/bindings", params={"limit": limit, **filters} | ({"cursor": cursor} if cursor else {}))
            found += page.json()["items"]
            cursor = page.json()["next_cursor"]
            if cursor is None:
                return found


def test_what_is_published_and_what_is_recorded_list_alike(driver: Driver) -> None:
    kept = driver.bind(driver.account(), subject="list-1").json()
    ended = driver.bind(driver.account(), subject="list-1").json()
    rejected = driver.bind(driver.account() | {"passphrase": "Wrong0Pass"}, subject="list-2").json()
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{ended['id']}").status_code == 204
    published(driver)
    wanted = sorted(each["id"] for each in (kept, ended, rejected))
    eventually(lambda: set(wanted) <= {each["id"] for each in everything(driver)})
    eventually(lambda: {each["id"] for each in everything(driver, status="revoked")} >= {ended["id"]})
    listed = everything(driver)
    driver.child("verifier").pause()
    try:
        recorded = everything(driver, limit=100)
    finally:
        driver.child("verifier").resume()
    assert [each["id"] for each in listed] == [each["id"] for each in recorded]
    hidden = ("balances", "last_verified_at", "next_verification_at", "stale", "findings")
    shown = [  # bindings of other tests may be verified between the two lists
        [{key: each[key] for key in each if key not in hidden} for each in way if each["id"] in wanted]
        for way in (listed, recorded)
    ]
    assert shown[0] == shown[1]
    assert [each["id"] for each in everything(driver, subject="list-1")] == sorted((kept["id"], ended["id"]))


def test_a_published_list_needs_no_vault(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    published(driver)
    driver.child("vault").pause()
    try:
        (shown,) = [each for each in everything(driver, limit=100) if each["id"] == bound["id"]]
    finally:
        driver.child("vault").resume()
    assert shown == bound


def test_a_list_goes_on_while_redis_is_gone(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    driver.child("valkey").pause()
    try:
        with driver.client() as http:
            page = http.get("/v1/bindings", params={"limit": 100, "subject": "customer-1"})
            assert page.status_code == 200
    finally:
        driver.child("valkey").resume()
    assert bound["id"] in {each["id"] for each in everything(driver, limit=100)}
