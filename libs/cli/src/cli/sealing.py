"""Own the sealing of a secret: encrypted to the key vault's public key, so that nothing on the way can read it.

A stranger can do the same from docs/contract.md; this is the command line's own hand. No message holds a value.
"""

import base64
import hashlib
import os
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding

from cli.processes import LaunchError

OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
DER: Final = serialization.Encoding.DER
HMAC_BYTES: Final = range(32, 513)  # what the key vault takes
RSA_BITS: Final = (2048, 3072, 4096)
WRAPPING_BITS: Final = 4096


class WrappingKey:
    """The public key that secrets are sealed to; `fingerprint` is the SHA-256 of its DER in hex."""

    def __init__(self, pem: str) -> None:
        try:
            key = serialization.load_pem_public_key(pem.encode())
        except (ValueError, UnsupportedAlgorithm):
            raise LaunchError("The wrapping key is no public key.") from None
        if not isinstance(key, rsa.RSAPublicKey) or key.key_size != WRAPPING_BITS:
            raise LaunchError(f"The wrapping key is no RSA key of {WRAPPING_BITS} bits.")
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
        raise LaunchError("The secret key has characters inside that no secret has: copy it again.")
    if len(text) not in HMAC_BYTES:
        raise LaunchError("The secret key must have 32 to 512 characters: copy it again, completely.")
    return text.encode()


def rsa_secret(pem: bytes) -> bytes:
    """Return an RSA private key, given as PEM, as it is sealed: PKCS#8 in DER."""
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except TypeError:
        raise LaunchError("The private key is encrypted: decrypt it first (openssl pkey -in FILE).") from None
    except (ValueError, UnsupportedAlgorithm):
        raise LaunchError("The private key is no PEM, or is damaged.") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size not in RSA_BITS:
        raise LaunchError("The private key must be an RSA key of 2048, 3072 or 4096 bits.")
    return key.private_bytes(DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
