"""`strongroom policy explain` says what would happen, by the rules that the vault service has."""

import json
from pathlib import Path

import pytest
from cli.__main__ import app
from typer.testing import CliRunner


def explain(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["policy", "explain", *arguments])
    return ended.exit_code, ended.output


def test_an_allowed_call_is_told_with_what_it_needs() -> None:
    code, told = explain("POST", "/api/v3/trade/place-order", '{"category": "SPOT"}', "--scope", "spot")
    assert (code, told) == (0, "allowed  trade_by_category\nIt needs the scope spot.\n")
    code, told = explain("GET", "/api/v2/spot/account/assets?coin=USDT")
    assert (code, told.split()[:2]) == (0, ["allowed", "read"])


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["POST", "/api/v2/spot/wallet/withdrawal", "{}"], "withdraw"),
        (["POST", "/api/v3/trade/place-order", '{"category": "USDT-FUTURES"}', "--scope", "spot"], "scope_futures"),
        (["GET", "/api/v2/spot/account/assets?coin=a&coin=b"], "query_duplicate"),
        (["get", "/api/v2/spot/account/assets"], "method"),
        (["POST", "/api/v2/spot/trade/place-order?symbol=X"], "query_on_post"),
    ],
)
def test_a_refused_call_is_told_with_its_rule_and_the_reason(arguments: list[str], rule: str) -> None:
    code, told = explain(*arguments, "--json")
    found = json.loads(told)
    assert (code, found["allowed"], found["rule"]) == (1, False, rule)
    assert len(found["why"]) > 20


ID = "a" * 26
RULES = {"denied_calls": ["GET /api/v3/account/info"], "symbols": ["BTCUSDT"], "max_order_notional": "1000"}
RULES |= {"max_daily_notional": "2500"}
FORMS: dict[str, tuple[object, list[str]]] = {
    "rules": (RULES, []),
    "a tenant": ({"id": ID, "name": "Desk", "rules": RULES, "disabled": False}, []),
    "tenants": ([{"id": "b" * 26, "name": "Other"}, {"id": ID, "name": "Desk", "rules": RULES}], ["--tenant", ID]),
}
PLACE, BATCH = "/api/v2/spot/trade/place-order", "/api/v2/spot/trade/batch-orders"


def order(size: str, **other: str) -> dict[str, str]:
    return {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "100", "size": size, **other}


@pytest.mark.parametrize("form", FORMS)
def test_a_tenants_rules_are_read_in_each_form_and_decide_after_the_table(form: str, tmp_path: Path) -> None:
    content, options = FORMS[form]
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(content))
    for arguments, rule, worth in (
        (["GET", "/api/v3/account/info"], "tenant_denied", []),
        (["POST", PLACE, json.dumps(order("10"))], "spot_trade", ["1000"]),
        (["POST", PLACE, json.dumps(order("10.001"))], "tenant_order_notional", ["1000.1"]),
        (["POST", BATCH, json.dumps({"orderList": [order("1"), order("2")]})], "spot_trade", ["100", "200"]),
        (["POST", BATCH, json.dumps({"orderList": [order("9")] * 3})], "tenant_daily_notional", ["900", "900", "900"]),
        (["POST", PLACE, json.dumps(order("1", symbol="ETHUSDT"))], "tenant_symbol", ["100"]),
        (["POST", PLACE, json.dumps(order("1", orderType="market", side="sell"))], "tenant_notional_unknown", None),
        (["POST", "/api/v2/spot/wallet/withdrawal", "{}"], "withdraw", None),
        (["POST", "/api/v2/spot/trade/cancel-order", "{}"], "spot_trade", []),
    ):
        code, told = explain(*arguments, "--tenant-rules", str(file), *options, "--json")
        found = json.loads(told)
        assert (found["rule"], found["worth"], code) == (rule, worth, 0 if found["allowed"] else 1)
        assert found["daily_cap"] == "2500"
        assert found["allowed"] is (rule == "spot_trade")
        assert found["capability"] in ("read", "withdraw", "spot_trade")


def test_a_person_reads_what_an_order_is_worth(tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES))
    code, told = explain("POST", PLACE, json.dumps(order("11")), "--tenant-rules", str(file))
    first, second, third = told.splitlines()
    assert (code, first) == (1, "refused  tenant_order_notional  (spot_trade)")
    assert "cap" in second
    assert third == "Worth in USDT, order by order: 1100. They count towards 2500 a day."


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "Expecting"),
        ("[]", "--tenant"),
        ('{"denied_call": []}', "rules have"),
        ('{"denied_calls": ["GET /api/v3/account/inf"]}', "GET /api/v3/account/info"),
        ('{"max_order_notional": 5}', "max_order_notional"),
    ],
)
def test_a_file_that_says_no_rules_is_told_and_nothing_is_explained(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text)
    code, told = explain("GET", "/api/v3/account/info", "--tenant-rules", str(file))
    assert code == 2
    assert said in " ".join(told.replace("\u2502", " ").split())
    assert explain("GET", "/api/v3/account/info", "--tenant-rules", str(tmp_path / "none"))[0] == 2
