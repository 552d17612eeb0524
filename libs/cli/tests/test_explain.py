"""`strongroom policy explain` says what would happen, by the rules that the vault service has."""

import json

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
