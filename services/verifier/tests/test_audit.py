"""What a key may do and from where: every token of both families, every entry of a list, each told in its own words."""

from itertools import product
from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import ANSWER_NO, ANSWER_UNKNOWN, ANSWER_YES, SCOPE_FUTURES, SCOPE_SPOT, Binding
from verifier import rights, verdict
from verifier.bitget import addresses, permissions
from verifier.bitget.codes import CODES, ExchangeFailure
from verifier.bitget.facts import Facts
from verifier.bitget.models import KeyInfo
from verifier.enrolment import Enrolment

EGRESS = ("203.0.113.10", "203.0.113.11")
BOTH = (SCOPE_SPOT, SCOPE_FUTURES)
TRADING = ("stor", "stow", "coor", "coow", "cpor", "cpow")
# Each classic token that grants something of its own, and what is unneeded about it for a binding of both scopes.
WRITES = {
    "coow": ("", None),
    "cpow": ("", None),
    "stow": ("", None),
    "smow": ("margin_trade", "Spot margin trade (read-write)"),
    "ttow": ("copy_trade", "Copy trading (read-write)"),
    "wtow": ("transfer", None),
    "wwow": ("withdraw", None),
    "chow": ("sub_accounts", "Sub-accounts (read-write)"),
    "p2p": ("", "P2P (read-write)"),
    "p2pw": ("", "P2P (read-write)"),
    "taxw": ("", "Tax (read-write)"),
    "pllw": ("", "Crypto loans (read-write)"),
}
READS = ("coor", "cpor", "stor", "smor", "ttor", "wtor", "chor", "p2pr", "taxr", "pllr")
ANSWERS = ("margin_trade", "copy_trade", "transfer", "withdraw", "sub_accounts")


def classic(*tokens: str, ips: Any = "127.0.0.1") -> Facts:
    info = KeyInfo(uid="1", addresses=addresses.listed(ips), tokens=tokens)
    mode, endpoint = types.ACCOUNT_MODE_CLASSIC, "GET /api/v2/spot/account/info"
    return Facts(types.ENVIRONMENT_LIVE, mode, endpoint, info, permissions.classic(info), {}, None)


def unified(*tokens: str, perm_type: str = "read_and_write", ips: Any = "127.0.0.1") -> Facts:
    info = KeyInfo(uid="1", addresses=addresses.listed(ips), tokens=tokens, perm_type=perm_type)
    mode, endpoint = types.ACCOUNT_MODE_UNIFIED, "GET /api/v3/account/info"
    return Facts(types.ENVIRONMENT_LIVE, mode, endpoint, info, permissions.unified(info), {}, None)


def judged(facts: Facts, scopes: Any = BOTH) -> types.Verdict:
    return verdict.of_facts(Binding(scopes=scopes), facts, Enrolment(), EGRESS, 0.0)


def titles(reached: types.Verdict, code: str) -> list[str]:
    return [finding.title for finding in reached.findings if finding.code == code]


@pytest.mark.parametrize("token", sorted(WRITES))
@pytest.mark.parametrize("spell", [str, str.upper])
def test_every_classic_right_to_write_is_told(token: str, spell: Any) -> None:
    reached = judged(classic(*TRADING, spell(token)))
    answer, unneeded = WRITES[token]
    assert {name: getattr(reached.permissions, name) for name in ANSWERS} == {
        name: ANSWER_YES if name == answer else ANSWER_NO for name in ANSWERS
    }
    expected = [f"The key has a permission that is not needed: {unneeded}"] if unneeded else []
    assert titles(reached, "unneeded_permission") == expected
    assert spell(token) in reached.permissions.tokens
    assert list(reached.permissions.tokens) == sorted(reached.permissions.tokens)
    assert not reached.permissions.unknown_tokens


@pytest.mark.parametrize("token", READS)
def test_reading_more_than_needed_harms_nothing(token: str) -> None:
    reached = judged(classic(*TRADING, token))
    assert not titles(reached, "unneeded_permission")
    assert all(getattr(reached.permissions, name) == ANSWER_NO for name in ANSWERS)


