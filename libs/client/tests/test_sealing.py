"""What the client library seals is what a real server's Transit engine opens, and signs with."""

import base64
import json
import secrets
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import httpx
import pytest
from cli.openbao import OpenBao
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from strongroom_client import Credential, Unavailable, UnusableCredentialError
from strongroom_client.calls import seal
from strongroom_client.credential import SealingKey, hmac_secret, rsa_secret
from strongroom_client.flow import Pause, Send

SECRET = "5f4dcc3b5aa765d61d8327deb882cf99aabbccddeeff00112233445566778899"
MESSAGE = "1659927638003GET/api/v2/spot/account/info"
# printf %s "$MESSAGE" | openssl dgst -sha256 -mac HMAC -macopt key:"$SECRET" -binary | base64
SIGNATURE = "FMt+L820J9Xbfqh9MAJmsRS+bkp/veVdZ0qi4JhL37Y="


@pytest.fixture(scope="module")
def transit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with OpenBao(tmp_path_factory.mktemp("bao")) as bao:
        headers = {"X-Vault-Token": bao.root_token}
        with httpx.Client(base_url=f"{bao.url}/v1/", headers=headers, trust_env=False, timeout=30) as client:
            assert client.post("sys/mounts/transit", json={"type": "transit"}).is_success
            yield client


@pytest.fixture
def wrapping(transit: httpx.Client) -> SealingKey:
    return SealingKey(transit.get("transit/wrapping_key").json()["data"]["public_key"])


def imported(transit: httpx.Client, kind: str, ciphertext: str) -> str:
    name = secrets.token_hex(8)
    body = {"type": kind, "hash_function": "SHA256", "ciphertext": ciphertext}
    answer = transit.post(f"transit/keys/{name}/import", json=body)
    assert answer.is_success, answer.text
    return name


def test_transit_signs_with_a_sealed_secret_as_openssl_does_with_the_plain_one(
    transit: httpx.Client, wrapping: SealingKey
) -> None:
    name = imported(transit, "hmac", wrapping.seal(hmac_secret(f" {SECRET}\n")))
    asked = {"input": base64.b64encode(MESSAGE.encode()).decode()}
    made = transit.post(f"transit/hmac/{name}/sha2-256", json=asked).json()["data"]["hmac"]
    assert made == f"vault:v1:{SIGNATURE}"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_transit_signs_with_a_sealed_rsa_key(transit: httpx.Client, wrapping: SealingKey, form: PrivateFormat) -> None:
    key = rsa.generate_private_key(65537, 2048)
    sealed = wrapping.seal(rsa_secret(key.private_bytes(Encoding.PEM, form, NoEncryption())))
    name = imported(transit, "rsa-2048", sealed)
    asked = {"input": base64.b64encode(MESSAGE.encode()).decode(), "signature_algorithm": "pkcs1v15"}
    made = transit.post(f"transit/sign/{name}/sha2-256", json=asked).json()["data"]["signature"]
    key.public_key().verify(base64.b64decode(made.split(":")[2]), MESSAGE.encode(), PKCS1v15(), SHA256())


def test_each_sealing_is_another_one(wrapping: SealingKey) -> None:
    assert wrapping.seal(SECRET.encode()) != wrapping.seal(SECRET.encode())


@pytest.mark.parametrize("pasted", ["x" * 31, "x" * 513, "x" * 40 + " x", "x" * 40 + "\u200b", "", "x" * 40 + "\nx"])
def test_what_is_no_secret_is_refused_without_being_repeated(pasted: str) -> None:
    with pytest.raises(UnusableCredentialError) as told:
        hmac_secret(pasted)
    assert "xxx" not in str(told.value)


def test_what_is_no_rsa_key_is_refused_with_a_remedy() -> None:
    key, small = rsa.generate_private_key(65537, 2048), rsa.generate_private_key(65537, 1024)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    other = ec.generate_private_key(ec.SECP256R1())
    wrong = [small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), b"nothing"]
    wrong.append(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    wrong.append(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for pem in wrong:
        with pytest.raises(UnusableCredentialError, match="private key"):
            rsa_secret(pem)
    with pytest.raises(UnusableCredentialError, match="decrypt it first"):
        rsa_secret(locked)


def test_only_an_rsa_key_of_4096_bits_is_a_wrapping_key() -> None:
    small = rsa.generate_private_key(65537, 2048).public_key()
    for pem in ("", "nothing", small.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()):
        with pytest.raises(UnusableCredentialError, match="wrapping key"):
            SealingKey(pem)


@pytest.mark.parametrize("missing", [2, 99])
def test_a_wrapping_key_that_the_gateway_cannot_tell_at_the_moment_is_asked_for_again(
    transit: httpx.Client, missing: int
) -> None:
    pem = transit.get("transit/wrapping_key").json()["data"]["public_key"]
    asked, sealed, flow = 0, "", seal(Credential("bg_" + "0" * 32, SECRET, "passphrase"))
    step: Any = next(flow)
    try:
        while True:
            assert isinstance(step, Send | Pause)
            asked += isinstance(step, Send)
            key = None if asked <= missing else pem
            step = flow.send(told(key) if isinstance(step, Send) else None)
    except StopIteration as end:
        sealed = end.value.wrapping_key_fingerprint
    except Unavailable:
        pass
    assert (asked, sealed) == ((3, SealingKey(pem).fingerprint) if missing == 2 else (4, ""))


def told(public_key: str | None) -> httpx.Response:
    """Return the gateway's guide with this wrapping key."""
    key = {"public_key": public_key, "fingerprint": "", "algorithm": "", "parameters": {}, "steps": []}
    written = json.loads((files("gateway") / "data" / "bitget.json").read_bytes())
    return httpx.Response(200, json={**written, "egress_addresses": [], "wrapping_key": key if public_key else None})
