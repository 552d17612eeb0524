"""What an audit trail is held against: the public key of its heads, and where Vault was told that the trail is.

Read from Vault with an auditor's token, or from a file that `strongroom audit heads` wrote. Nothing here can sign.
"""

import base64
import binascii
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from common.trail import Position
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from cli.processes import LaunchError

KEY = "transit/keys/strongroom-audit"
HEADS = "strongroom/{part}/heads/{name}"


@dataclass(frozen=True)
class Anchors:
    """Public keys by version (0: of any version), and the kept positions by instance."""

    keys: Mapping[int, Ed25519PublicKey] = field(default_factory=dict)
    kept: Mapping[str, Position] = field(default_factory=dict)

    @classmethod
    def of_vault(cls, url: str, token: str, ca_file: Path | None = None) -> Self:
        """Ask Vault; raise LaunchError when it does not answer or the token may not read."""
        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        headers = {"X-Vault-Token": token}
        with httpx.Client(base_url=url, headers=headers, timeout=30, trust_env=False, verify=verify) as http:
            versions = _read(http, KEY)["keys"]
            names = _read(http, HEADS.format(part="metadata", name="") + "?list=true", missing={"keys": []})["keys"]
            kept = {name: _read(http, HEADS.format(part="data", name=name))["data"] for name in names}
        return cls._of({version: told["public_key"] for version, told in versions.items()}, kept)

    @classmethod
    def of_stack(cls, home: Path) -> Self:
        """Ask the OpenBao of the stack that runs in `home`; raise LaunchError when none does."""
        try:
            url = json.loads((home / "stack.json").read_text())["vault_addr"]
            token = json.loads((home / "openbao" / "init.json").read_text())["root_token"]
        except (OSError, ValueError, KeyError):
            raise LaunchError(f"No embedded stack runs in {home}.") from None
        return cls.of_vault(url, token)

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Read what `document` made, or a public key as PEM; raise LaunchError for anything else."""
        text = path.read_text()
        try:
            if "BEGIN PUBLIC KEY" in text:
                key = load_pem_public_key(text.encode())
                if not isinstance(key, Ed25519PublicKey):
                    raise LaunchError(f"{path} is not the public half of an ed25519 key.")
                return cls({0: key})
            told = json.loads(text)
            return cls._of(told["public_keys"], told["heads"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise LaunchError(
                f"{path} is neither a public key (PEM) nor what `strongroom audit heads` writes."
            ) from None

    @classmethod
    def _of(cls, keys: Mapping[str, str], kept: Mapping[str, Mapping[str, Any]]) -> Self:
        positions = {name: Position(name, int(one["sequence"]), str(one["hash"])) for name, one in kept.items()}
        return cls({int(version): _public(text) for version, text in keys.items()}, positions)

    def document(self) -> str:
        """Return all of it as JSON."""
        keys = {str(version): base64.b64encode(key.public_bytes_raw()).decode() for version, key in self.keys.items()}
        heads = {name: {"sequence": one.sequence, "hash": one.hash} for name, one in self.kept.items()}
        return json.dumps({"public_keys": keys, "heads": heads}, indent=2, sort_keys=True)

    def proves(self, version: int, message: bytes, signature: str) -> bool:
        """Tell whether `signature` (base64) is by the key of that version."""
        key = self.keys.get(version) or self.keys.get(0)
        if key is None:
            return False
        try:
            key.verify(base64.b64decode(signature, validate=True), message)
        except (InvalidSignature, binascii.Error):
            return False
        return True


def _public(text: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))


def _read(http: httpx.Client, path: str, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        answer = http.get(f"/v1/{path}")
    except httpx.TransportError:
        raise LaunchError("Vault cannot be reached.") from None
    if answer.status_code == httpx.codes.NOT_FOUND and missing is not None:
        return missing
    if not answer.is_success:
        raise LaunchError(f"Vault refused {path.partition('?')[0]} with status {answer.status_code}.")
    read: dict[str, Any] = answer.json()["data"]
    return read