def test_every_token_of_both_tables_is_covered_here() -> None:
    assert set(WRITES) | set(READS) | {"readonly"} == set(permissions.CLASSIC)
    assert set(rights.OPTIONAL) == set(WRITES) - {"wtow", "wwow"}
    assert set(rights.OPTIONAL_UNIFIED) < permissions.UNIFIED


@pytest.mark.parametrize(
    ("scopes", "unneeded"),
    [
        ([SCOPE_SPOT], ["Futures holdings (read-write)", "Futures orders (read-write)"]),
        ([SCOPE_FUTURES], ["Spot trade (read-write)"]),
        (BOTH, []),
    ],
)
def test_the_other_products_rights_are_not_needed(scopes: Any, unneeded: list[str]) -> None:
    reached = judged(classic(*TRADING), scopes)
    assert [title.rpartition(": ")[2] for title in titles(reached, "unneeded_permission")] == unneeded
    assert reached.status == types.STATUS_CONNECTED


@pytest.mark.parametrize("separator", ["_", "-"])
@pytest.mark.parametrize("perm_type", ["read_and_write", "read-and-write", "READ_WRITE"])
def test_a_unified_key_is_told_only_what_can_be_switched_off(separator: str, perm_type: str) -> None:
    tokens = [
        token.replace("_", separator)
        for token in ("uta_mgt", "uta_trade", "copy_futures_order", "copy_futures_position", "withdraw")
    ]
    reached = judged(unified(*tokens, perm_type=perm_type))
    assert [title.rpartition(": ")[2] for title in titles(reached, "unneeded_permission")] == [
        "futures orders",
        "futures positions",
    ]
    assert reached.permissions.copy_trade == reached.permissions.withdraw == ANSWER_YES
    assert f"permType={perm_type}" in reached.permissions.tokens
    assert not titles(judged(unified(*tokens, perm_type="read-only")), "unneeded_permission")


@pytest.mark.parametrize(("orders", "holdings"), list(product((True, False), repeat=2)))
def test_futures_take_orders_and_holdings(orders: bool, holdings: bool) -> None:
    tokens = ["stow", *(["coow"] if orders else ["coor"]), *(["cpow"] if holdings else ["cpor"])]
    reached = judged(classic(*tokens))
    missing = [title.partition(": ")[2] for title in titles(reached, "missing_permission")]
    wanted = [] if orders else ["Futures orders (read-write)"]
    assert missing == wanted + ([] if holdings else ["Futures holdings (read-write)"])
    assert (reached.permissions.futures_trade == ANSWER_YES) is (orders and holdings)
    assert (reached.status == types.STATUS_CONNECTED) is (orders and holdings)


def test_an_unknown_token_makes_every_no_unknown_and_is_kept_as_spelled() -> None:
    for facts in (classic(*TRADING, "New-Right"), unified("uta_trade", "New-Right")):
        reached = judged(facts)
        assert reached.permissions.withdraw == reached.permissions.transfer == ANSWER_UNKNOWN
        assert list(reached.permissions.unknown_tokens) == ["New-Right"]
        assert "New-Right" in reached.permissions.tokens


def test_a_refusal_names_the_right_in_the_exchanges_words() -> None:
    message = "Incorrect permissions, need {future order read} permissions"
    facts = classic(*TRADING)
    refused = {SCOPE_FUTURES: ExchangeFailure(CODES["40014"], "GET /x", "40014", message)}
    facts = Facts(facts.environment, facts.mode, facts.info_endpoint, facts.info, facts.permissions, {}, None, refused)
    finding = next(finding for finding in judged(facts).findings if finding.code == "missing_permission")
    assert "Bitget names what it needs: future order read." in finding.detail


