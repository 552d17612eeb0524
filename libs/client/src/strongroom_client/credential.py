"""Own a key of the exchange before it is bound, and how its secret is sealed: encrypted to the key vault's public key,
so that nothing on the way can read it. Nothing here shows a value in its `repr` or in an error.
"""

import base64
import hashlib
import os
from dataclasses import dataclass, field
from typing import Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from strongroom_client.errors import UnusableCredentialError

OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
DER: Final = serialization.Encoding.DER
HMAC_BYTES: Final = range(32, 513)  # what the key vault takes
RSA_BITS: Final = (2048, 3072, 4096)
WRAPPING_BITS: Final = 4096
KeyType = Literal["hmac", "rsa"]


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as its owner holds it; for an RSA key `secret_key` is the private key as PEM."""

    api_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    passphrase: str = field(repr=False)
    key_type: KeyType = "hmac"

    def document(self) -> dict[str, str]:
        """Return it as REST takes it: the secret is uncovered."""
        told = {"api_key": self.api_key, "secret_key": self.secret_key, "passphrase": self.passphrase}
        return {**told, "key_type": self.key_type}

    def sealed(self, wrapping: "SealingKey") -> "SealedCredential":
        """Return it with its secret sealed; raise UnusableCredentialError for what is no secret."""
        made = hmac_secret(self.secret_key) if self.key_type == "hmac" else rsa_secret(self.secret_key.encode())
        return SealedCredential(
            self.api_key, wrapping.seal(made), self.passphrase, wrapping.fingerprint, key_type=self.key_type
        )


@dataclass(frozen=True, slots=True)
class SealedCredential:
    """A key whose secret nobody on the way can read. It serves one binding; keep it to repeat that bind later."""

    api_key: str = field(repr=False)
    wrapped_secret: str = field(repr=False)
    passphrase: str = field(repr=False)
    wrapping_key_fingerprint: str
    key_type: KeyType = "hmac"

    def document(self) -> dict[str, str]:
        """Return it as REST takes it."""
        told = {"api_key": self.api_key, "wrapped_secret": self.wrapped_secret, "passphrase": self.passphrase}
        return {**told, "wrapping_key_fingerprint": self.wrapping_key_fingerprint, "key_type": self.key_type}


class SealingKey:
    """The public key that secrets are sealed to; `fingerprint` is the SHA-256 of its DER in hex."""

    def __init__(self, pem: str) -> None:
        try:
            key = serialization.load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise UnusableCredentialError("The wrapping key is no public key.") from None
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size != WRAPPING_BITS:
            raise UnusableCredentialError(f"The wrapping key is no RSA key of {WRAPPING_BITS} bits.")
        self._key = key
        form = key.public_bytes(DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.fingerprint = hashlib.sha256(form).hexdigest()

    def seal(self, secret: bytes) -> str:
        """Return `secret` as a wrapped_secret; each time another one, which serves one binding."""
        key = os.urandom(32)
        sealed = self._key.encrypt(key, OAEP) + aes_key_wrap_with_padding(key, secret)
        return base64.b64encode(sealed).decode()


def hmac_secret(pasted: str) -> bytes:
    """Return a system-generated secret as it is sealed, without white space around it: nobody can remove it later."""
    text = pasted.strip()
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UnusableCredentialError("The secret key has characters inside that no secret has: copy it again.")
    if len(text) not in HMAC_BYTES:
        raise UnusableCredentialError("The secret key must have 32 to 512 characters: copy it again, completely.")
    return text.encode()


def rsa_secret(pem: bytes) -> bytes:
    """Return an RSA private key, given as PEM, as it is sealed: PKCS#8 in DER."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise UnusableCredentialError(
            "The private key is encrypted: decrypt it first (openssl pkey -in FILE)."
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableCredentialError("The private key is no PEM, or is damaged.") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in RSA_BITS:
        raise UnusableCredentialError("The private key must be an RSA key of 2048, 3072 or 4096 bits.")
    return key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
