"""Own how a sealed bind looks at the edge: the field of the wrapped secret, and how to make one, in words.

Nothing here can open a wrapped secret. It is handled as a secret all the same, and no message may hold the value.
"""

import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final

from common import strict_json
from common.secret import Secret
from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

LIMIT: Final = 4096  # characters; a key of 4096 bits takes about 3,900
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
MADE_FOR: Final = "Of the key that wrapped_secret was made for: a refusal can then say that it was another one."
MADE: Final = "The secret key, encrypted to the `wrapping_key` of `GET /v1/exchanges/bitget`, in standard base64."


def _wrapped(raw: Any) -> Secret:
    """Check the form; what the lengths say, the vault service decides."""
    if not isinstance(raw, str):
        raise PydanticCustomError("string_type", "not a text")
    if len(raw) > LIMIT:
        raise PydanticCustomError("string_too_long", "too long")
    if len(raw) % 4 or not _BASE64.fullmatch(raw):
        raise PydanticCustomError("not_base64", "no base64")
    return Secret(raw)


def _fingerprint(raw: Any) -> str:
    if not isinstance(raw, str) or not _FINGERPRINT.fullmatch(raw):
        raise PydanticCustomError("string_pattern_mismatch", "no fingerprint")
    return raw


def _absent() -> None:
    """Return what stands for a field that was not sent; as a factory, so that nobody may send it."""


WrappedSecret = Annotated[
    Secret | None,
    PlainValidator(_wrapped),
    WithJsonSchema({"type": "string", "writeOnly": True, "maxLength": LIMIT, "description": MADE}),
    Field(default_factory=_absent),
]
Fingerprint = Annotated[
    str | None,
    PlainValidator(_fingerprint),
    WithJsonSchema({"type": "string", "pattern": f"^{_FINGERPRINT.pattern}$", "description": MADE_FOR}),
    Field(default_factory=_absent),
]


class WrappingKey(BaseModel):
    """The public key that secrets are encrypted to, so that nobody but the key vault can open them, and how."""

    public_key: str = Field(description="PEM (SubjectPublicKeyInfo) of an RSA key of 4096 bits.")
    fingerprint: str = Field(description="SHA-256 of its DER in hexadecimal digits.")
    algorithm: str
    parameters: dict[str, str]
    steps: list[str] = Field(description="How to make a wrapped_secret, for whoever writes it anew.")


@cache
def _how() -> dict[str, Any]:
    written: dict[str, Any] = strict_json.loads((files("gateway") / "data" / "wrapping.json").read_bytes())
    return written


def described(public_key: str, fingerprint: str) -> WrappingKey:
    """Return the wrapping key with what there is to know for using it."""
    return WrappingKey(public_key=public_key, fingerprint=fingerprint, **_how())
