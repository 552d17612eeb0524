"""Own the gateway's way to what operators do in an incident: freezes, by the operator's own token."""

from typing import Final

import grpc
from common.clock import rfc3339
from common.errors import InvalidArgument
from common.rpc.client import call
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import freezes_pb2 as messages
from strongroom.vault.v1.freezes_pb2_grpc import FreezesStub

from gateway.incident_schemas import FreezeRequest, FreezeTarget
from gateway.resource import Json, number, word

CALL_S: Final = 10.0


class Incidents:
    """Freezes; every method raises our error family and answers plain JSON values in the shapes of the schemas."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._freezes = FreezesStub(channel)

    async def freeze(self, authorization: str, idempotency_key: str, wanted: FreezeRequest) -> Json:
        """Freeze a target; when this returns, it is in force within a tenth of a second on every process."""
        request = messages.CreateFreezeRequest(
            idempotency_key=idempotency_key,
            target=_target(wanted.target),
            reason=wanted.reason,
            allow_cancels=wanted.allow_cancels,
        )
        try:
            answer = await call(self._freezes.CreateFreeze, request, timeout_s=CALL_S, authorization=authorization)
        except InvalidArgument as error:
            field = error.extra.get("field", "").replace("tenant_id", "tenant")  # its name in REST
            field = f"target.{field}" if field in ("tenant", "subject") else field
            raise InvalidArgument(error.reason, error.detail, field=field) from None
        return _shown(answer.freeze)

    async def freezes(self, authorization: str) -> Json:
        """Return every active freeze, the oldest first."""
        request = messages.ListFreezesRequest()
        answer = await call(self._freezes.ListFreezes, request, timeout_s=CALL_S, authorization=authorization)
        return {"items": [_shown(one) for one in answer.freezes]}

    async def lift(self, authorization: str, freeze_id: str, reason: str) -> None:
        """Lift a freeze; raise NotFound for one that does not exist."""
        request = messages.LiftFreezeRequest(freeze_id=freeze_id, reason=reason)
        await call(self._freezes.LiftFreeze, request, timeout_s=CALL_S, authorization=authorization)


def _target(wanted: FreezeTarget) -> messages.FreezeTarget:
    return messages.FreezeTarget(
        kind=number(messages.FreezeKind, wanted.kind),
        tenant_id=wanted.tenant or "",
        binding_id=wanted.binding_id or "",
        subject=wanted.subject or "",
        exchange=number(pb.Exchange, wanted.exchange or "unspecified"),
    )


def _shown(freeze: messages.Freeze) -> Json:
    target = freeze.target
    return {
        "id": freeze.id,
        "target": {
            "kind": word(messages.FreezeKind, target.kind),
            "tenant": target.tenant_id or None,
            "binding_id": target.binding_id or None,
            "subject": target.subject or None,
            "exchange": word(pb.Exchange, target.exchange),
        },
        "reason": freeze.reason,
        "allow_cancels": freeze.allow_cancels,
        "made_at": rfc3339(freeze.made_at),
        "made_by": freeze.made_by,
    }
