"""Own how a request's body, headers and query are read: strictly, and never shown again in any answer.

A fault becomes a Problem that names the field with a text of ours; pydantic's own texts may hold input and stay here.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

from common import strict_json
from fastapi import Header, Query
from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from gateway.problems import FieldFault, Problem
from gateway.schemas import Status

M = TypeVar("M", bound=BaseModel)
_JSON: Final = re.compile(r"application/json(\s*;\s*charset=\"?utf-8\"?)?", re.IGNORECASE)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
MERGE_PATCH: Final = re.compile(rf"application/merge-patch\+json|{_JSON.pattern}", re.IGNORECASE)
_ETAG: Final = re.compile(r'\*|"([1-9][0-9]{0,8})"')
_WAIT: Final = re.compile(r"\s*wait\s*=\s*\"?([0-9]{1,9})\"?\s*", re.IGNORECASE)
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{32}")  # a binding id and 8 bytes of the filter's digest
MAX_WAIT_S: Final = 30

# What a fault of each kind is told as; {name} is filled with numbers of ours only.
_MESSAGES: Final = {
    "missing": ("required", "This field is required."),
    "extra_forbidden": ("unknown_field", "There is a field here that is not known."),
    "string_type": ("not_a_text", "This must be a text."),
    "list_type": ("not_a_list", "This must be a list."),
    "model_type": ("not_an_object", "This must be an object."),
    "model_attributes_type": ("not_an_object", "This must be an object."),
    "dict_type": ("not_an_object", "This must be an object."),
    "int_parsing": ("not_a_number", "This must be a whole number."),
    "greater_than_equal": ("out_of_range", "This number is too small."),
    "less_than_equal": ("out_of_range", "This number is too large."),
    "literal_error": ("not_a_choice", "This is none of the values that are known."),
    "string_too_long": ("too_long", "This text is too long."),
    "string_pattern_mismatch": ("malformed", "This text does not have the right form."),
    "string_too_short": ("too_short", "This text is too short."),
    "bool_type": ("not_a_bool", "This must be true or false."),
    "too_short": ("too_few", "There are too few items."),
    "too_long": ("too_many", "There are too many items."),
    "string_unicode": ("not_unicode", "This is not valid Unicode text."),
    "not_printable": ("not_printable", "Only printable characters are allowed."),
    "not_exact": ("not_exact", "Numbers with a fraction must be texts, as the exchange takes them."),
    "not_a_time": ("not_a_time", "This must be a time as in RFC 3339, for example 2026-11-28T09:30:00Z."),
    "not_unique": ("not_unique", "The same value is here twice."),
    "empty": ("empty", "Nothing is left of this value without white space."),
    "whitespace_inside": ("whitespace_inside", "There is white space inside this value: copy it again."),
    "not_ascii": ("not_ascii", "There are characters in this value that no exchange key has: copy it again."),
    "length": ("length", "This value must have {least} to {most} characters: copy it again, completely."),
    "pem_as_hmac": (
        "pem_as_hmac",
        "This is a PEM, and no system-generated secret: for an RSA key choose the key_type rsa.",
    ),
    "secret_missing": ("required", "This field is required; for a sealed bind send wrapped_secret in its place."),
    "secret_twice": ("secret_twice", "Send secret_key or wrapped_secret, not both."),
    "not_base64": ("not_base64", "This must be standard base64 with padding, without line breaks."),
    "not_pem": (
        "not_pem",
        "This is not one private key as PEM: copy it from its BEGIN line to its END line, and nothing else. "
        "For a system-generated secret choose the key_type hmac.",
    ),
    "pem_encrypted": (
        "pem_encrypted",
        "This private key is encrypted: decrypt it (openssl pkey -in FILE) and copy the result.",
    ),
    "pem_public_key": (
        "pem_public_key",
        "This is the public key, which the exchange has: copy the private key that belongs to it.",
    ),
    "pem_certificate": ("pem_certificate", "This is a certificate: copy the private RSA key."),
    "pem_not_rsa": (
        "pem_not_rsa",
        "This is no RSA private key in PKCS#8 or PKCS#1: use an RSA key of 2048, 3072 or 4096 bits.",
    ),
    "pem_damaged": ("pem_damaged", "This private key is damaged or cut: copy it again, completely."),
    "pem_length": ("pem_length", "No RSA key of 2048, 3072 or 4096 bits has this length: copy it again, completely."),
}


async def json_body(request: Request, kinds: re.Pattern[str] = _JSON) -> Any:
    """Return the parsed JSON body; raise Problem for another media type or JSON that could be read in two ways."""
    if not kinds.fullmatch(request.headers.get("content-type", "")):
        raise Problem("unsupported_media_type")
    try:
        return strict_json.loads((await request.body()).decode())
    except ValueError as error:
        duplicate = type(error) is ValueError and error.args == ("duplicate name",)
        raise Problem("duplicate_key" if duplicate else "malformed_json") from None


def body(model: type[M], kinds: re.Pattern[str] = _JSON) -> Callable[[Request], Awaitable[M]]:
    """Return the dependency that validates the body of a request, of one of the media types, as `model`."""

    async def validated(request: Request) -> M:
        try:
            return model.model_validate(await json_body(request, kinds))
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False, include_context=True)
            raise Problem("invalid_request", errors=faults(found)) from None

    return validated


def faults(found: Sequence[Any]) -> list[FieldFault]:
    """Return pydantic's errors in our words. An unknown field is not named: its name is the caller's text."""
    return [_fault(one) for one in found]


def _fault(one: Any) -> FieldFault:
    place = one["loc"][:-1] if one["type"] == "extra_forbidden" else one["loc"]
    code, message = _MESSAGES.get(one["type"], ("invalid", "This is not valid."))
    if code == "length":
        message = message.format(**one["ctx"])
    return FieldFault(field=".".join(str(part) for part in place), code=code, message=message)


def only(*known: str) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency that refuses query parameters other than `known`, or that come twice."""

    async def check(request: Request) -> None:
        names = [name for name, _ in request.query_params.multi_items()]
        if set(names) - set(known) or len(set(names)) != len(names):
            message = f"Known are: {', '.join(known)}; each at most once." if known else "There are none here."
            fault = FieldFault(field="query", code="unknown_or_repeated", message=message)
            raise Problem("invalid_parameter", errors=[fault])

    return check


