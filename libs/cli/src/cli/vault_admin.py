"""The few administrative calls of Vault and OpenBao that a launcher needs: initialise, unseal, a provisioning token.

Everything else is provisioning's own work, with the token made here. No answer of these calls is ever printed.
"""

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from cli.files import write_private
from cli.processes import LaunchError

PROVISIONING_TTL = "10m"
ACTIVE = httpx.codes.OK
SERVING = (ACTIVE, httpx.codes.TOO_MANY_REQUESTS)  # one that stands by asks the active one
SHAMIR: Mapping[str, int] = {"secret_shares": 1, "secret_threshold": 1}
STATIC_SEAL: Mapping[str, int] = {"recovery_shares": 1, "recovery_threshold": 1}


class VaultAdmin:
    """One server's administration; what initialising told is kept in `init_file` (mode 0600)."""

    def __init__(self, url: str, init_file: Path, ca_file: Path | None = None) -> None:
        verify = ssl.create_default_context(cafile=str(ca_file)) if ca_file else True
        self._http = httpx.Client(base_url=url, timeout=30, trust_env=False, verify=verify)
        self._init_file = init_file
        self._marker = init_file.with_name("initialising")

    def __enter__(self) -> Self:
        """Connections are made when needed."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close connections."""
        self._http.close()

    @property
    def interrupted(self) -> bool:
        """Whether an initialisation began and its answer was never kept: nobody has that server's token."""
        return self._marker.exists() and not self._init_file.exists()

    def forget_interruption(self) -> None:
        """Begin anew; the caller has removed the server's state."""
        self._marker.unlink(missing_ok=True)

    def health(self) -> int | None:
        """Return the status of the health page (200: active), None while nothing answers."""
        try:
            return self._http.get("/v1/sys/health").status_code
        except httpx.TransportError:
            return None

    def initialise(self, shares: Mapping[str, int]) -> None:
        """Initialise an empty server, once; raises LaunchError when it has state whose token is gone."""
        if self._init_file.exists():
            return
        if self._call("GET", "sys/init")["initialized"]:
            raise LaunchError(f"The server has state but {self._init_file} is gone: restore it, or remove the state.")
        self._marker.touch(mode=0o600)
        told = self._call("PUT", "sys/init", body=shares)
        keys = told.get("recovery_keys_base64") or told["keys_base64"]
        write_private(self._init_file, json.dumps({"root_token": told["root_token"], "keys": keys}))
        self._marker.unlink()

    def shares(self) -> Mapping[str, int]:
        """Return what to initialise the server with, by the kind of its seal."""
        return SHAMIR if self._seal()["type"] == "shamir" else STATIC_SEAL

    def unseal(self) -> None:
        """Unseal with the kept key, where the server is sealed and does not unseal itself."""
        seal = self._seal()
        if seal["sealed"] and seal["type"] == "shamir":
            self._call("PUT", "sys/unseal", body={"key": self._kept()["keys"][0]})

    def root_token(self) -> str:
        """Return the root token."""
        return str(self._kept()["root_token"])

    def provisioning_token(self) -> str:
        """Return a fresh administrator's token that lives ten minutes."""
        wanted = {"policies": ["root"], "ttl": PROVISIONING_TTL, "no_parent": True, "renewable": False}
        made = self._call("POST", "auth/token/create", body=wanted, token=self.root_token())
        return str(made["auth"]["client_token"])

    def _seal(self) -> dict[str, Any]:
        return self._call("GET", "sys/seal-status")

    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = json.loads(self._init_file.read_text())
        return kept

    def _call(self, method: str, path: str, body: Any = None, token: str | None = None) -> dict[str, Any]:
        headers = {"X-Vault-Token": token} if token else {}
        answer = self._http.request(method, f"/v1/{path}", json=body, headers=headers)
        if not answer.is_success:
            raise LaunchError(f"The server refused {path} with status {answer.status_code}.")
        read: dict[str, Any] = answer.json() if answer.content else {}
        return read
