"""Literal vectors; their sources are named in vectors.json."""

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from simulator.signature import HmacVerifier, RsaVerifier, prehash

IDS = [f"V{number:02}" for number in range(1, 13)]


def _vector(vectors: dict[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] = next(item for item in vectors["vectors"] if item["id"] == name)
    return found


def _message(vector: dict[str, str]) -> bytes:
    wire = (vector["timestamp"], vector["method"], vector["path"], vector["query_wire"], vector["body"])
    return prehash(*(part.encode() for part in wire))


@pytest.mark.parametrize("name", IDS)
def test_what_arrived_on_the_wire_gives_the_published_prehash(vectors: dict[str, Any], name: str) -> None:
    vector = _vector(vectors, name)
    assert _message(vector).decode() == vector["prehash"]


@pytest.mark.parametrize("name", IDS)
def test_the_published_signature_is_accepted_and_any_other_byte_is_not(vectors: dict[str, Any], name: str) -> None:
    vector, verifier = _vector(vectors, name), HmacVerifier(vectors["secret"])
    signature = vector["signature"].encode()
    assert verifier.accepts(_message(vector), signature)
    assert not verifier.accepts(_message(vector) + b" ", signature)
    assert not verifier.accepts(_message(vector), signature.swapcase())


@pytest.mark.parametrize("name", ["V05", "V06", "V07"])
def test_a_signature_over_the_encoded_query_is_refused(vectors: dict[str, Any], name: str) -> None:
    vector, verifier = _vector(vectors, name), HmacVerifier(vectors["secret"])
    assert not verifier.accepts(_message(vector), vector["signature_if_encoded_query_signed"].encode())


def test_the_outside_known_answer_is_accepted(vectors: dict[str, Any]) -> None:
    known = vectors["outside"]
    assert HmacVerifier(known["secret"]).accepts(known["prehash"].encode(), known["signature"].encode())


def test_the_rsa_vector_is_accepted_and_a_changed_message_is_not(vectors: dict[str, Any]) -> None:
    rsa = vectors["rsa"]
    verifier = RsaVerifier(rsa["public_key_pem"])
    assert verifier.accepts(rsa["prehash"].encode(), rsa["signature_base64"].encode())
    assert not verifier.accepts(rsa["prehash"].encode() + b"1", rsa["signature_base64"].encode())


@pytest.mark.parametrize("signature", [b"", b"not base64!", b"AAAA", b"\xff\xfe"])
def test_an_rsa_key_refuses_what_is_no_signature(vectors: dict[str, Any], signature: bytes) -> None:
    assert not RsaVerifier(vectors["rsa"]["public_key_pem"]).accepts(b"message", signature)


def test_a_key_that_is_not_rsa_is_refused() -> None:
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ValueError, match="RSA"):
        RsaVerifier(pem)


def test_a_private_key_is_taken_for_its_public_half() -> None:
    key = generate_private_key(65537, 2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    signature = base64.b64encode(key.sign(b"message", PKCS1v15(), SHA256()))
    assert RsaVerifier(pem).accepts(b"message", signature)
    assert not RsaVerifier(pem).accepts(b"another", signature)


def test_a_query_on_a_post_is_part_of_what_is_signed() -> None:
    assert prehash(b"1", b"POST", b"/p", b"a=b", b"{}") == b"1POST/p?a=b{}"
