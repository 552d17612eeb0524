"""The scenarios as data: complete, possible at the exchange, in the documentation, and compared without mercy."""

import copy
from pathlib import Path
from typing import Any

import pytest
from simulator import ConfigError, config, expectation, handbook, pasting, scenarios
from simulator.__main__ import main
from simulator.scenarios import Scenario

BOOK = scenarios.read()
PAGE = Path(__file__).parents[3] / "docs/scenarios.md"
UID = "1000000001"
TOKENS = ["permType=read_and_write", "uta_mgt", "uta_trade"]


def named(name: str) -> Scenario:
    return next(one for one in BOOK.table if one.name == name)


@pytest.fixture
def resource() -> dict[str, Any]:
    """What the gateway answers about a unified key with nothing wrong."""
    rights = dict.fromkeys(expectation.RIGHTS, "yes") | {"copy_trade": "no", "withdraw": "unknown"}
    transfer = {"code": "transfer_enabled", "severity": "warning", "actor": "customer", "title": "It can transfer"}
    return {
        "status": "connected",
        "reason": None,
        "stale": False,
        "environment": "live",
        "account": {"uid": UID, "parent_uid": None, "mode": "unified", "keys_bound": 1, "keys_limit": 10},
        "permissions": {**rights, "tokens": TOKENS},
        "unknown_tokens": [],
        "ip_whitelist": {"bound": True, "addresses": list(BOOK.egress), "missing": []},
        "findings": [{**transfer, "detail": "d", "remedy": "r", "evidence": {"exchange_code": None}}],
        "strategies": [{"id": name, "available": True, "reasons": []} for name in expectation.STRATEGIES],
        "balances": {"total_usdt": "1500.00"},
    }


def compared(resource: dict[str, Any], name: str = "unified") -> list[str]:
    wanted = expectation.expected(BOOK, named(name).expect, UID, TOKENS)
    return expectation.differences(wanted, expectation.told(BOOK, resource))


def test_the_file_has_the_scenarios_and_each_account_can_exist() -> None:
    assert len(BOOK.table) >= 80
    for scenario in BOOK.table:
        identity = {**pasting.created(scenario.name).form(), "name": scenario.name, "uid": UID}
        identity.pop("key_type")
        account = {**scenario.account, **identity}
        for changed in ({}, *(step.account or {} for step in scenario.then)):
            account = {**account, **changed}
            assert config.account(account)
        config.faults(list(scenario.faults))


def test_each_expectation_is_whole() -> None:
    for scenario in BOOK.table:
        for expect in (scenario.expect, *(step.expect for step in scenario.then)):
            assert {*expect} >= {*scenarios.FIELDS} - {"turned_away"}
            assert set(expect["may"]).isdisjoint(expect["unclear"])
            assert expectation.expected(BOOK, expect, UID, TOKENS)["status"] == expect["status"]


def test_a_verdict_as_expected_gives_no_difference(resource: dict[str, Any]) -> None:
    assert compared(resource) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "limited"),
        ("reason", "policy_violation"),
        ("stale", True),
        ("environment", "demo"),
        ("account.uid", "2"),
        ("account.parent_uid", "2"),
        ("account.mode", "classic"),
        ("account.keys_bound", 2),
        ("permissions.withdraw", "no"),
        ("permissions.tokens", ["uta_mgt"]),
        ("unknown_tokens", ["x"]),
        ("ip_whitelist.bound", False),
        ("ip_whitelist.addresses", []),
        ("ip_whitelist.missing", ["203.0.113.10"]),
        ("findings", []),
        ("findings.0.severity", "error"),
        ("findings.0.actor", "operator"),
        ("findings.0.evidence", {"exchange_code": "40014"}),
        ("strategies", []),
        ("strategies.0.available", False),
        ("strategies.0.reasons", ["There is no balance for it yet."]),
        ("balances", None),
        ("balances.total_usdt", "1500.01"),
    ],
)
def test_each_field_that_is_not_as_expected_is_named(resource: dict[str, Any], field: str, value: Any) -> None:
    changed: Any = copy.deepcopy(resource)
    *way, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    inner = changed
    for part in way:
        inner = inner[part]
    inner[last] = value
    complaints = compared(changed)
    place = {"permissions.tokens": "tokens", "balances.total_usdt": "total_usdt", "balances": "total_usdt"}
    named_as = place.get(field, field.partition(".")[0])
    assert complaints
    assert all(complaint.startswith(named_as) for complaint in complaints)


