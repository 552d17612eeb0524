"""Checks ACCESS-SIGN from the bytes that arrived (docs/bitget.md 1.2-1.4). Never signs anything, and never sees a
client's own idea of the prehash: path, query and body are taken from the wire."""

import base64
import binascii
import hmac
from typing import Protocol
from urllib.parse import unquote_to_bytes

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key


class Verifier(Protocol):
    """Tells whether an ACCESS-SIGN value belongs to a message."""

    def accepts(self, message: bytes, signature: bytes) -> bool: ...


def prehash(timestamp: bytes, method: bytes, path: bytes, query: bytes, body: bytes) -> bytes:
    """Join what is signed; `query` is the raw query string, which Bitget verifies after percent-decoding (a `+`
    stays a `+`)."""
    if query:
        return b"".join((timestamp, method, path, b"?", unquote_to_bytes(query), body))
    return b"".join((timestamp, method, path, body))


class HmacVerifier:
    """A system-generated key: HMAC-SHA256 under the secret's own text, standard base64."""

    __slots__ = ("_key",)

    def __init__(self, secret_key: str) -> None:
        self._key = secret_key.encode()

    def accepts(self, message: bytes, signature: bytes) -> bool:
        expected = base64.b64encode(hmac.digest(self._key, message, "sha256"))
        return hmac.compare_digest(expected, signature)


class RsaVerifier:
    """A user-generated key: RSASSA-PKCS1-v1_5 with SHA-256, standard base64; raises ValueError for another kind of
    key."""

    __slots__ = ("_key",)

    def __init__(self, pem: str) -> None:
        """Take the public key, or the private one, of which only the public half is kept."""
        private = "PRIVATE KEY" in pem
        key = load_pem_private_key(pem.encode(), None).public_key() if private else load_pem_public_key(pem.encode())
        if not isinstance(key, RSAPublicKey) or key.key_size not in (2048, 3072, 4096):
            raise ValueError("an RSA key must have 2048, 3072 or 4096 bits")
        self._key = key

    def accepts(self, message: bytes, signature: bytes) -> bool:
        try:
            raw = base64.b64decode(signature, validate=True)
            self._key.verify(raw, message, PKCS1v15(), SHA256())
        except (binascii.Error, InvalidSignature):
            return False
        return base64.b64encode(raw) == signature
