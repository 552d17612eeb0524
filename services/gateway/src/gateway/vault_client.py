"""Own the gateway's way to the vault service: bind, read, change and revoke for the caller, by the caller's own token.

It can not ask for a signature. This is the only file of the gateway that reveals a secret: into what it hands over.
"""

from typing import Final

import grpc
from common.rpc.client import call
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2 as messages
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub

from gateway.resource import number
from gateway.schemas import BindRequest, Credential, RotateRequest, UpdateRequest
from gateway.wrapped import WrappingKey, described

READ_S: Final = 5.0
WRITE_S: Final = 20.0  # a bind makes a handful of Vault writes; Vault may be failing over meanwhile


class VaultClient:
    """Bind, describe, page through, stage, update and revoke; every method raises our error family."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = BindingStoreStub(channel)

    async def bind(self, authorization: str, idempotency_key: str, wanted: BindRequest) -> pb.Binding:
        """Store a credential and return its record; a repeat with the same key returns the same record."""
        request = messages.BindRequest(
            idempotency_key=idempotency_key,
            exchange=number(pb.Exchange, wanted.exchange),
            label=wanted.label,
            subject=wanted.subject,
            scopes=[number(pb.Scope, scope) for scope in wanted.scopes],
            credential=_credential(wanted.credential),
            whitespace_removed=wanted.credential.cleaned,
        )
        answer = await call(self._stub.Bind, request, timeout_s=WRITE_S, authorization=authorization)
        record: pb.Binding = answer.binding
        return record

    async def stage(
        self, authorization: str, binding_id: str, idempotency_key: str, wanted: RotateRequest
    ) -> messages.StageResponse:
        """Store a credential that is to replace a binding's; return the record, its version and how that ended."""
        request = messages.StageRequest(
            binding_id=binding_id,
            idempotency_key=idempotency_key,
            credential=_credential(wanted.credential),
            whitespace_removed=wanted.credential.cleaned,
        )
        answer: messages.StageResponse = await call(
            self._stub.Stage, request, timeout_s=WRITE_S, authorization=authorization
        )
        return answer

    async def update(
        self, authorization: str, binding_id: str, wanted: UpdateRequest, revision: int
    ) -> tuple[pb.Binding, bool]:
        """Change a record and return it, and whether its scopes are others now; raise Aborted on another revision."""
        request = messages.UpdateRequest(
            binding_id=binding_id,
            expected_revision=revision,
            scopes=[number(pb.Scope, scope) for scope in wanted.scopes],
        )
        for name in wanted.model_fields_set & {"label", "subject"}:
            setattr(request, name, getattr(wanted, name) or "")
        answer = await call(self._stub.Update, request, timeout_s=WRITE_S, authorization=authorization)
        return answer.binding, answer.scopes_changed

    async def wrapping_key(self, authorization: str) -> WrappingKey:
        """Return the public key for sealed binds, with how to use it."""
        answer = await call(
            self._stub.WrappingKey, messages.WrappingKeyRequest(), timeout_s=READ_S, authorization=authorization
        )
        return described(answer.public_key, answer.fingerprint)

    async def describe(self, authorization: str, binding_id: str) -> pb.Binding:
        """Return one record; raise NotFound for an id that is not the tenant's."""
        request = messages.DescribeRequest(binding_id=binding_id)
        answer = await call(self._stub.Describe, request, timeout_s=READ_S, authorization=authorization)
        record: pb.Binding = answer.binding
        return record

    async def page(
        self, authorization: str, *, status: str | None, subject: str, after: str, limit: int
    ) -> tuple[list[pb.Binding], str]:
        """Return up to `limit` records after the id `after`, and the next `after` (empty on the last page)."""
        wanted = number(pb.Status, status or "unspecified")
        request = messages.ListRequest(status=wanted, subject=subject, after=after, limit=limit)
        answer = await call(self._stub.List, request, timeout_s=READ_S, authorization=authorization)
        return list(answer.bindings), answer.next_after

    async def revoke(self, authorization: str, binding_id: str) -> None:
        """End a binding; when this returns, nothing can be signed for it any more."""
        request = messages.RevokeRequest(binding_id=binding_id)
        await call(self._stub.Revoke, request, timeout_s=WRITE_S, authorization=authorization)


def _credential(pasted: Credential) -> messages.Credential:
    return messages.Credential(
        api_key=pasted.api_key.value.reveal(),
        secret_key=pasted.secret_key.value.reveal() if pasted.secret_key else "",
        passphrase=pasted.passphrase.value.reveal(),
        key_type=number(pb.KeyType, pasted.key_type),
        wrapped_secret=pasted.wrapped_secret.reveal() if pasted.wrapped_secret else "",
        wrapping_key_fingerprint=pasted.wrapping_key_fingerprint or "",
    )
