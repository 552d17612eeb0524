"""The table of codes: complete, unambiguous, and told in words a customer can follow."""

import re
from pathlib import Path

import pytest
from strongroom.types.v1 import binding_pb2 as types
from verifier import findings
from verifier.bitget.codes import BECAUSE, CODES, DEFINITE, ExchangeFailure, Group, Retry, meaning, named_right
from verifier.bitget.reply import relayable

PAGE = Path(__file__).parents[3] / "docs/bitget.md"
# How many codes the sources name (docs/bitget.md 3.2); a smaller figure means that the page could not be read.
KNOWN = 98


def _documented() -> set[str]:
    """The codes of the first column of the table in section 3.2."""
    section = PAGE.read_text(encoding="utf-8").split("### 3.2 Codes")[1].split("## 4 Limits")[0]
    rows = re.findall(r"^\| ([0-9, ]+) \|", section, re.MULTILINE)
    return set(re.findall(r"[0-9]+", " ".join(rows)))


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


def test_the_page_and_the_table_name_the_same_codes() -> None:
    assert len(_documented()) >= KNOWN
    assert _documented() == set(CODES)


@pytest.mark.parametrize(("code", "group", "finding"), MISTAKES)
def test_a_code_means_one_thing(code: str, group: Group, finding: str) -> None:
    assert CODES[code].group is group
    assert CODES[code].words.code == finding


def test_only_definite_answers_carry_a_reason() -> None:
    for code, rule in CODES.items():
        assert (rule.group in DEFINITE) == (rule.reason != types.REASON_UNSPECIFIED), code


RETRIES = {
    Group.CREDENTIAL: {Retry.CONFIRM, Retry.SETTLED},
    Group.SETTING: {Retry.SETTLED},
    Group.ACCOUNT: {Retry.SETTLED},
    Group.PERMISSION: {Retry.SETTLED},
    Group.ENVIRONMENT: {Retry.SWITCH},
    Group.REPROBE: {Retry.SWITCH},
    Group.CLOCK: {Retry.MEASURE},
    Group.THROTTLED: {Retry.SECOND},
    Group.TRANSIENT: {Retry.SOON},
    Group.OURS: {Retry.LATER},
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_a_code_is_worth_another_try_as_its_group_is(code: str) -> None:
    assert CODES[code].retry in RETRIES[CODES[code].group]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("40199", "lead trader"),
        ("40731", "copy trading"),
        ("40042", "institutional loan"),
        ("40016", "authenticator"),
        ("40048", "main account"),
        ("40301", "API"),
        ("40031", "closed"),
        ("40035", "identity verification"),
        ("22010", "IP addresses"),
    ],
)
def test_a_state_of_the_account_is_told_in_its_own_words(code: str, words: str) -> None:
    finding = ExchangeFailure(CODES[code], "GET /x", code).finding()
    assert words.lower() in f"{finding.title} {finding.detail}".lower()
    assert finding.remedy


def _secret(*clues: str) -> str:
    finding = ExchangeFailure(CODES["40009"], "GET /x", "40009").finding(clues=clues)
    assert finding.code == "invalid_secret"
    return finding.detail + finding.remedy


@pytest.mark.parametrize(
    ("clue", "words"),
    [
        ("secret_like_api_key", "looks like an API key"),
        ("secret_equals_api_key", "same text"),
        ("secret_equals_passphrase", "passphrase was pasted"),
        ("secret_like_private_key", "BEGIN and END lines"),
        ("rsa_key", "public key"),
        ("worked_before", "worked before"),
    ],
)
def test_a_refused_signature_is_explained_by_what_was_pasted(clue: str, words: str) -> None:
    assert words in _secret(clue)
    assert words not in _secret()


def test_the_strongest_clue_explains() -> None:
    assert "looks like an API key" in _secret("worked_before", "secret_like_api_key")
    assert "worked before" in _secret("worked_before")


def test_a_key_that_is_not_known_and_looks_swapped_is_told_so() -> None:
    finding = ExchangeFailure(CODES["40037"], "GET /x", "40037").finding(clues=("secret_like_api_key",))
    assert "swapped" in finding.detail


def test_every_explanation_belongs_to_a_finding_that_some_code_gives() -> None:
    given = {rule.words.code for rule in CODES.values()}
    assert {row.finding for row in BECAUSE} <= given


def test_an_address_that_we_have_not_published_is_ours_to_fix() -> None:
    failure = ExchangeFailure(CODES["40018"], "GET /x", "40018", "", "198.51.100.7")
    ours, unknown = failure.finding(("203.0.113.10",)), failure.finding(())
    assert failure.unpublished(("203.0.113.10",))
    assert ours.actor == types.ACTOR_OPERATOR
    assert "198.51.100.7" in ours.detail
    assert "203.0.113.10" in ours.detail
    assert unknown.actor == types.ACTOR_CUSTOMER  # nothing is published, so nothing can be said about it
    published = ExchangeFailure(CODES["40018"], "GET /x", "40018", "", "203.0.113.10").finding(("203.0.113.10",))
    assert published.actor == types.ACTOR_CUSTOMER


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("Incorrect permissions, need {spot order read} permissions", "spot order read"),
        (
            "Incorrect permissions, need uta manage read or uta manage write permissions",
            "uta manage read or uta manage write",
        ),
        ("need transfer write permission", "transfer write"),
        ("Incorrect permissions", ""),
        ("", ""),
    ],
)
def test_a_refusal_names_the_right_it_wants(message: str, right: str) -> None:
    assert named_right(message) == right
    detail = ExchangeFailure(CODES["40014"], "GET /x", "40014", message).finding().detail
    assert (right in detail) if right else detail.endswith("permission.")


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
    finding = failure.finding(("203.0.113.10",), ("rsa_key",))
    assert all((finding.title, finding.detail, finding.remedy))
    assert not re.search(r"[{}]", finding.title + finding.detail + finding.remedy)
    assert finding.evidence.exchange_code == code


def test_the_ip_finding_names_the_address_seen_and_those_to_add() -> None:
    finding = ExchangeFailure(CODES["40018"], "GET /x", "40018", "", "203.0.113.10").finding(("203.0.113.10",))
    assert "203.0.113.10" in finding.detail
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
