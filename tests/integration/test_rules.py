"""What one tenant has decided about its bindings holds for it, and for nobody else."""

from datetime import datetime, timedelta
from typing import Any

from tests.integration.conftest import Driver

LENIENT, STRICTER = 0, 2  # the tenants' places in conftest.TENANTS


def severities(told: dict[str, Any]) -> dict[str, str]:
    return {each["code"]: each["severity"] for each in told["findings"]}


def test_a_rule_makes_a_finding_an_error_for_its_tenant_only(driver: Driver) -> None:
    lenient = driver.bind(driver.account(ips=[]), tenant=LENIENT).json()
    strict = driver.bind(driver.account(ips=[]), tenant=STRICTER).json()
    assert (lenient["status"], severities(lenient)["ip_list_absent"]) == ("connected", "warning")
    assert (strict["status"], strict["reason"]) == ("limited", "policy_violation")
    assert severities(strict)["ip_list_absent"] == "error"


def test_the_age_at_which_a_key_is_to_be_replaced_is_told_where_there_is_one(driver: Driver) -> None:
    lenient = driver.bind(driver.account(), tenant=LENIENT).json()["credential"]
    strict = driver.bind(driver.account(), tenant=STRICTER).json()["credential"]
    assert lenient["rotate_by"] is None
    stored, due = (datetime.fromisoformat(strict[name]) for name in ("stored_at", "rotate_by"))
    assert due - stored == timedelta(days=90)


def test_a_key_that_another_tenant_has_bound_is_told_once_it_is_proven_and_names_nobody(driver: Driver) -> None:
    credential = driver.account()
    first = driver.bind(credential, tenant=LENIENT).json()
    second = driver.bind(credential, tenant=STRICTER).json()
    assert "key_bound_elsewhere" not in severities(first)
    assert "key_bound_elsewhere" in severities(second)
    assert first["id"] not in str(second)


def test_two_keys_of_one_account_tell_of_each_other(driver: Driver) -> None:
    uid = "31" + driver.account()["api_key"][-6:].encode().hex()[:8]
    first = driver.bind(driver.account(uid=uid)).json()
    second = driver.bind(driver.account(uid=uid)).json()
    assert second["account"]["keys_bound"] == 2
    (finding,) = [each for each in second["findings"] if each["code"] == "account_bound_twice"]
    assert first["id"] in finding["detail"]
