"""The token issuer of one machine: an ES256 key, its JWKS file, and RFC 9068 access tokens for tenants.

For the embedded stack, compose and tests; in production the platform's own identity provider issues.
"""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from cli.files import private_folder, write_private

ISSUER = "https://issuer.strongroom.internal"
AUDIENCE = "strongroom"
TENANT_SCOPES = (
    "bindings:read",
    "bindings:write",
    "requests:execute",
    "requests:sign",
    "requests:websocket",
    "audit:read",
)
ADMIN_SCOPE = "admin"
DAY = 86_400


class TokenIssuer:
    """An issuer kept in one folder as `issuer.key` and `jwks.json`."""

    def __init__(self, folder: Path, key: ECKey, issuer: str) -> None:
        self.jwks_file = folder / "jwks.json"
        self.issuer = issuer
        self._key = key

    @classmethod
    def create(cls, folder: Path, issuer: str = ISSUER) -> Self:
        """Make a new issuer in `folder`, replacing one that was there."""
        folder, key = private_folder(folder), ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"})
        write_private(folder / "issuer.key", key.as_pem(private=True))
        return cls._publish(folder, key, issuer)

    @classmethod
    def ensure(cls, folder: Path, issuer: str = ISSUER) -> Self:
        """Open the issuer of `folder`, made at its first use."""
        if not (folder / "issuer.key").exists():
            return cls.create(folder, issuer)
        key = ECKey.import_key((folder / "issuer.key").read_bytes(), {"use": "sig", "alg": "ES256"})
        return cls._publish(private_folder(folder), key, issuer)

    @classmethod
    def _publish(cls, folder: Path, key: ECKey, issuer: str) -> Self:
        """Give the key its thumbprint as id and write the JWKS file."""
        key.ensure_kid()
        made = cls(folder, key, issuer)
        write_private(made.jwks_file, json.dumps(KeySet([key]).as_dict(private=False)))
        return made

    def issue(
        self,
        tenant: str,
        scopes: Iterable[str] = TENANT_SCOPES,
        subject: str = "local",
        ttl: float = 30 * DAY,
        *,
        claims: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        """Return a token for `tenant` that lives `ttl` seconds; tests replace or (None) remove claims and headers."""
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": AUDIENCE, "sub": subject, "client_id": subject, "iat": now}
        standard |= {"exp": now + int(ttl), "jti": uuid.uuid4().hex, "tenant": tenant, "scope": " ".join(scopes)}
        head = _replaced({"alg": "ES256", "typ": "at+jwt", "kid": self._key.kid}, header)
        return jwt.encode(head, _replaced(standard, claims), self._key)


def _replaced(standard: Mapping[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = {**standard, **(changes or {})}
    return {name: value for name, value in merged.items() if value is not None}