def test_a_word_that_no_finding_says_is_told(resource: dict[str, Any]) -> None:
    assert expectation.untold({"tells": ["can transfer"]}, resource) == []
    assert expectation.untold({"tells": ["can fly"]}, resource) == ["findings: none says 'can fly'"]


def test_an_event_tells_what_differs_between_two_verdicts() -> None:
    scenario = named("then-ip-list-changed")
    before = expectation.expected(BOOK, scenario.expect, UID, TOKENS)
    after = expectation.expected(BOOK, scenario.then[1].expect, UID, TOKENS)
    assert expectation.changes(before, before) == {}
    assert expectation.changes(before, after) == {
        "ip_whitelist.addresses": (["203.0.113.10", "203.0.113.11"], ["198.51.100.7", "203.0.113.10"]),
        "ip_whitelist.missing": ([], ["203.0.113.11"]),
        "findings": (["transfer_enabled"], ["egress_ip_missing", "transfer_enabled"]),
    }


def test_a_finding_is_what_is_usual_unless_the_scenario_says_otherwise() -> None:
    assert expectation.finding(BOOK, "invalid_secret 40009") == "invalid_secret error customer 40009"
    assert expectation.finding(BOOK, "withdraw_enabled warning") == "withdraw_enabled warning customer"
    assert expectation.finding(BOOK, "ip_not_whitelisted operator 40018") == "ip_not_whitelisted error operator 40018"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [("colour: red", "unknown field 'colour'"), ("expect: {state: good}", "unknown field"), ("tenant: x", "tenant")],
)
def test_a_wrong_scenario_is_refused_by_name(wrong: str, message: str) -> None:
    text = config.SAMPLE.read_text(encoding="utf-8") + f"    - name: more\n      says: More.\n      {wrong}\n"
    with pytest.raises(ConfigError, match=message):
        scenarios.read(text)


def test_mistakes_change_what_they_name_and_nothing_else() -> None:
    held = pasting.created("somebody")
    assert held == pasting.created("somebody")
    assert held != pasting.created("another")
    for mistake in ("wrong", "cut", "half", "nothing", "spaces", "invisible", "space_inside", "other_case"):
        form = pasting.pasted(held, {"secret_key": mistake}).form()
        assert form["secret_key"] != held.secret_key
        assert {**form, "secret_key": held.secret_key} == held.form()
    swapped = pasting.pasted(held, {"api_key": "the_secret_key", "secret_key": "the_api_key"})
    assert (swapped.api_key, swapped.secret_key) == (held.secret_key, held.api_key)
    assert len(pasting.pasted(held, {"api_key": "wrong"}).api_key) == len(held.api_key)


def test_a_user_generated_key_can_be_pasted_in_every_form() -> None:
    held = pasting.created("somebody", "rsa-2048")
    assert (held.key_type, held.secret_key) == ("rsa", pasting.pem(pasting.rsa_key(2048)))
    for mistake, mark in (("pkcs1", "RSA PRIVATE"), ("public_key", "PUBLIC"), ("encrypted", "ENCRYPTED PRIVATE")):
        assert f"BEGIN {mark} KEY" in pasting.pasted(held, {"secret_key": mistake}).secret_key
    assert "\n" not in pasting.pasted(held, {"secret_key": "one_line"}).secret_key
    assert pasting.pasted(held, {"secret_key": "another_private_key"}).secret_key != held.secret_key
    line = pasting.pasted(held, {"secret_key": "first_line"}).secret_key
    assert (len(line), line[:3]) == (64, "MII")


def test_a_credential_shows_no_secret_in_its_repr() -> None:
    held = pasting.created("somebody")
    assert held.secret_key not in repr(held)
    assert held.passphrase not in repr(held)


def test_the_page_in_the_documentation_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == handbook.markdown(BOOK), (
        "make it: python -m simulator scenarios --markdown"
    )


def test_the_program_prints_the_page_and_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "--markdown"]) == 0
    assert capsys.readouterr().out == handbook.markdown(BOOK)
    assert main(["scenarios"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(BOOK.table)
