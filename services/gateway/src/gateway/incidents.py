"""Own the gateway's way to what operators do in an incident: freezes and bulk revocation, by the operator's token."""

from datetime import datetime
from typing import Final

import grpc
from common.clock import rfc3339
from common.errors import InvalidArgument
from common.rpc.client import call
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import freezes_pb2 as messages
from strongroom.vault.v1 import revocations_pb2 as bulk
from strongroom.vault.v1.freezes_pb2_grpc import FreezesStub
from strongroom.vault.v1.revocations_pb2_grpc import RevocationsStub

from gateway.incident_schemas import FreezeRequest, FreezeTarget, RevocationRequest
from gateway.resource import Json, number, word

CALL_S: Final = 10.0
REMEDY: Final = (
    "The keys still exist at Bitget. Ask each customer to log in there, open the profile picture, then API keys, and "
    "to delete the key: nobody else can. Their bindings say so with the finding delete_key_at_exchange."
)


class Incidents:
    """Freezes; every method raises our error family and answers plain JSON values in the shapes of the schemas."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._freezes = FreezesStub(channel)
        self._revocations = RevocationsStub(channel)

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
            raise _in_rest(error, "target") from None
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

    async def revoke(self, authorization: str, idempotency_key: str, wanted: RevocationRequest) -> Json:
        """Have every binding that fits revoked; it is done in the background, whatever process ends."""
        selector = bulk.RevocationSelector(
            tenant_id=wanted.selector.tenant,
            subject=wanted.selector.subject,
            label=wanted.selector.label,
            bound_after=_time(wanted.selector.bound_after),
            bound_before=_time(wanted.selector.bound_before),
        )
        request = bulk.RevokeManyRequest(
            idempotency_key=idempotency_key, selector=selector, reason=wanted.reason, dry_run=wanted.dry_run
        )
        try:
            answer = await call(self._revocations.RevokeMany, request, timeout_s=CALL_S, authorization=authorization)
        except InvalidArgument as error:
            raise _in_rest(error, "selector") from None
        return _told(answer.revocation)

    async def revocation(self, authorization: str, revocation_id: str) -> Json:
        """Return how far a revocation is; raise NotFound for one that was never asked for."""
        request = bulk.DescribeRevocationRequest(revocation_id=revocation_id)
        method = self._revocations.DescribeRevocation
        return _told((await call(method, request, timeout_s=CALL_S, authorization=authorization)).revocation)


def _in_rest(error: InvalidArgument, part: str) -> InvalidArgument:
    """Return the error with its field named as in REST; ids of tenants are checked without knowing where they stand."""
    field = error.extra.get("field", "").replace("tenant_id", "tenant")
    field = f"{part}.{field}" if field in ("tenant", "subject") else field
    return InvalidArgument(error.reason, error.detail, field=field)


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


def _told(revocation: bulk.Revocation) -> Json:
    selector, state = revocation.selector, word(bulk.RevocationState, revocation.state)
    return {
        "id": revocation.id,
        "selector": {
            "tenant": selector.tenant_id,
            "subject": selector.subject if selector.HasField("subject") else None,
            "label": selector.label if selector.HasField("label") else None,
            "bound_after": rfc3339(selector.bound_after) if selector.HasField("bound_after") else None,
            "bound_before": rfc3339(selector.bound_before) if selector.HasField("bound_before") else None,
        },
        "reason": revocation.reason,
        "dry_run": revocation.dry_run,
        "state": state,
        "requested_at": rfc3339(revocation.requested_at),
        "requested_by": revocation.requested_by,
        "finished_at": rfc3339(revocation.finished_at) if revocation.HasField("finished_at") else None,
        "matched": revocation.matched,
        "revoked": revocation.revoked,
        "failed": [{"binding_id": one.binding_id, "reason": one.reason} for one in revocation.failed],
        "binding_ids": list(revocation.binding_ids),
        "remedy": REMEDY,
    }


def _time(text: str | None) -> Timestamp | None:
    """Return a time that the schema has checked."""
    if text is None:
        return None
    value = Timestamp()
    value.FromDatetime(datetime.fromisoformat(text))
    return value