@pytest.mark.parametrize(
    ("ips", "missing", "misused"),
    [
        ("203.0.113.10,203.0.113.11", [], []),
        ("203.0.113.10", ["203.0.113.11"], []),
        ("203.0.113.0/24", [], ["203.0.113.0/24"]),
        ("203.0.113.10/32,203.0.113.11", [], ["203.0.113.10/32"]),
        ("203.0.113.1-203.0.113.10", ["203.0.113.11"], ["203.0.113.1-203.0.113.10"]),
        (["203.0.113.1 - 203.0.113.99"], [], ["203.0.113.1 - 203.0.113.99"]),
        ("0.0.0.0/0", [], ["0.0.0.0/0"]),
        ("2001:db8::1,203.0.113.10,203.0.113.11", [], ["2001:db8::1"]),
        ("2001:db8::/32", list(EGRESS), ["2001:db8::/32"]),
        ("198.51.100.1", list(EGRESS), []),
    ],
)
def test_a_list_is_read_whatever_stands_in_it(ips: Any, missing: list[str], misused: list[str]) -> None:
    reached = judged(unified("uta_trade", ips=ips))
    assert list(reached.ip_whitelist.missing) == missing
    assert [finding.code for finding in reached.findings if "ip" in finding.code.split("_")] == (
        (["egress_ip_missing"] if missing else []) + (["ip_list_misuse"] if misused else [])
    )
    told = " ".join(finding.detail for finding in reached.findings if finding.code == "ip_list_misuse")
    assert all(entry in told for entry in misused)
    named = " ".join(finding.remedy for finding in reached.findings if finding.code == "egress_ip_missing")
    assert all(address in named for address in missing)
    assert reached.status == types.STATUS_CONNECTED


@pytest.mark.parametrize("ips", [None, "", [], ",", " "])
def test_no_list_is_told_as_no_list(ips: Any) -> None:
    reached = judged(unified("uta_trade", ips=ips))
    assert titles(reached, "ip_list_absent")
    assert not reached.ip_whitelist.bound


@pytest.mark.parametrize("ips", [7, {"a": 1}, [7], [{"ip": "203.0.113.10"}]])
def test_a_list_of_an_unknown_shape_is_not_told_as_no_list(ips: Any) -> None:
    reached = judged(unified("uta_trade", "withdraw", ips=ips))
    assert not reached.HasField("ip_whitelist")
    codes = {finding.code for finding in reached.findings}
    assert not codes & {"ip_list_absent", "withdraw_without_ip_list", "egress_ip_missing", "ip_list_misuse"}


@pytest.mark.parametrize(
    "entry", ["nonsense", "*", "203.0.113.010", "203.0.113.9-203.0.113.1", "203.0.113.1-2001:db8::1"]
)
def test_an_entry_that_cannot_be_read_is_named_and_nobody_knows_what_it_lacks(entry: str) -> None:
    reached = judged(unified("uta_trade", ips=f"{entry},203.0.113.10"))
    assert list(reached.ip_whitelist.addresses) == sorted([entry, "203.0.113.10"])
    assert (reached.ip_whitelist.bound, list(reached.ip_whitelist.missing)) == (True, [])
    told = [finding.detail for finding in reached.findings if "ip" in finding.code.split("_")]
    assert len(told) == 1
    assert entry in told[0]


def test_a_list_with_this_very_machine_lacks_nothing() -> None:
    for ips in ("127.0.0.1", "127.0.0.0/8", "::1"):
        assert not judged(unified("uta_trade", ips=ips)).ip_whitelist.missing
    assert judged(unified("uta_trade", ips="0.0.0.0/1")).ip_whitelist.missing == list(EGRESS)


def test_withdrawing_as_the_only_error_is_told_as_a_rule_and_not_as_a_missing_right() -> None:
    facts = unified("uta_trade", "withdraw")
    refused = {0: ExchangeFailure(CODES["40014"], "GET /api/v3/account/assets", "40014")}
    facts = Facts(facts.environment, facts.mode, facts.info_endpoint, facts.info, facts.permissions, {}, None, refused)
    assert judged(facts).reason == types.REASON_POLICY_VIOLATION
