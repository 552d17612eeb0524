"""Own what the production profile asks of the server itself: how it is sealed, where it stores, whose token is used.

Reads only; what it finds is named in one line, and the caller does not start.
"""

from collections.abc import Mapping
from typing import Any, Final

import hvac
import requests
from hvac.exceptions import VaultError

from vault.hashicorp.login import Connection, admin_client
from vault.store import unavailable

MEMORY: Final = "inmem"
ROOT: Final = "root"


def unsafe(connection: Connection) -> list[str]:
    """Return what makes the server unfit for production; raise Unavailable while it does not tell."""
    client = admin_client(connection)
    try:
        return faults(client.sys.read_seal_status())
    except (VaultError, requests.RequestException, ValueError):
        raise unavailable() from None
    finally:
        client.adapter.close()


def faults(status: Mapping[str, Any]) -> list[str]:
    """Return what is wrong in a seal status: storage that a restart empties, a seal that one person or file opens."""
    found = []
    if str(status.get("storage_type", "")).startswith(MEMORY):
        found.append("Vault's storage is in memory (a dev server)")
    if status.get("type") == "shamir" and status.get("t") == 1:
        found.append("Vault's seal is opened by one key share: use several, or a KMS")
    if status.get("type") == "static":
        found.append("Vault's seal is static: its key lies beside the server; use a KMS or several key shares")
    return found


def is_root(client: hvac.Client) -> bool:
    """Tell whether the client's own token is a root token."""
    return ROOT in client.auth.token.lookup_self()["data"]["policies"]
