"""Sealed binds at the edge: exactly one of two fields, handed on as it came, and a wrapping key for strangers."""

import base64

import pytest
from common import errors

WRAPPED = base64.b64encode(bytes(512 + 72)).decode()


@pytest.fixture
def send(client, body):
    """Bind with changed parts of the credential; None leaves a part out."""

    def post(**changes):
        parts = {**body["credential"], "secret_key": None, **changes}
        credential = {name: value for name, value in parts.items() if value is not None}
        return client.post("/v1/bindings", json={**body, "credential": credential})

    return post


def test_a_wrapped_secret_is_handed_on_as_it_came(send, world):
    answer = send(wrapped_secret=WRAPPED, wrapping_key_fingerprint="f" * 64)
    assert answer.status_code == 202, answer.text
    (asked,) = [one for (_, name), one in world.binds.items() if name == answer.json()["id"]]
    assert (asked.credential.wrapped_secret, asked.credential.secret_key) == (WRAPPED, "")
    assert asked.credential.wrapping_key_fingerprint == "f" * 64
    assert WRAPPED not in answer.text


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({}, "secret_key", "required"),
        ({"wrapped_secret": WRAPPED, "secret_key": "s" * 64}, "secret_key", "secret_twice"),
        ({"wrapped_secret": WRAPPED, "secret_key": ""}, "secret_key", "secret_twice"),
        ({"wrapped_secret": ""}, "wrapped_secret", "not_base64"),
        ({"wrapped_secret": WRAPPED + "\n"}, "wrapped_secret", "not_base64"),
        ({"wrapped_secret": WRAPPED.replace("A", "-")}, "wrapped_secret", "not_base64"),
        ({"wrapped_secret": WRAPPED[:-1]}, "wrapped_secret", "not_base64"),
        ({"wrapped_secret": 7}, "wrapped_secret", "not_a_text"),
        ({"wrapped_secret": "A" * 4100}, "wrapped_secret", "too_long"),
        ({"wrapped_secret": WRAPPED, "wrapping_key_fingerprint": "F" * 64}, "wrapping_key_fingerprint", "malformed"),
        ({"wrapped_secret": WRAPPED, "wrapping_key_fingerprint": 5}, "wrapping_key_fingerprint", "malformed"),
    ],
)
def test_what_is_wrong_about_a_wrapped_secret_is_named(send, changes, field, code):
    answer = send(**changes)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert [(one["field"], one["code"]) for one in answer.json()["errors"]] == [(f"credential.{field}", code)]


def test_a_null_is_no_field_that_was_left_out(client, body):
    body["credential"]["wrapped_secret"] = None
    answer = client.post("/v1/bindings", json=body)
    told = {one["field"]: one["code"] for one in answer.json()["errors"]}
    assert told == {"credential.wrapped_secret": "not_a_text", "credential.secret_key": "secret_twice"}


def test_a_refusal_of_the_vault_service_names_field_and_remedy(send, world, tenant):
    world.trouble[tenant]["bind"] = errors.InvalidArgument(
        "wrapped_secret_used", "Encrypt the secret anew.", field="credential.wrapped_secret"
    )
    answer = send(wrapped_secret=WRAPPED)
    told = {"field": "credential.wrapped_secret", "code": "wrapped_secret_used", "message": "Encrypt the secret anew."}
    assert (answer.status_code, answer.json()["errors"]) == (422, [told])


def test_the_guide_tells_the_wrapping_key_and_how_to_use_it(client):
    told = client.get("/v1/exchanges/bitget").json()["wrapping_key"]
    assert (told["public_key"], told["fingerprint"]) == ("a public key", "f" * 64)
    assert told["algorithm"] == "RSA-OAEP-SHA256+AES256-KWP"
    assert set(told["parameters"]) == {"rsa", "aes", "encoding"}
    assert len(told["steps"]) == 7


@pytest.mark.parametrize("trouble", [errors.Unavailable(), errors.DeadlineExceeded()])
def test_the_guide_is_there_without_the_key_vault(client, world, tenant, trouble):
    world.trouble[tenant]["wrapping_key"] = trouble
    guide = client.get("/v1/exchanges/bitget").json()
    assert (guide["wrapping_key"], len(guide["steps"])) == (None, 8)
