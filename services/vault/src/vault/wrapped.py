"""Own what a wrapped secret is: a secret key encrypted to Transit's public wrapping key before it came here.

Nothing of ours can open it, and only its length tells what is inside. It is a secret all the same: whoever has it
before it is used could have it imported as his own.
"""

import base64
import re
from dataclasses import dataclass
from typing import Final

from common.errors import InvalidArgument
from common.secret import Secret
from strongroom.types.v1.binding_pb2 import KEY_TYPE_HMAC, KEY_TYPE_RSA

FIELD: Final = "credential.wrapped_secret"
FINGERPRINT_FIELD: Final = "credential.wrapping_key_fingerprint"
FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
LIMIT: Final = 4096  # characters; a key of 4096 bits takes about 3,900
RSA_BLOCK: Final = 512  # the encrypted AES key: the wrapping key has 4096 bits
# How long what is inside may be, in bytes. Transit wants to be told the size of an RSA key and takes no other one. A
# number in a key may be a few bytes shorter than usual; the sizes are far apart.
HMAC: Final = {"hmac": range(32, 513)}
PKCS8: Final = {"rsa-2048": range(1190, 1241), "rsa-3072": range(1765, 1816), "rsa-4096": range(2345, 2396)}
TYPES: Final[dict[int, dict[str, range]]] = {KEY_TYPE_HMAC: HMAC, KEY_TYPE_RSA: PKCS8}
USED: Final = "This ciphertext was used before: encrypt the secret anew and bind with the new one."


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A wrapped secret in standard base64, what Transit calls the key inside, and the wrapping key it names (or "")."""

    ciphertext: Secret
    key_type: int
    transit_type: str
    made_for: str = ""

    def content(self) -> bytes:
        """Return the ciphertext; what is inside, nobody here can."""
        return base64.b64decode(self.ciphertext.reveal())

    def text(self) -> bytes:
        """Return what identifies the ciphertext; only its keyed digest may be stored."""
        return b"wrapped-secret:" + self.content()


def sealed_secret(text: str, key_type: int, made_for: str = "") -> SealedSecret:
    """Return the checked ciphertext of a secret key of `key_type`; raise InvalidArgument for what cannot be one."""
    if made_for and not FINGERPRINT.fullmatch(made_for):
        raise InvalidArgument("malformed", "A fingerprint has 64 hexadecimal digits.", field=FINGERPRINT_FIELD)
    if len(text) > LIMIT:
        raise _wrong_length()
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != text:
        raise InvalidArgument("not_base64", "Must be standard base64 with padding, without line breaks.", field=FIELD)
    for transit_type, inside in TYPES[key_type].items():
        if (len(raw) - RSA_BLOCK) % 8 == 0 and _wrapped(inside[0]) <= len(raw) - RSA_BLOCK <= _wrapped(inside[-1]):
            return SealedSecret(Secret(text), key_type, transit_type, made_for)
    raise _wrong_length()


def _wrapped(size: int) -> int:
    """Return how many bytes AES-KWP (RFC 5649) makes of `size` bytes."""
    return -(-size // 8) * 8 + 8


def _wrong_length() -> InvalidArgument:
    detail = "Neither a secret of 32 to 512 bytes nor an RSA key of 2048, 3072 or 4096 bits (PKCS#8 in DER) has this "
    return InvalidArgument("wrapped_length", detail + "length when wrapped, or key_type is the other one.", field=FIELD)
