"""The table of codes: complete, unambiguous, and told in words a customer can follow."""

import re

import pytest
from strongroom.types.v1 import binding_pb2 as types
from verifier import findings
from verifier.bitget.codes import CODES, DEFINITE, ExchangeFailure, Group, meaning
from verifier.bitget.reply import relayable

DOCUMENTED = (
    "40001 40002 40003 40011 40004 40005 40008 40006 40007 40009 40010 40012 40036 40013 40026 25006 25007 40014 "
    "40025 25620 40040 40015 40725 45001 40808 40200 40016 40017 40019 40020 40034 400172 43111 40018 40038 22010 "
    "40021 40052 13001 13003 11000 47003 70217 40022 40023 40301 40024 40031 40027 40035 40101 40111 40100 40000 "
    "40103 40104 40029 40051 40037 40041 40065 40042 40048 40061 40068 40063 40070 40081 40105 40110 22030 40084 "
    "40085 25245 40086 40099 40199 429 25004 1001 30001 30002 30003 30004 30005 30006 30007 30008 30009 30010 30011 "
    "30012 30013 30014 30015 30016 30032 40404 "
)

MISTAKES = [
    ("40037", Group.CREDENTIAL, "invalid_api_key"),
    ("40006", Group.CREDENTIAL, "invalid_api_key"),
    ("40009", Group.CREDENTIAL, "invalid_secret"),
    ("40012", Group.CREDENTIAL, "invalid_passphrase"),
    ("40036", Group.CREDENTIAL, "invalid_passphrase"),
    ("40018", Group.SETTING, "ip_not_whitelisted"),
    ("40038", Group.SETTING, "ip_not_whitelisted"),
    ("40014", Group.PERMISSION, "permission_denied"),
    ("40099", Group.ENVIRONMENT, "environment_mismatch"),
    ("40013", Group.ACCOUNT, "account_restricted"),
    ("40035", Group.SETTING, "kyc_required"),
    ("40103", Group.ACCOUNT, "region_blocked"),
    ("40008", Group.CLOCK, "clock_skew"),
    ("40084", Group.REPROBE, "exchange_unavailable"),
    ("429", Group.THROTTLED, "exchange_unavailable"),
    ("40725", Group.TRANSIENT, "exchange_unavailable"),
    ("40017", Group.OURS, "exchange_unavailable"),
]


def test_every_documented_code_has_a_meaning() -> None:
    assert set(DOCUMENTED.split()) - CODES.keys() == set()


@pytest.mark.parametrize(("code", "group", "finding"), MISTAKES)
def test_a_code_means_one_thing(code: str, group: Group, finding: str) -> None:
    assert CODES[code].group is group
    assert CODES[code].words.code == finding


def test_only_definite_answers_carry_a_reason() -> None:
    for code, rule in CODES.items():
        assert (rule.group in DEFINITE) == (rule.reason != types.REASON_UNSPECIFIED), code


def test_our_own_mistakes_are_never_the_customers() -> None:
    for rule in CODES.values():
        if rule.group in (Group.OURS, Group.CLOCK):
            assert rule.words.actor == "operator"


def test_every_reason_has_a_finding_of_its_name() -> None:
    for name in types.Reason.keys()[1:]:
        assert name.removeprefix("REASON_").lower() in findings.TEMPLATES


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_can_be_told(code: str) -> None:
    failure = ExchangeFailure(CODES[code], "GET /x", code, "said", "198.51.100.7")
    finding = failure.finding(("203.0.113.10",))
    assert all((finding.title, finding.detail, finding.remedy))
    assert not re.search(r"[{}]", finding.title + finding.detail + finding.remedy)
    assert finding.evidence.exchange_code == code


def test_the_ip_finding_names_the_address_seen_and_those_to_add() -> None:
    finding = ExchangeFailure(CODES["40018"], "GET /x", "40018", "", "198.51.100.7").finding(("203.0.113.10",))
    assert "198.51.100.7" in finding.detail
    assert "203.0.113.10" in finding.remedy


def test_an_unknown_code_is_not_guessed_and_a_5xx_is_the_exchanges_trouble() -> None:
    assert meaning("49999", 400).group is Group.UNKNOWN
    assert meaning("49999", 200).group is Group.UNKNOWN
    assert meaning("49999", 503).group is Group.TRANSIENT
    assert meaning("40037", 503).group is Group.CREDENTIAL


SENT = ["bg_1234567890", "Passphrase01", "c2lnbmF0dXJl=", "1700000000000"]


@pytest.mark.parametrize("secret", SENT)
def test_a_message_that_repeats_what_was_sent_is_not_relayed(secret: str) -> None:
    assert relayable(f"rejected: {secret}", SENT) == ""
    assert relayable(f"rejected: {secret.upper()}", SENT) == ""


def test_only_short_printable_texts_are_relayed() -> None:
    assert relayable("Apikey does not exist", SENT) == "Apikey does not exist"
    assert relayable("x" * 201, SENT) == ""
    assert relayable("two\nlines", SENT) == ""
    assert relayable({"a": 1}, SENT) == ""
    assert relayable(None, SENT) == ""
