"""Own what of an answer is handed on: a few of its headers, and a body of bounded length that repeats no credential.

It changes nothing of what passes; an answer that may not pass ends with Unfit.
"""

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final
from urllib.parse import quote

from strongroom.types.v1.request_pb2 import Header, SignedRequest

LIMIT: Final = 4 << 20
# A shorter answer is looked at as a whole before any of it is handed on; only such ones say something of the key.
WHOLE: Final = 1 << 16
HEADERS: Final = frozenset(
    (
        "content-type",
        "date",
        "retry-after",
        "x-mbx-used-remain-limit",
        "x-bg-request-accept-time",
        "x-bg-response-complete-time",
    )
)
SECRET_HEADERS: Final = frozenset(("access-key", "access-sign", "access-passphrase"))


class Unfit(Exception):
    """An answer that is not handed on: too long, or it repeats a credential."""


def secrets_of(signed: SignedRequest) -> list[str]:
    """Return the values in a signed request that must not come back."""
    return [header.value for header in signed.headers if header.name.lower() in SECRET_HEADERS and header.value]


def headers(told: Iterable[tuple[str, str]], secrets: Sequence[str]) -> list[Header]:
    """Return the headers that are the caller's to know."""
    passing = ((name, value) for name, value in told if name in HEADERS)
    return [Header(name=name, value=value) for name, value in passing if not _repeats(value, secrets)]


async def cleared(content: AsyncIterator[bytes], secrets: Sequence[str]) -> AsyncIterator[bytes]:
    """Yield the content unchanged; raise Unfit before any part of a credential, or more than the limit, is out."""
    needles = {spelling.encode().lower() for secret in secrets for spelling in _spellings(secret)}
    overlap = max(map(len, needles), default=1) - 1
    held, total = b"", 0
    async for chunk in content:
        held, total = held + chunk, total + len(chunk)
        lowered = held.lower()
        if total > LIMIT or any(needle in lowered for needle in needles):
            raise Unfit
        # What could be the beginning of a credential waits for what follows.
        if len(held) > overlap:
            ready = len(held) - overlap
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held


async def beginning(content: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """Return what comes first of a content, and whether that is all of it."""
    first = bytearray()
    async for chunk in content:
        first += chunk
        if len(first) > WHOLE:
            return bytes(first), False
    return bytes(first), True


def check(parsed: Any, secrets: Sequence[str]) -> None:
    """Raise Unfit for JSON that repeats a credential in any spelling."""
    if _repeats(json.dumps(parsed, ensure_ascii=False), secrets):
        raise Unfit


def _repeats(text: str, secrets: Sequence[str]) -> bool:
    lowered = text.lower()
    return any(secret.lower() in lowered for secret in secrets)


def _spellings(secret: str) -> set[str]:
    """Return how a value may be written in text, in JSON and in a URL."""
    escaped = json.dumps(secret)[1:-1]
    return {secret, escaped, escaped.replace("/", "\\/"), quote(secret, safe="")}
