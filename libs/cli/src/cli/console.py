"""The sign-in of the console on one machine: a link with a key made anew at each start, and whom it lets in.

Whoever has the key may sign in as a tenant or as the administrator, so it is kept as their tokens are.
"""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cli.files import write_private
from cli.identities import Identities

ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class ConsoleSignIn:
    """The file that the gateway reads, and the key of the link."""

    file: Path
    key: str = field(repr=False)

    @classmethod
    def write(cls, home: Path, identities: Identities) -> Self:
        """Write the file with a fresh key."""
        key = secrets.token_urlsafe(32)
        tokens = {tenant.name: tenant.token for tenant in identities.tenants}
        tokens[ADMINISTRATOR] = identities.admin_token
        return cls(write_private(home / "console.json", json.dumps({"key": key, "identities": tokens})), key)

    def link(self, url: str) -> str:
        """Return the link that opens the console at `url`; what follows the # never leaves the browser by itself."""
        return f"{url}/#local={self.key}"
