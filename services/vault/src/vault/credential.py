"""Own the credential document: for each version of a binding's key, its API key and its passphrase.

They are plain text in it, which Vault alone keeps; everywhere else they are covered.
"""

from collections.abc import Mapping
from typing import Any

from common.secret import Secret
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1.binding_pb2 import CredentialInfo

from vault.asked import Asked

Entry = Mapping[str, str]


def entry(asked: Asked) -> dict[str, str]:
    """Return what the document holds of one version."""
    return {"api_key": asked.api_key.reveal(), "passphrase": asked.passphrase.reveal()}


def entries(data: Mapping[str, Any] | None) -> dict[str, Entry]:
    """Return the versions of a document by their numbers; it had only the first, and no number, before rotation."""
    return dict((data or {}).get("versions", {"1": data} if data else {}))


def covered(data: Mapping[str, Any] | None) -> dict[int, tuple[Secret, Secret]]:
    """Return (API key, passphrase) of each version that a document has."""
    return {int(name): (Secret(one["api_key"]), Secret(one["passphrase"])) for name, one in entries(data).items()}


def info_of(asked: Asked, version: int, now: Timestamp) -> CredentialInfo:
    """Return what may be told of a credential."""
    info = CredentialInfo(version=version, api_key_hint=asked.hint(), stored_at=now, clues=asked.clues())
    info.sealed = asked.sealed is not None
    info.key_type = asked.material.key_type  # type: ignore[assignment]  # a checked number of the enum
    return info
