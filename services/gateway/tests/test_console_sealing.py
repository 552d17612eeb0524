"""What the page's own cryptography makes, in Chromium: by RFC 5649's vectors, and opened by another implementation."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap_with_padding

from tests.console.chromium import chromium, person

KEK = bytes.fromhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8")  # RFC 5649, section 6
VECTORS = [
    ("c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
    ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
]


@pytest.fixture(scope="module")
def page(serve):
    """A window at the page of a gateway, where its modules can be imported."""
    served = serve(console=True)
    with chromium() as browser, person(browser, served.url) as window:
        window.page.goto(served.url)
        yield window.page


@pytest.fixture(scope="module")
def wrapping():
    return rsa.generate_private_key(public_exponent=65537, key_size=4096)


def _published(key):
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = key.public_key().public_bytes(serialization.Encoding.PEM, form).decode()
    der = key.public_key().public_bytes(serialization.Encoding.DER, form)
    return {"public_key": pem, "fingerprint": hashlib.sha256(der).hexdigest()}


def _prepare(page, wrapping, **values):
    call = "async ([values, key]) => (await import('/console/credential.js')).prepare(values, key)"
    return page.evaluate(call, [values, _published(wrapping)])


def _opened(wrapping, credential):
    sealed = base64.b64decode(credential["wrapped_secret"])
    oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    return aes_key_unwrap_with_padding(wrapping.decrypt(sealed[:512], oaep), sealed[512:])


def test_the_wrap_is_that_of_the_rfc(page):
    encryptor = Cipher(algorithms.AES(KEK), modes.ECB()).encryptor()
    page.expose_function("cipher", lambda block: list(encryptor.update(bytes(block))))
    call = """async (plain) => {
        const { wrap } = await import('/console/kwp.js');
        return [...await wrap(async (block) => Uint8Array.from(await cipher([...block])), Uint8Array.from(plain))];
    }"""
    for plain, wrapped in VECTORS:
        assert bytes(page.evaluate(call, list(bytes.fromhex(plain)))).hex() == wrapped


@pytest.mark.parametrize("length", [32, 33, 63, 64, 512])
def test_a_sealed_secret_is_opened_by_its_owners_key_and_is_the_secret(page, wrapping, length):
    secret = ("0123456789abcdef" * 32)[:length]
    values = {
        "key_type": "hmac",
        "api_key": "bg_1\u200b",
        "secret": f"\ufeff {secret}\r\n",
        "passphrase": "\tPass1234 ",
    }
    made = [_prepare(page, wrapping, **values)["credential"] for _ in range(2)]
    assert {_opened(wrapping, one) for one in made} == {secret.encode()}
    assert made[0]["wrapped_secret"] != made[1]["wrapped_secret"]
    assert (made[0]["api_key"], made[0]["passphrase"]) == ("bg_1", "Pass1234")
    assert made[0].keys() == {"key_type", "api_key", "passphrase", "wrapped_secret", "wrapping_key_fingerprint"}
    assert made[0]["wrapping_key_fingerprint"] == _published(wrapping)["fingerprint"]


@pytest.mark.parametrize("form", [serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize("bits", [2048, 4096])
def test_an_rsa_key_is_sealed_as_pkcs8_whatever_form_was_pasted(page, wrapping, form, bits):
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
    credential = _prepare(page, wrapping, key_type="rsa", api_key="bg_1", secret=pem, passphrase="Pass1234")[
        "credential"
    ]
    opened = serialization.load_der_private_key(_opened(wrapping, credential), None)
    assert opened.private_numbers() == key.private_numbers()


def test_what_is_no_secret_is_told_and_not_sealed(page, wrapping):
    public = _published(wrapping)["public_key"]
    good = {"key_type": "hmac", "api_key": "bg_1", "secret": "s" * 64, "passphrase": "Pass1234"}
    for changes, field in (
        ({"secret": "s" * 31}, "secret"),
        ({"secret": "s" * 32 + " " + "s" * 31}, "secret"),
        ({"secret": "ß" * 64}, "secret"),
        ({"secret": "bg_" + "0" * 32}, "secret"),
        ({"secret": "-----BEGIN PRIVATE KEY-----"}, "secret"),
        ({"api_key": " "}, "api_key"),
        ({"passphrase": "x" * 257}, "passphrase"),
        ({"key_type": "rsa", "secret": public}, "secret"),
        ({"key_type": "rsa", "secret": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"}, "secret"),
    ):
        made = _prepare(page, wrapping, **{**good, **changes})
        assert "credential" not in made, changes
        assert [name for name, fault in made["faults"].items() if fault] == [field], changes


def test_a_wrapping_key_that_is_not_what_it_says_seals_nothing(page, wrapping):
    key = {**_published(wrapping), "fingerprint": "0" * 64}
    call = """async (key) => {
        const { seal, SealingError } = await import('/console/seal.js');
        return seal(new Uint8Array(32), key).then(() => 'sealed', (error) => error instanceof SealingError);
    }"""
    assert page.evaluate(call, key) is True
