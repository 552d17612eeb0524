"""Own who the caller is: an RFC 9068 access token becomes a Caller, or nothing at all.

Algorithms are fixed, keys come only from the configured set, and every claim that decides anything must be there, once,
in the right type. Never log a token or a part of it.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from common import strict_json
from common.clock import Clock
from common.errors import PermissionDenied, Unauthenticated
from common.ids import TENANT_ID

AUDIENCE: Final = "strongroom"
ALGORITHMS: Final = ["ES256", "RS256"]
TYPES: Final = ("at+jwt", "application/at+jwt")
LEEWAY_S: Final = 30
LIMIT: Final = 8192
# A token's signature is checked once in a while and not for each call: so many are remembered, by their digests alone.
REMEMBERED: Final = 4096
FOREVER: Final = 1 << 40  # larger numbers are no times, and too large ones no floats
SCOPES: Final = frozenset(
    [
        "bindings:read",
        "bindings:write",
        "requests:execute",
        "requests:sign",
        "requests:websocket",
        "audit:read",
        "admin",
    ]
)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: one tenant, the subject of its token, what it may do, and until when (Unix seconds)."""

    tenant: str
    subject: str
    client: str
    scopes: frozenset[str]
    expires_at: int
    issuer: str = ""

    def require(self, scope: str) -> None:
        """Raise PermissionDenied unless the token carries `scope`."""
        if scope not in self.scopes:
            raise PermissionDenied("insufficient_scope", f"The access token lacks the scope {scope}.", scope=scope)


class TokenVerifier:
    """Check access tokens of one issuer against a JWKS file, which is read again when an unknown key id appears."""

    def __init__(self, issuer: str, jwks_file: Path, clock: Clock) -> None:
        self._issuer = issuer
        self._file = jwks_file
        self._clock = clock
        self._loaded_at = 0.0
        self._known: dict[bytes, Caller] = {}
        self._keys = self._load()

    def verify(self, authorization: str | None) -> Caller:
        """Return the caller named by an `Authorization: Bearer …` value; raise Unauthenticated otherwise."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > LIMIT:
            raise Unauthenticated()
        try:
            digest = hashlib.sha256(token.encode()).digest()
            return self._valid(digest) or self._remembered(digest, self._caller(self._claims(token)))
        except (JoseError, ValueError, TypeError, KeyError, RecursionError):
            raise Unauthenticated("invalid_token", "The access token is not valid.") from None

    def known(self, authorization: str) -> Caller | None:
        """Return the caller of a token that was checked before and has not expired, at next to no cost; else None."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or len(token) > LIMIT:
            return None
        return self._valid(hashlib.sha256(token.encode()).digest())

    def _valid(self, digest: bytes) -> Caller | None:
        known = self._known.get(digest)
        return known if known is not None and known.expires_at > self._clock.unix() - LEEWAY_S else None

    def _remembered(self, digest: bytes, caller: Caller) -> Caller:
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[digest] = caller
        return caller

    def _claims(self, token: str) -> dict[str, Any]:
        header = strict_json.loads(_segment(token))
        if not isinstance(header, dict) or header.get("typ") not in TYPES or "crit" in header:
            raise ValueError("not an access token")
        self._refresh(header["kid"])
        signed = jws.deserialize_compact(token, self._keys, algorithms=ALGORITHMS)
        claims = strict_json.loads(signed.payload)
        if not isinstance(claims, dict):
            raise TypeError("claims")
        return claims

    def _caller(self, claims: dict[str, Any]) -> Caller:
        now = self._clock.unix()
        expires, issued, starts = claims["exp"], claims["iat"], claims.get("nbf", 0)
        for moment in (expires, issued, starts):
            if type(moment) is not int or not 0 <= moment < FOREVER:
                raise TypeError("times are whole seconds")
        if expires <= now - LEEWAY_S or issued > now + LEEWAY_S or starts > now + LEEWAY_S or expires <= issued:
            raise ValueError("not now")
        if claims["iss"] != self._issuer or claims["aud"] != AUDIENCE:
            raise ValueError("not for us")
        if "cnf" in claims:  # it proves something only beside a key or certificate, which no service of ours is shown
            raise ValueError("bound to something else")
        words = [_text(claims[name]) for name in ("sub", "client_id", "jti", "tenant", "scope")]
        subject, client, _, tenant, scope = words
        if not TENANT_ID.fullmatch(tenant):
            raise ValueError("tenant")
        return Caller(tenant, subject, client, frozenset(scope.split(" ")) & SCOPES, expires, self._issuer)

    def _refresh(self, kid: object) -> None:
        known = any(key.kid == kid for key in self._keys.keys)
        if not known and self._file.stat().st_mtime != self._loaded_at:
            self._keys = self._load()

    def _load(self) -> KeySet:
        """Read the keys; what was checked with those of before is checked anew."""
        self._loaded_at = self._file.stat().st_mtime
        self._known.clear()
        return KeySet.import_key_set(json.loads(self._file.read_text()))


def _segment(token: str) -> bytes:
    head = token.split(".", 1)[0]
    return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError("a text is required")
    return value
