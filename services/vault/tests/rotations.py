"""What tests of a rotation do: bind and prove a key, replace it, and see which key signs."""

from collections.abc import Callable
from typing import Any

from strongroom.types.v1.binding_pb2 import (
    ENVIRONMENT_LIVE,
    STATUS_CONNECTED,
    Account,
    Binding,
    Verdict,
)
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import StageRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault.actor import Actor
from vault.asked import Asked

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
WORKS = Verdict(status=STATUS_CONNECTED, environment=ENVIRONMENT_LIVE, account=Account(uid="7"))
Wanted = Callable[..., Asked]
Replace = Callable[..., StageRequest]


async def proven(parts: Any, actor: Actor, ask: Asked) -> Binding:
    """Bind a key and record that it works."""
    made, _ = await parts.bindings.bind(actor, ask)
    binding, _ = await parts.bindings.transition(Actor(actor.tenant, "worker"), made.id, made.revision, WORKS)
    return binding


async def rotated(parts: Any, actor: Actor, request: StageRequest) -> Binding:
    """Replace a credential and have it promoted."""
    staged, attempt = await parts.rotations.stage(actor, request)
    worker = Actor(actor.tenant, "worker")
    return await parts.settlements.promote(worker, staged.id, staged.revision, attempt.version, WORKS)


async def api_key_of(parts: Any, actor: Actor, binding: str, version: int = 0) -> tuple[str, int]:
    """Have a request signed and return (the API key in its headers, the version that signed)."""
    request = SignRequest(binding_id=binding, requests=[INFO], credential_version=version)
    answer = await parts.signer.sign(actor, request)
    headers = {header.name: header.value for header in answer.signed[0].headers}
    return headers["ACCESS-KEY"], answer.credential_version
