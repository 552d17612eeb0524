"""Own the one-click sign-in of the embedded stack: whoever holds the link's key may sign in as one of its identities.

The file is the launcher's, readable by its owner alone. The production profile refuses the setting that names it.
"""

import secrets
from pathlib import Path

from common import strict_json
from common.errors import Unauthenticated


class LocalSignIn:
    """The identities of one machine, read again at each use: the launcher writes them anew at each start."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def names(self, key: str) -> list[str]:
        """Return whom one may sign in as; raise Unauthenticated for another key."""
        return list(self._identities(key))

    def token(self, key: str, name: str) -> str:
        """Return the access token of an identity; raise Unauthenticated for another key or name."""
        token = self._identities(key).get(name)
        if token is None:
            raise Unauthenticated("invalid_token")
        return token

    def _identities(self, key: str) -> dict[str, str]:
        held = strict_json.loads(self._file.read_bytes())
        if not secrets.compare_digest(key.encode(), held["key"].encode()):
            raise Unauthenticated("invalid_token", "This link is not of the stack that runs now: take its newest one.")
        identities: dict[str, str] = held["identities"]
        return identities
