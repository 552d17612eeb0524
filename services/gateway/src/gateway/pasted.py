"""Own what happens to a pasted credential before anything else sees it.

Invisible characters, and white space around the value, come from copying and are removed and reported; white space
inside means that the wrong thing was copied. No message here may hold the value.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from common.secret import Secret
from pydantic import PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway import pem

SECRET_BYTES: Final = range(32, 513)  # what Vault's Transit engine imports as an HMAC key
LIMIT: Final = 256
ABSENT: Final = object()  # stands for a secret key that was not sent
# Characters that show nothing and are not in Unicode's category of formats: fillers, variation selectors.
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}


@dataclass(frozen=True, slots=True)
class Pasted:
    """A cleaned credential value, and whether anything had to be removed from it."""

    value: Secret
    cleaned: bool


def clean(text: str) -> tuple[str, bool]:
    """Return `text` without invisible characters and without white space around it, and whether that changed it."""
    visible = "".join(letter for letter in text if not _invisible(letter))
    stripped = visible.strip()
    return stripped, stripped != text


def _invisible(letter: str) -> bool:
    if letter.isspace():
        return False
    return letter in _BLANKS or unicodedata.category(letter) in ("Cf", "Cc", "Cn", "Co", "Cs")


def _checked(raw: Any, lengths: range) -> Pasted:
    text, cleaned = _cleaned(raw)
    if any(letter.isspace() for letter in text):
        raise PydanticCustomError("whitespace_inside", "white space inside")
    if not text.isascii():
        raise PydanticCustomError("not_ascii", "not ASCII")
    if len(text) not in lengths:
        raise PydanticCustomError("length", "wrong length", {"least": lengths[0], "most": lengths[-1]})
    return Pasted(Secret(text), cleaned)


def _cleaned(raw: Any) -> tuple[str, bool]:
    if not isinstance(raw, str):
        raise PydanticCustomError("string_type", "not a text")
    text, cleaned = clean(raw)
    if not text:
        raise PydanticCustomError("empty", "nothing there")
    return text, cleaned


def _secret_key(raw: Any, info: ValidationInfo) -> Pasted | None:
    """Check the secret key as what its key type says; without a valid one, only that it is a text.

    Exactly one of secret key and wrapped secret is there; a wrapped one that is wrong has been told already.
    """
    wrapped = info.data.get("wrapped_secret", ABSENT)
    if raw is ABSENT:
        if wrapped is None:
            raise PydanticCustomError("secret_missing", "neither")
        return None
    if wrapped is not None:
        raise PydanticCustomError("secret_twice", "both")
    text, cleaned = _cleaned(raw)
    key_type = info.data.get("key_type")
    if key_type is None:
        return Pasted(Secret(text), cleaned)
    if key_type == "rsa":
        # The line end after the last line belongs to a PEM: nobody needs to hear of it.
        return Pasted(Secret(pem.canonical(text)), cleaned and text != _without_line_end(raw))
    if pem.MARK in text:  # it would be taken for an HMAC secret, and every signature would be wrong
        raise PydanticCustomError("pem_as_hmac", "a PEM")
    return _checked(raw, SECRET_BYTES)


def _without_line_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _within(lengths: range) -> Callable[[Any], Pasted]:
    return lambda raw: _checked(raw, lengths)


def _schema(lengths: range, description: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "type": "string",
            "writeOnly": True,
            "minLength": lengths[0],
            "maxLength": lengths[-1],
            "description": description,
        }
    )


_SHORT: Final = range(1, LIMIT + 1)
ApiKey = Annotated[Pasted, PlainValidator(_within(_SHORT)), _schema(_SHORT, "The key's public id.")]
SecretKey = Annotated[
    Pasted | None,
    PlainValidator(_secret_key),
    _schema(
        range(SECRET_BYTES[0], pem.PASTED_LIMIT + 1),
        "For `hmac` the secret that the exchange shows once, 32 to 512 characters; for `rsa` the unencrypted private "
        "key of 2048, 3072 or 4096 bits as PEM (PKCS#8 or PKCS#1). Never shown by us.",
    ),
]
Passphrase = Annotated[
    Pasted, PlainValidator(_within(_SHORT)), _schema(_SHORT, "The one chosen when the key was created.")
]
