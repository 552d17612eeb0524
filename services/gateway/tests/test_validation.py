"""What a bind request may not hold; and that no answer ever shows what was sent."""

import copy
import json

import pytest

CANARY = "canary7c1f0e5dcanary7c1f0e5dcanary7c1f0e5d"


def _with(body, **credential):
    return {**body, "credential": {**body["credential"], **credential}}


def _none(body):
    """Return the credential without a secret."""
    return {name: value for name, value in body["credential"].items() if name != "secret_key"}


MALFORMED = {
    "a field is missing": lambda b: {name: value for name, value in b.items() if name != "scopes"},
    "a credential field is missing": lambda b: {**b, "credential": {"api_key": CANARY, "secret_key": CANARY}},
    "the credential is a text": lambda b: {**b, "credential": CANARY},
    "the credential is a list": lambda b: {**b, "credential": [CANARY]},
    "a value is a list": lambda b: _with(b, api_key=[CANARY]),
    "a value is an object": lambda b: _with(b, secret_key={CANARY: CANARY}),
    "a value is null": lambda b: _with(b, passphrase=None),
    "an unknown field": lambda b: {**b, CANARY: CANARY},
    "an unknown credential field": lambda b: _with(b, sealed_secret=CANARY),
    "a wrapped secret that is none": lambda b: {**b, "credential": {**_none(b), "wrapped_secret": CANARY + "!"}},
    "a wrapped secret beside a plain one": lambda b: _with(b, wrapped_secret=CANARY),
    "a fingerprint that is none": lambda b: _with(b, wrapping_key_fingerprint=CANARY),
    "a wrong exchange": lambda b: {**b, "exchange": CANARY},
    "a wrong scope": lambda b: {**b, "scopes": [CANARY]},
    "a wrong key type": lambda b: _with(b, key_type=CANARY),
    "a label that is too long": lambda b: {**b, "label": CANARY * 2},
    "white space inside": lambda b: _with(b, secret_key=f"{CANARY} {CANARY}"),
    "a letter that is not ASCII": lambda b: _with(b, api_key=CANARY + "é"),
    "a secret that is too short": lambda b: _with(b, secret_key=CANARY[:31]),
    "a lone surrogate": lambda b: {**b, "label": CANARY[:8] + "\ud800"},
    "the body is a list": lambda b: [CANARY, b],
    "the body is a text": lambda b: CANARY,
}


@pytest.mark.bar(10)
@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_bind_is_refused_without_an_echo(client, body, fault):
    for name in ("api_key", "secret_key", "passphrase"):
        body["credential"][name] = CANARY
    answer = client.post("/v1/bindings", content=json.dumps(MALFORMED[fault](copy.deepcopy(body))), headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["errors"]
    assert "canary" not in (answer.text + str(answer.headers)).lower()


JSON = {"Content-Type": "application/json"}
BROKEN = {
    "cut": ('{"exchange": "' + CANARY, "malformed_json"),
    "empty": ("", "malformed_json"),
    "a duplicate name": ('{"exchange": "bitget", "exchange": "' + CANARY + '"}', "duplicate_key"),
    "a duplicate name inside": ('{"credential": {"api_key": "1", "api_key": "' + CANARY + '"}}', "duplicate_key"),
    "not a number": ('{"label": NaN, "x": "' + CANARY + '"}', "malformed_json"),
    "bottomless": ("[" * 30_000, "malformed_json"),
    "two values": ('{"a": 1} "' + CANARY + '"', "malformed_json"),
    "not UTF-8": (b'{"label": "\xff' + CANARY.encode() + b'"}', "malformed_json"),
    "another encoding": (('{"label": "' + CANARY + '"}').encode("utf-16"), "malformed_json"),
    "a huge number": ('{"label": 1' + "0" * 5000 + "}", "malformed_json"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_body_that_is_no_json_is_refused_without_an_echo(client, fault):
    content, code = BROKEN[fault]
    answer = client.post("/v1/bindings", content=content, headers=JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert "canary" not in answer.text.lower()


@pytest.mark.parametrize(
    "kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_only_json_is_read(client, body, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/v1/bindings", content=json.dumps(body), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


def _fault(answer):
    assert answer.status_code == 422, answer.text
    (one,) = answer.json()["errors"]
    return one["field"], one["code"]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("api_key", "", "empty"),
        ("passphrase", " \u200b ", "empty"),
        ("secret_key", "x" * 31, "length"),
        ("secret_key", "x" * 513, "length"),
        ("api_key", "x" * 257, "length"),
        ("passphrase", "pass phrase", "whitespace_inside"),
        ("passphrase", "pass\u00a0phrase", "whitespace_inside"),
        ("secret_key", "x" * 32 + "\n" + "x", "whitespace_inside"),
        ("secret_key", "x" * 32 + "ß", "not_ascii"),
        ("api_key", "ｂｇ", "not_ascii"),
        ("api_key", 7, "not_a_text"),
        ("secret_key", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n", "pem_as_hmac"),
        ("key_type", None, "not_a_choice"),
        ("key_type", "ed25519", "not_a_choice"),
    ],
)
def test_each_credential_fault_is_named(client, body, name, value, code):
    body["credential"][name] = value
    assert _fault(client.post("/v1/bindings", json=body)) == (f"credential.{name}", code)


@pytest.mark.parametrize(
    ("name", "value", "where", "code"),
    [
        ("scopes", [], "scopes", "too_few"),
        ("scopes", ["spot", "spot"], "scopes", "not_unique"),
        ("scopes", ["both"], "scopes.0", "not_a_choice"),
        ("scopes", "spot", "scopes", "not_a_list"),
        ("exchange", "okx", "exchange", "not_a_choice"),
        ("label", "x" * 65, "label", "too_long"),
        ("label", "two\nlines", "label", "not_printable"),
        ("subject", "x" * 129, "subject", "too_long"),
        ("subject", "\u202e", "subject", "not_printable"),
        ("label", None, "label", "not_a_text"),
    ],
)
def test_each_other_fault_is_named(client, body, name, value, where, code):
    body[name] = value
    assert _fault(client.post("/v1/bindings", json=body)) == (where, code)


def test_the_longest_and_the_shortest_secret_are_taken(client, body):
    for length in (32, 512):
        body["credential"] |= {"api_key": f"bg_{length}", "secret_key": "x" * length}
        assert client.post("/v1/bindings", json=body).status_code == 202


def test_label_and_subject_may_be_left_out(client, body):
    del body["label"], body["subject"]
    shown = client.post("/v1/bindings", json=body).json()
    assert (shown["label"], shown["subject"]) == ("", "")
