"""Own what a secret key is: an HMAC text or an RSA private key, what Transit is given of it, and how to know its work.

It checks signatures and never makes one with an RSA key. A message names the field and the remedy, never a value.
"""

import base64
import binascii
import hmac
import re
from dataclasses import dataclass, field
from typing import ClassVar, Final

from common.errors import InvalidArgument
from common.secret import Secret
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from strongroom.types.v1.binding_pb2 import KEY_TYPE_HMAC, KEY_TYPE_RSA

from vault.wrapped import SealedSecret

FIELD: Final = "credential.secret_key"
PEM_MARK: Final = "-----BEGIN"
# The one form that the gateway sends: no header, no second block, nothing around it.
PEM: Final = re.compile(r"-----BEGIN ((?:RSA )?PRIVATE KEY)-----\n(?:[A-Za-z0-9+/=]{1,64}\n)+-----END \1-----\n")
PEM_LIMIT: Final = 4096  # 4096 bits take about 3,300 characters; reading a longer key would only take longer
SIZES: Final = (2048, 3072, 4096)  # what Transit takes
EXPONENTS: Final = range(3, 2**31)  # what the server's library takes


@dataclass(frozen=True, slots=True)
class HmacSecret:
    """A system-generated secret: its text as UTF-8 is the key of HMAC-SHA256."""

    text: Secret
    key_type: ClassVar[int] = KEY_TYPE_HMAC
    transit_type: ClassVar[str] = "hmac"

    def content(self) -> bytes:
        """Return the key itself, as Transit imports it."""
        return self.text.reveal().encode()

    def made(self, signature: str, message: bytes) -> bool:
        """Tell whether `signature` (standard base64) of `message` is this key's."""
        expected = base64.b64encode(hmac.digest(self.content(), message, "sha256"))
        return hmac.compare_digest(expected, signature.encode())


@dataclass(frozen=True, slots=True)
class RsaPrivateKey:
    """A user-generated key, which signs by RSASSA-PKCS1-v1_5 with SHA-256; `pkcs8` is its DER in base64."""

    pkcs8: Secret
    public: RSAPublicKey = field(repr=False)
    key_type: ClassVar[int] = KEY_TYPE_RSA

    @property
    def transit_type(self) -> str:
        """Transit's name for this kind of key, which tells the size too."""
        return f"rsa-{self.public.key_size}"

    def content(self) -> bytes:
        """Return the key itself, as Transit imports it: PKCS#8 in DER, the only form it takes."""
        return base64.b64decode(self.pkcs8.reveal())

    def made(self, signature: str, message: bytes) -> bool:
        """Tell whether `signature` (standard base64) of `message` is this key's, by its public half."""
        try:
            self.public.verify(base64.b64decode(signature.encode(), validate=True), message, PKCS1v15(), SHA256())
        except (binascii.Error, InvalidSignature):
            return False
        return True


Material = HmacSecret | RsaPrivateKey | SealedSecret


def rsa_private_key(pem: str) -> RsaPrivateKey:
    """Return the key of an unencrypted PKCS#8 or PKCS#1 PEM; raise InvalidArgument for anything else."""
    if len(pem) > PEM_LIMIT or not PEM.fullmatch(pem):
        raise _wrong("not_pem", "Must be one unencrypted RSA private key in PEM form.")
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except UnsupportedAlgorithm:
        key = None
    except ValueError:
        raise _wrong("pem_damaged", "This private key is damaged or cut: copy it again, completely.") from None
    if not isinstance(key, RSAPrivateKey):
        raise _wrong("pem_not_rsa", "This is not an RSA key: Bitget takes RSA keys of 2048 or 4096 bits.")
    if key.key_size not in SIZES:
        raise _wrong("rsa_size", "An RSA key must have 2048, 3072 or 4096 bits: make a new one.")
    if key.public_key().public_numbers().e not in EXPONENTS:
        raise _wrong("rsa_exponent", "The public exponent of this RSA key is unusual: make a new key with 65537.")
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return RsaPrivateKey(Secret(base64.b64encode(der).decode()), key.public_key())


def _wrong(reason: str, detail: str) -> InvalidArgument:
    return InvalidArgument(reason, detail, field=FIELD)
