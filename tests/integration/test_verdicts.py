"""What a customer is told, from the REST bind to the verdict, for each thing that can be wrong."""

import dataclasses
from typing import Any

import pytest

from tests.integration.conftest import Driver, eventually


@dataclasses.dataclass
class Case:
    """What is wrong at the exchange, and what the customer must be told."""

    like: str = "unified-trader"
    account: dict[str, Any] = dataclasses.field(default_factory=dict)
    credential: dict[str, str] = dataclasses.field(default_factory=dict)
    status: str = "rejected"
    reason: str | None = None
    code: str = ""
    says: str = ""


CASES = {
    "a wrong secret": Case(credential={"secret_key": "0" * 64}, reason="invalid_secret", code="40009"),
    "a wrong passphrase": Case(credential={"passphrase": "Wrong0Pass"}, reason="invalid_passphrase", code="40012"),
    "an unknown key": Case(credential={"api_key": "bg_" + "0" * 32}, reason="invalid_api_key", code="40037"),
    "an address that is not listed": Case(
        account={"ips": ["203.0.113.77"]}, reason="ip_not_whitelisted", code="40018", says="127.0.0.1"
    ),
    "a missing futures permission": Case(like="classic-spot-only", status="limited", reason="permission_denied"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_own_verdict_with_a_remedy(name: str, driver: Driver) -> None:
    case = CASES[name]
    credential = driver.account(case.like, **case.account) | case.credential
    answer = driver.bind(credential)
    assert answer.is_success, answer.text
    told = driver.settled(answer.json()["id"])  # a key that nobody knows is rejected after 28 s
    assert (told["status"], told["reason"], told["stale"]) == (case.status, case.reason, False)
    finding = next(each for each in told["findings"] if each["severity"] == "error")
    assert finding["actor"] == "customer"
    assert len(finding["remedy"]) > 20
    assert case.code == "" or finding["evidence"]["exchange_code"] == case.code
    assert case.says in finding["remedy"] + finding["detail"]


def test_the_reasons_of_the_faults_differ_from_one_another() -> None:
    assert len({case.reason for case in CASES.values()}) == len(CASES)


def test_a_stopped_exchange_is_pending_and_stale_and_heals_by_itself(driver: Driver) -> None:
    credential = driver.account()
    simulator = driver.child("simulator")
    simulator.kill()
    answer = driver.bind(credential, wait=5)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["status"], told["reason"], told["stale"]) == ("pending", None, True)
    assert [each["code"] for each in told["findings"]] == ["exchange_unavailable"]
    assert told["findings"][0]["remedy"]
    simulator.start()
    # The simulator forgets accounts that were made at run time; its samples are still there.
    eventually(lambda: driver.settled(told["id"], seconds=60))


def test_an_outage_after_the_first_verdict_makes_it_stale_and_keeps_it(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    assert bound["status"] == "connected"
    driver.faults({"kind": "html", "status": 502})
    with driver.client(Prefer="wait=5") as http:
        told = http.post(f"/v1/bindings/{bound['id']}/verify").json()
    assert (told["status"], told["stale"]) == ("connected", True)
    driver.faults()
    with driver.client() as http:
        eventually(lambda: http.get(f"/v1/bindings/{bound['id']}").json()["stale"] is False)


@pytest.mark.parametrize("like", ["unified-trader", "classic-trader", "unified-demo", "unified-sub"])
def test_a_good_key_is_connected_with_balances_and_strategies(like: str, driver: Driver) -> None:
    told = driver.bind(driver.account(like)).json()
    assert told["status"] == "connected", told
    assert float(told["balances"]["total_usdt"]) > 0
    available = {each["id"]: each["available"] for each in told["strategies"]}
    assert available["spot_trading"]
    assert available["usdt_futures"]
    assert told["environment"] == ("demo" if like == "unified-demo" else "live")
    assert told["account"]["mode"] == ("classic" if like == "classic-trader" else "unified")


def test_every_sample_key_gets_the_verdict_that_it_announces(driver: Driver) -> None:
    for sample in [*driver.facts["sample_keys"], *driver.facts["rsa_sample_keys"]]:
        credential = {name: sample[name] for name in ("api_key", "secret_key", "passphrase", "key_type")}
        told = driver.bind(credential, tenant=1, idempotency_key="sample-" + sample["name"]).json()
        assert told["status"] == sample["expect"], (sample["name"], told["reason"], told["findings"])


def test_a_key_that_dies_after_it_worked_is_disconnected(driver: Driver) -> None:
    import httpx

    credential = driver.account()
    bound = driver.bind(credential).json()
    with httpx.Client(base_url=driver.facts["simulator_control_url"], trust_env=False) as control:
        assert control.delete(f"/accounts/{credential['api_key']}").is_success
    with driver.client(Prefer="wait=10") as http:
        told = http.post(f"/v1/bindings/{bound['id']}/verify").json()
    assert (told["status"], told["reason"]) == ("disconnected", "key_deleted")
