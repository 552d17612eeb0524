"""What a bind may ask for, and the id it leads to."""

from collections.abc import Callable
from typing import Any

import pytest
from common.errors import InvalidArgument
from cryptography.hazmat.primitives.serialization import PrivateFormat
from strongroom.types.v1.binding_pb2 import KEY_TYPE_RSA, KEY_TYPE_UNSPECIFIED
from strongroom.vault.v1.binding_store_pb2 import BindRequest
from vault.asked import asked, binding_id

TENANT = "t" * 26
Request = Callable[..., BindRequest]


def refused_field(request: BindRequest) -> str:
    with pytest.raises(InvalidArgument) as refused:
        asked(TENANT, request)
    return str(refused.value.extra["field"])


def test_the_id_depends_on_tenant_and_key_and_on_where_one_ends() -> None:
    assert binding_id(TENANT, "key") == binding_id(TENANT, "key")
    ids = {binding_id(*pair) for pair in [(TENANT, "key"), (TENANT, "key2"), ("u" * 26, "key"), (TENANT + "k", "ey")]}
    assert len(ids) == 4
    assert all(len(one) == 32 and set(one) <= set("0123456789abcdef") for one in ids)


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("api_key", ["k" * 8, "k" * 128], ["k" * 7, "k" * 129, "", "key with space", "key\n12345", "schlüssel"]),
        ("secret_key", ["s" * 32, "s" * 512], ["s" * 31, "s" * 513, "", " " + "s" * 40, "s" * 40 + "\x00"]),
        ("passphrase", ["p", "p" * 64, "!~"], ["", "p" * 65, "pass phrase", "p\r\nX-Header: 1"]),
    ],
)
def test_each_part_of_a_credential_has_its_lengths_and_characters(
    request_of: Request, field: str, good: list[str], bad: list[str]
) -> None:
    for value in good:
        assert asked(TENANT, request_of(**{field: value}))
    for value in bad:
        assert refused_field(request_of(**{field: value})) == f"credential.{field}"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"idempotency_key": ""}, "idempotency_key"),
        ({"idempotency_key": "a b"}, "idempotency_key"),
        ({"idempotency_key": "k" * 256}, "idempotency_key"),
        ({"label": "l" * 65}, "label"),
        ({"label": "two\nlines"}, "label"),
        ({"subject": "s" * 129}, "subject"),
        ({"exchange": 0}, "exchange"),
        ({"scopes": []}, "scopes"),
        ({"scopes": [0]}, "scopes"),
        ({"whitespace_removed": ["anything"]}, "whitespace_removed"),
    ],
)
def test_everything_else_is_checked_and_named(request_of: Request, change: dict[str, Any], field: str) -> None:
    request = request_of("a-key")
    for name, value in change.items():
        if isinstance(value, list):
            request.ClearField(name)
            getattr(request, name).extend(value)
        else:
            setattr(request, name, value)
    assert refused_field(request) == field


def test_a_key_type_must_be_named(request_of: Request) -> None:
    assert refused_field(request_of(key_type=KEY_TYPE_UNSPECIFIED)) == "credential.key_type"


def test_a_pem_is_never_taken_for_an_hmac_secret(request_of: Request, rsa_key: Any, pem: Any) -> None:
    for text in (pem(rsa_key(2048)), "-----BEGIN" + "x" * 40):
        with pytest.raises(InvalidArgument) as refused:
            asked(TENANT, request_of(secret_key=text))
        assert (refused.value.reason, refused.value.extra["field"]) == ("pem_as_hmac", "credential.secret_key")
        assert "key_type rsa" in refused.value.detail


def test_one_rsa_key_in_two_forms_is_the_same_request(request_of: Request, rsa_key: Any, pem: Any) -> None:
    credential = {"api_key": "bg_key_one", "passphrase": "p", "key_type": KEY_TYPE_RSA}
    texts = [pem(rsa_key(2048)), pem(rsa_key(2048), PrivateFormat.TraditionalOpenSSL), pem(rsa_key(3072))]
    one, same, other = (asked(TENANT, request_of("k", **credential, secret_key=text)) for text in texts)
    assert one.request_text() == same.request_text() != other.request_text()


def test_what_was_asked_prints_no_secret_and_digests_differ_with_each_part(request_of: Request) -> None:
    credential = {"api_key": "bg_key_one", "secret_key": "s" * 40, "passphrase": "canary-words"}
    one = asked(TENANT, request_of("k", **credential))
    for value in credential.values():
        assert value not in repr(one)
        assert value.encode() not in one.request_text()
    texts = {one.request_text()}
    for field in credential:
        texts.add(asked(TENANT, request_of("k", **{**credential, field: "x" * 40})).request_text())
    assert len(texts) == 4
    assert asked(TENANT, request_of("another", **credential)).request_text() == one.request_text()


SECRET = "5f4dcc3b5aa765d61d8327deb882cf99aabbccddeeff00112233445566778899"
API_KEY = "bg_" + "0" * 32
DER = "MII" + "A" * 125


@pytest.mark.parametrize(
    ("api_key", "secret_key", "passphrase", "clues", "hint"),
    [
        (API_KEY, SECRET, "Passphrase01", (), "bg_00…0000"),
        (SECRET, API_KEY, "Passphrase01", ("secret_like_api_key",), "…"),
        (API_KEY, "bg_" + "1" * 32, "Passphrase01", (), "bg_00…0000"),
        (API_KEY, DER, "Passphrase01", ("secret_like_private_key",), "bg_00…0000"),
        (API_KEY, DER + "==", "Passphrase01", ("secret_like_private_key",), "bg_00…0000"),
        (API_KEY, DER[:-1], "Passphrase01", (), "bg_00…0000"),
        (API_KEY, "x" + DER, "Passphrase01", (), "bg_00…0000"),
        (API_KEY, DER + "-", "Passphrase01", (), "bg_00…0000"),
        (API_KEY, SECRET, SECRET, ("secret_equals_passphrase",), "bg_00…0000"),
        (SECRET, SECRET, "Passphrase01", ("secret_equals_api_key",), "…"),
        (API_KEY, API_KEY, "Passphrase01", ("secret_equals_api_key",), "bg_00…0000"),
        (SECRET, SECRET, SECRET, ("secret_equals_api_key", "secret_equals_passphrase"), "…"),
        ("Passphrase01", SECRET, API_KEY, (), "…"),
        ("k" * 20, SECRET, API_KEY, (), "kkkkk…kkkk"),
    ],
)
def test_the_shape_of_the_pasted_values_gives_clues_and_the_hint_shows_nothing_of_a_secret(
    request_of: Request, api_key: str, secret_key: str, passphrase: str, clues: tuple[str, ...], hint: str
) -> None:
    made = asked(TENANT, request_of(api_key=api_key, secret_key=secret_key, passphrase=passphrase))
    assert (made.clues(), made.hint()) == (clues, hint)


def test_an_rsa_key_gives_no_clues(request_of: Request, rsa_key: Any, pem: Callable[..., str]) -> None:
    request = request_of(key_type=KEY_TYPE_RSA, secret_key=pem(rsa_key(2048)))
    assert (asked(TENANT, request).clues(), asked(TENANT, request).hint()[:3]) == ((), "bg_")
