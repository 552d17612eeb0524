"""Bind the sample key as any client would: over REST, with an idempotency key, following the event stream.

It uses nothing but the public contract; the key and the token are never printed.
"""

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from cli.processes import LaunchError
from cli.rest import problem
from cli.screen import Screen

PATIENCE = 30.0  # seconds for a verdict
REVOCATIONS = 100  # how often the sample can be revoked and bound anew
Binding = dict[str, Any]


class SampleClient:
    """One tenant's REST client for the sample binding."""

    def __init__(self, gateway_url: str, token: str, screen: Screen) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._http = httpx.Client(base_url=gateway_url, headers=headers, timeout=PATIENCE + 5, trust_env=False)
        self._screen = screen

    def connect(self, key: Mapping[str, str]) -> Binding:
        """Bind `key` (or find it bound and have it verified again), show every status, and return the verdict.

        Returns the binding as it is after PATIENCE when no verdict arrives; raises LaunchError for a refused call.
        """
        try:
            with self._http:
                return self._connect(key)
        except httpx.TransportError as error:
            raise LaunchError(f"The gateway did not answer ({type(error).__name__}).") from None

    def _connect(self, key: Mapping[str, str]) -> Binding:
        binding = self._bind(key)
        self._screen.status(key["name"], binding)
        if binding["status"] == "pending" and not binding["stale"]:
            return self._follow(key["name"], binding)
        self._screen.line("It was bound before; it is verified again.")
        wait = {"Prefer": f"wait={PATIENCE:.0f}"}
        binding = self._call("POST", f"/v1/bindings/{binding['id']}/verify", headers=wait)
        self._screen.status(key["name"], binding)
        return binding

    def _bind(self, key: Mapping[str, str]) -> Binding:
        """Bind under a key of its own; after a revocation under the next one."""
        credential = {name: key[name] for name in ("api_key", "secret_key", "passphrase", "key_type")}
        body = {
            "exchange": "bitget",
            "label": key["name"],
            "subject": f"sample-{key['name']}",
            "scopes": ["spot", "futures"],
            "credential": credential,
        }
        for attempt in range(REVOCATIONS):
            name = hashlib.sha256(f"{key['name']} {key['api_key']} {attempt}".encode()).hexdigest()[:32]
            binding = self._call("POST", "/v1/bindings", json=body, headers={"Idempotency-Key": f"sample-{name}"})
            if binding["status"] != "revoked":
                return binding
        raise LaunchError("The sample was revoked too often: bind a key of your own, or remove the state folder.")

    def _follow(self, name: str, binding: Binding) -> Binding:
        """Show each status until the verdict is in."""
        for state in self._states(binding["id"], time.monotonic() + PATIENCE):
            if (state["status"], state["stale"]) != (binding["status"], binding["stale"]):
                self._screen.status(name, state)
            binding = state
            if binding["status"] != "pending":
                break
        return binding

    def _states(self, binding_id: str, deadline: float) -> Iterator[Binding]:
        """Yield the binding now, and again at each event or heartbeat until `deadline` (monotonic seconds)."""
        path = f"/v1/bindings/{binding_id}/events"
        with self._http.stream("GET", path, headers={"Accept": "text/event-stream"}) as stream:
            if not stream.is_success:
                stream.read()
                raise LaunchError(problem("GET", path, stream))
            yield self._read(binding_id)
            for line in stream.iter_lines():
                if line.startswith(("data:", ":")):
                    yield self._read(binding_id)
                if time.monotonic() > deadline:
                    return

    def _read(self, binding_id: str) -> Binding:
        return self._call("GET", f"/v1/bindings/{binding_id}")

    def _call(self, method: str, path: str, **options: Any) -> Binding:
        """Make one call; for a key that is bound already, read the binding that the 409 names."""
        answer = self._http.request(method, path, **options)
        if answer.status_code == httpx.codes.CONFLICT and "binding_id" in answer.json():
            return self._read(answer.json()["binding_id"])
        if not answer.is_success:
            raise LaunchError(problem(method, path, answer))
        body: Binding = answer.json() if answer.content else {}
        return body
