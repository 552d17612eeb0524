"""Bind the sample key as any client would: over REST, with an idempotency key, and wait for its verdict.

It uses nothing but the client library; the key and the token are never printed.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final, cast

from strongroom_client import Binding, Conflict, Credential, Strongroom, StrongroomError

from cli.processes import LaunchError
from cli.screen import Screen

PATIENCE_S: Final = 30  # for a verdict
REVOCATIONS: Final = 100  # how often the sample can be revoked and bound anew


class SampleClient:
    """One tenant's client for the sample binding."""

    def __init__(self, gateway_url: str, token: str, screen: Screen) -> None:
        self._room = Strongroom(gateway_url, token)
        self._screen = screen

    def connect(self, key: Mapping[str, str]) -> Binding:
        """Bind `key` (or find it bound and have it verified again), show every status, and return the verdict.

        Returns the binding as it is after PATIENCE_S when no verdict arrives; raises LaunchError for a refused call.
        """
        try:
            with self._room:
                return self._connect(key)
        except StrongroomError as error:
            raise LaunchError(str(error)) from None

    def _connect(self, key: Mapping[str, str]) -> Binding:
        binding, again = self._bind(key)
        self._screen.status(key["name"], binding)
        if binding.status == "pending" and not binding.stale and again:
            verdict = self._room.bind(**again, wait=PATIENCE_S)
            if (verdict.status, verdict.stale) == (binding.status, binding.stale):
                return verdict
        else:
            self._screen.line("It was bound before; it is verified again.")
            verdict = self._room.verify(binding.id, wait=PATIENCE_S)
        self._screen.status(key["name"], verdict)
        return verdict

    def _bind(self, key: Mapping[str, str]) -> tuple[Binding, dict[str, Any]]:
        """Bind under a key of its own, after a revocation under the next one; return what a repeat must be, too.

        Not sealed: each start repeats the same bind, and a repeat sends the same ciphertext, which nobody has kept.
        """
        parts: dict[str, Any] = {name: key[name] for name in ("api_key", "secret_key", "passphrase", "key_type")}
        fields = {"label": key["name"], "subject": f"sample-{key['name']}", "plain": True}
        for attempt in range(REVOCATIONS):
            name = hashlib.sha256(f"{key['name']} {key['api_key']} {attempt}".encode()).hexdigest()[:32]
            bind = {"credential": Credential(**parts), **fields, "idempotency_key": f"sample-{name}"}
            try:
                binding = self._room.bind(**cast("dict[str, Any]", bind))
            except Conflict as known:
                if not known.binding_id:
                    raise
                return self._room.get(known.binding_id), {}
            if binding.status != "revoked":
                return binding, bind
        raise LaunchError("The sample was revoked too often: bind a key of your own, or remove the state folder.")
