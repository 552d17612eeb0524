"""Who exists on this machine: certificates of the processes, the tenants, their tokens and the administrator's.

Kept under the stack's home, made at the first start; certificates and tokens are issued anew at each start. The file
of the tenants may be written or changed by hand between two starts.
"""

import json
import secrets
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from cli.files import private_folder, write_private
from cli.pki import Authority, Leaf, ensure_login_key
from cli.processes import LaunchError
from cli.tokens import ADMIN_SCOPE, TokenIssuer

TENANT_NAMES = ("acme", "globex")
SERVICE_ACCOUNTS = ("gateway", "vault", "verifier", "worker", "deliverer", "client")
# The administrator is no tenant: nobody registers this id, so its token can bind and read nothing.
OPERATOR = "operator".ljust(26, "0")
ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Tenant:
    """A tenant's id (26 characters of a-z and 0-9), name and access token."""

    id: str
    name: str
    token: str


@dataclass(frozen=True)
class Identities:
    """Everything that proves who somebody is; nothing of it is ever printed."""

    leaves: dict[str, Leaf]
    issuer: TokenIssuer
    login_key_file: Path
    login_public_key_file: Path
    tenants_file: Path
    tenants: list[Tenant]
    admin_token: str

    @classmethod
    def ensure(cls, home: Path, hosts: dict[str, list[str]] | None = None) -> Self:
        """Find or make the identities under `home`; `hosts` adds DNS names to the certificate of a service account."""
        authority = Authority.ensure(home / "pki")
        leaves = {name: authority.issue(name, hosts=(hosts or {}).get(name, [])) for name in SERVICE_ACCOUNTS}
        issuer = TokenIssuer.ensure(home / "issuer")
        private, public = ensure_login_key(home / "login")
        tenants_file = private_folder(home) / "tenants.json"
        known = _tenants(tenants_file)
        tenants = [Tenant(one["id"], one["name"], issuer.issue(one["id"], subject=one["name"])) for one in known]
        admin = issuer.issue(OPERATOR, [ADMIN_SCOPE], subject="administrator")
        return cls(leaves, issuer, private, public, tenants_file, tenants, admin)


def _tenants(file: Path) -> list[dict[str, Any]]:
    """Return the tenants of `file`, made at its first use; one that has no id yet gets it now.

    Whatever else stands there, such as rules, is left for `vault provision` to judge. Raises LaunchError.
    """
    wanted = _read(file) if file.exists() else [{"name": name} for name in TENANT_NAMES]
    known = [{"id": "".join(secrets.choice(ALPHABET) for _ in range(26)), **one} for one in wanted]
    if known != wanted:
        write_private(file, json.dumps(known, indent=2))
    return known


def _read(file: Path) -> list[dict[str, Any]]:
    """Return the tenants that somebody may have edited; raise LaunchError for what is no list of them."""
    try:
        read: Any = json.loads(file.read_text())
    except ValueError:
        raise LaunchError(f"{file} is no JSON.") from None
    named = isinstance(read, list) and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in read)
    if not named or not read or not all(isinstance(one.get("id", ""), str) for one in read):
        raise LaunchError(f'{file} must be a list of tenants: [{{"name": "...", "rules": {{...}}}}, ...].')
    return list(read)
