"""What a secret key may be: the forms of an RSA key that are read, and what is refused with which remedy."""

import base64
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import InvalidArgument
from common.secret import Secret
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat, load_der_private_key
from vault.material import HmacSecret, rsa_private_key

PKCS1 = PrivateFormat.TraditionalOpenSSL
Pem = Callable[..., str]


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PKCS1])
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_each_size_is_read_in_both_forms_and_given_on_as_pkcs8(rsa_key: Any, pem: Pem, bits: int, form: Any) -> None:
    material = rsa_private_key(pem(rsa_key(bits), form))
    assert material.transit_type == f"rsa-{bits}"
    assert load_der_private_key(material.content(), None).private_numbers() == rsa_key(bits).private_numbers()
    assert material.content() == base64.b64decode("".join(pem(rsa_key(bits)).splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("1024 bits", "rsa_size"),
        ("elliptic", "pem_not_rsa"),
        ("public", "not_pem"),
        ("encrypted", "not_pem"),
        ("encrypted in the old way", "not_pem"),
        ("two keys", "not_pem"),
        ("words before it", "not_pem"),
        ("labels that differ", "not_pem"),
        ("much too long", "not_pem"),
        ("cut", "pem_damaged"),
        ("a letter changed", "pem_damaged"),
        ("wrong label", "pem_damaged"),
        ("no PEM", "not_pem"),
        ("nothing", "not_pem"),
    ],
)
def test_everything_else_is_refused_by_name_and_never_repeated(rsa_key: Any, pem: Pem, case: str, reason: str) -> None:
    key = rsa_key(2048)
    good = pem(key)
    lines = good.splitlines(keepends=True)
    texts = {
        "1024 bits": lambda: pem(rsa.generate_private_key(65537, 1024)),
        "elliptic": lambda: pem(ec.generate_private_key(ec.SECP256R1())),
        "public": lambda: key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "encrypted": lambda: pem(key, passphrase=b"words"),
        "encrypted in the old way": lambda: pem(key, PKCS1, passphrase=b"words"),
        "two keys": lambda: good + good,
        "words before it": lambda: "my key\n" + good,
        "labels that differ": lambda: good.replace("BEGIN PRIVATE", "BEGIN RSA PRIVATE"),
        "much too long": lambda: "".join([lines[0], *lines[1:-1] * 3, lines[-1]]),
        "cut": lambda: "".join([*lines[:10], lines[-1]]),
        "a letter changed": lambda: "".join([*lines[:9], lines[9][::-1].lstrip() + "\n", *lines[10:]]),
        "wrong label": lambda: good.replace("PRIVATE KEY", "RSA PRIVATE KEY").replace(lines[1], "A" * 64 + "\n"),
        "no PEM": lambda: "canary" * 20,
        "nothing": lambda: "",
    }
    text = texts[case]()
    with pytest.raises(InvalidArgument) as refused:
        rsa_private_key(text)
    assert (refused.value.reason, refused.value.extra) == (reason, {"field": "credential.secret_key"})
    told = refused.value.detail + str(refused.value)
    assert not [line for line in text.split() if len(line) > 12 and line in told]


def test_an_unusual_exponent_is_refused_before_the_server_could_stumble(pem: Pem) -> None:
    assert rsa_private_key(pem(rsa.generate_private_key(3, 2048))).public.public_numbers().e == 3
    key, exponent = rsa.generate_private_key(65537, 2048).private_numbers(), 2**31 + 11
    private = pow(exponent, -1, (key.p - 1) * (key.q - 1))
    parts = (rsa.rsa_crt_dmp1(private, key.p), rsa.rsa_crt_dmq1(private, key.q), rsa.rsa_crt_iqmp(key.p, key.q))
    public = rsa.RSAPublicNumbers(exponent, key.p * key.q)
    odd = rsa.RSAPrivateNumbers(key.p, key.q, private, *parts, public).private_key()
    with pytest.raises(InvalidArgument) as refused:
        rsa_private_key(pem(odd))
    assert refused.value.reason == "rsa_exponent"


def test_no_way_of_printing_shows_a_key(rsa_key: Any, pem: Pem) -> None:
    text = pem(rsa_key(2048))
    shown = f"{rsa_private_key(text)!r}{HmacSecret(Secret('canary' * 8))}"
    assert "canary" not in shown
    assert text.splitlines()[5] not in shown


@pytest.mark.parametrize("signature", ["", "no base64!", "AAAA", "\u00e9"])
def test_a_signature_that_is_none_is_not_the_keys(rsa_key: Any, pem: Pem, signature: str) -> None:
    assert not rsa_private_key(pem(rsa_key(2048))).made(signature, b"message")
    assert not HmacSecret(Secret("s" * 40)).made(signature, b"message")