async def idempotency_key(
    value: Annotated[
        str | None, Header(alias="Idempotency-Key", description="1 to 255 visible ASCII characters; repeats are safe.")
    ] = None,
) -> str:
    """Return the caller's idempotency key, or a fresh one."""
    if value is None:
        return secrets.token_hex(16)
    if not _KEY.fullmatch(value):
        fault = FieldFault(field="Idempotency-Key", code="malformed", message="1 to 255 visible ASCII characters.")
        raise Problem("invalid_parameter", errors=[fault])
    return value


async def if_match(
    value: Annotated[
        str | None, Header(alias="If-Match", description="The binding's `ETag`: change it only if it is still that.")
    ] = None,
) -> int:
    """Return the revision that may be changed, 0 for any; raise Problem for an ETag that can be no binding's."""
    match = _ETAG.fullmatch("*" if value is None else value.strip())
    if match is None:
        raise Problem("precondition_failed")
    return int(match[1] or 0)


async def prefer_wait(
    value: Annotated[
        str | None, Header(alias="Prefer", description="`wait=N`: answer after at most N (1 to 30) seconds.")
    ] = None,
) -> int:
    """Return how many seconds the caller prefers to wait, at most 30; 0 when nothing sensible was asked."""
    for part in (value or "").split(","):
        match = _WAIT.fullmatch(part)
        if match:
            return min(int(match[1]), MAX_WAIT_S)
    return 0


@dataclass(frozen=True)
class Page:
    """Which part of which list is asked for. A cursor is opaque, and bound to the filter it was made for."""

    status: Annotated[Status | None, Query()] = None
    subject: Annotated[str, Query(max_length=128)] = ""
    cursor: Annotated[str | None, Query(max_length=128, description="The last page's `next_cursor`.")] = None
    limit: Annotated[int, Query(ge=1, le=100)] = 50

    def after(self) -> str:
        """Return the id to go on after; raise Problem unless we made the cursor for this filter."""
        if self.cursor is None:
            return ""
        raw = base64.urlsafe_b64decode(self.cursor) if _CURSOR.fullmatch(self.cursor) else b""
        if raw[16:] != self._filter():
            fault = FieldFault(field="cursor", code="malformed", message="This is no cursor of this list and filter.")
            raise Problem("invalid_parameter", errors=[fault])
        return raw[:16].hex()

    def next_cursor(self, following: str) -> str | None:
        """Return the cursor that goes on after the id `following`; None after the last page."""
        if not following:
            return None
        return base64.urlsafe_b64encode(bytes.fromhex(following) + self._filter()).decode()

    def _filter(self) -> bytes:
        return hashlib.sha256(f"{self.status or ''}\n{self.subject}".encode()).digest()[:8]
