"""A user-generated key from the pasted PEM to the verdict, and what must not pass for one."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.conftest import Driver
from tests.integration.test_canary import assert_absent, files, spellings

PKCS8, PKCS1 = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def pem(key: RSAPrivateKey, form: PrivateFormat = PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@pytest.mark.parametrize("bits", [2048, 4096])
@pytest.mark.parametrize("form", [PKCS8, PKCS1])
def test_an_rsa_key_is_connected_and_its_life_is_that_of_any_key(driver: Driver, bits: int, form: Any) -> None:
    key = generate_private_key(65537, bits)
    credential = driver.account(secret_key=pem(key)) | {"secret_key": pem(key, form), "key_type": "rsa"}
    answer = driver.bind(credential)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["status"], told["credential"]["key_type"]) == ("connected", "rsa"), told
    assert float(told["balances"]["total_usdt"]) > 0
    assert [each for each in told["findings"] if each["severity"] == "error"] == []
    with driver.client(Prefer="wait=10") as http:
        assert http.post(f"/v1/bindings/{told['id']}/verify").json()["status"] == "connected"
        assert http.delete(f"/v1/bindings/{told['id']}").status_code == 204
        assert http.get(f"/v1/bindings/{told['id']}").json()["status"] == "revoked"


def test_a_key_pasted_on_one_line_between_spaces_is_connected_and_the_spaces_reported(
    driver: Driver, key: RSAPrivateKey
) -> None:
    text = "  " + " ".join(pem(key).split("\n")) + "\r\n\r\n"
    told = driver.bind(driver.account(secret_key=pem(key)) | {"secret_key": text, "key_type": "rsa"}).json()
    assert told["status"] == "connected", told
    assert "whitespace_removed" in [each["code"] for each in told["findings"]]


def test_a_wrong_private_key_is_rejected_as_an_invalid_secret(driver: Driver, key: RSAPrivateKey) -> None:
    other = pem(generate_private_key(65537, 2048))
    answer = driver.bind(driver.account(secret_key=pem(key)) | {"secret_key": other, "key_type": "rsa"})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    assert (told["status"], told["reason"], told["stale"]) == ("rejected", "invalid_secret", False)
    finding = next(each for each in told["findings"] if each["severity"] == "error")
    assert finding["evidence"]["exchange_code"] == "40009"
    assert "private key" in finding["remedy"]


def test_an_rsa_key_under_the_wrong_key_type_is_refused_and_nothing_is_bound(
    driver: Driver, key: RSAPrivateKey
) -> None:
    credential = driver.account(secret_key=pem(key))
    for key_type in ({}, {"key_type": "hmac"}):
        answer = driver.bind(credential | key_type)
        (fault,) = answer.json()["errors"]
        assert (answer.status_code, fault["code"]) == (422, "pem_as_hmac")
    assert driver.bind(credential | {"key_type": "rsa"}).json()["status"] == "connected"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [("a small key", "rsa_size"), ("a cut key", "pem_damaged"), ("an elliptic key", "pem_not_rsa")],
)
def test_what_only_the_vault_service_can_see_is_refused_by_field_and_never_repeated(
    driver: Driver, wrong: str, code: str
) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    small, good = pem(generate_private_key(65537, 1024)), pem(generate_private_key(65537, 2048))
    elliptic = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PKCS8, NoEncryption()).decode()
    lines = good.splitlines(keepends=True)
    texts = {
        "a small key": small,
        "a cut key": "".join([*lines[:8], lines[-1]]),
        "an elliptic key": elliptic,
    }
    answer = driver.bind(driver.account() | {"secret_key": texts[wrong], "key_type": "rsa"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request"), answer.text
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["code"]) == ("credential.secret_key", code)
    assert not [line for line in texts[wrong].splitlines()[1:-1] if line in answer.text]


def test_no_line_of_a_private_key_comes_to_rest_anywhere(driver: Driver, key: RSAPrivateKey) -> None:
    own = generate_private_key(65537, 2048)
    answer = driver.bind(driver.account(secret_key=pem(own)) | {"secret_key": pem(own), "key_type": "rsa"})
    assert answer.json()["status"] == "connected"
    needles: set[bytes] = set()
    for line in pem(own).splitlines()[1:-1]:
        needles |= spellings(line) if len(line) == 64 else set()
    assert_absent(needles, {"answer": answer.content, **files(driver)})
