"""A key replaced on the whole stack: gateway, vault service, worker and exchange, as a client drives them."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

from tests.integration.conftest import Driver, eventually


def fresh_uid() -> str:
    """Return an account id that no other test uses."""
    return "32" + "".join(secrets.choice("0123456789") for _ in range(8))


def replace(driver: Driver, name: str, account: dict[str, Any], key: str = "", wait: int = 20, **changed: str) -> Any:
    """Replace a binding's credential by an account's key."""
    credential = {part: account[part] for part in ("api_key", "secret_key", "passphrase")} | changed
    headers = {"Idempotency-Key": key or secrets.token_hex(8), "Prefer": f"wait={wait}"}
    with driver.client(**headers) as client:
        return client.post(f"/v1/bindings/{name}/credential", json={"credential": credential})


def shown(driver: Driver, name: str) -> dict[str, Any]:
    with driver.client() as client:
        told: dict[str, Any] = client.get(f"/v1/bindings/{name}").json()
        return told


def test_a_second_key_of_the_account_replaces_the_first_and_the_first_may_be_bound_again(driver: Driver) -> None:
    uid = fresh_uid()
    first, second = driver.account(uid=uid), driver.account(uid=uid)
    bound = driver.bind(first).json()
    assert bound["status"] == "connected"
    answer = replace(driver, bound["id"], second, "once")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["status"], told["credential"]["version"], told["rotation"]) == ("connected", 2, None)
    assert told["credential"]["api_key_hint"].endswith(second["api_key"][-4:])
    assert (told["id"], told["account"]["uid"]) == (bound["id"], uid)
    again = replace(driver, bound["id"], second, "once")
    assert (again.status_code, again.json()["credential"]) == (200, told["credential"])
    assert replace(driver, bound["id"], second, "once", passphrase="Another01").status_code == 422
    assert driver.bind(second).status_code == 409
    assert driver.bind(first).json()["status"] == "connected"


def test_a_key_of_another_account_or_with_a_wrong_secret_leaves_the_first_in_use(driver: Driver) -> None:
    uid = fresh_uid()
    bound = driver.bind(driver.account(uid=uid)).json()
    other = replace(driver, bound["id"], driver.account(uid=fresh_uid()))
    assert (other.status_code, other.json()["code"], other.json()["reason"]) == (409, *["account_mismatch"] * 2)
    assert other.json()["findings"][0]["remedy"]
    wrong = replace(driver, bound["id"], driver.account(uid=uid), secret_key=secrets.token_hex(32))
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["reason"]) == (
        422,
        "credential_rejected",
        "invalid_secret",
    )
    told = shown(driver, bound["id"])
    assert (told["status"], told["credential"]) == ("connected", bound["credential"] | {"age_days": 0})
    assert (told["rotation"]["state"], told["rotation"]["reason"]) == ("failed", "invalid_secret")
    done = replace(driver, bound["id"], driver.account(uid=uid))
    assert (done.status_code, done.json()["credential"]["version"], done.json()["rotation"]) == (200, 4, None)


def test_verifications_under_way_notice_nothing_of_a_replacement(driver: Driver) -> None:
    uid = fresh_uid()
    bound, ended = driver.bind(driver.account(uid=uid)).json(), Event()

    def verify() -> set[tuple[int, str]]:
        seen = set()
        with driver.client(Prefer="wait=20") as client:
            while not ended.is_set():
                answer = client.post(f"/v1/bindings/{bound['id']}/verify")
                seen.add((answer.status_code, answer.json()["status"]))
        return seen

    with ThreadPoolExecutor() as pool:
        load = [pool.submit(verify) for _ in range(4)]
        versions = [replace(driver, bound["id"], driver.account(uid=uid)).json() for _ in range(3)]
        ended.set()
    assert [told["credential"]["version"] for told in versions] == [2, 3, 4], versions
    told = set.union(*(one.result() for one in load))
    assert {status for _, status in told} == {"connected"}
    assert {code for code, _ in told} <= {200, 202}


def test_a_scope_more_is_pending_until_the_exchange_has_been_asked(driver: Driver) -> None:
    bound = driver.bind(driver.account(), scopes=["spot"]).json()
    with driver.client() as client:
        changed = client.patch(f"/v1/bindings/{bound['id']}", json={"scopes": ["spot", "futures"], "label": "Both"})
    assert changed.status_code == 200
    assert (changed.json()["scopes"], changed.json()["label"]) == (["spot", "futures"], "Both")
    assert changed.json()["status"] == "pending"
    told = eventually(lambda: (now := shown(driver, bound["id"]))["status"] != "pending" and now)
    assert told["status"] == "connected"
    assert {one["id"] for one in told["strategies"] if one["available"]} >= {"spot_trading", "usdt_futures"}
