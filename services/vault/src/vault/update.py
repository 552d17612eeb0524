"""Own the changes a tenant makes to what it has told of a binding: label, subject, scopes. Never a credential.

What was proven for fewer scopes proves nothing for more: a binding that was connected is then pending again.
"""

from dataclasses import replace
from typing import Final

from common.clock import Clock, timestamp
from common.errors import Aborted, BindingRevoked
from strongroom.types.v1.binding_pb2 import REASON_UNSPECIFIED, STATUS_CONNECTED, STATUS_PENDING, Binding
from strongroom.vault.v1.binding_store_pb2 import UpdateRequest

from vault import asked
from vault.actor import Actor
from vault.audit import AuditLog
from vault.records import Record, Records
from vault.store import unavailable

TRIES: Final = 5


class Updates:
    """Change what a record says of its customer."""

    def __init__(self, records: Records, audit: AuditLog, clock: Clock) -> None:
        self._records = records
        self._audit = audit
        self._clock = clock

    async def update(self, actor: Actor, request: UpdateRequest) -> tuple[Binding, bool]:
        """Return (the binding as asked for, whether its scopes are others than before).

        Raises InvalidArgument, NotFound, BindingRevoked, Aborted when the expected revision is not the present one.
        """
        _check(request)
        name, expected = request.binding_id, request.expected_revision
        for _ in range(TRIES):
            record = await self._records.load(actor.tenant, name)
            if record.revoked:
                raise BindingRevoked()
            if expected and record.binding.revision != expected:
                raise Aborted()
            changed = self._changed(record, request)
            fields = [field for field in ("label", "subject", "scopes") if _differ(record, changed, field)]
            if not fields:
                return record.binding, False
            async with self._audit.action(actor, "update", name, fields=",".join(fields)) as told:
                saved = await self._records.save(changed, record.binding.revision)
                if saved is None:
                    continue
                told["revision"] = saved.binding.revision
                return saved.binding, "scopes" in fields
        raise unavailable("busy")

    def _changed(self, record: Record, request: UpdateRequest) -> Record:
        binding = Binding()
        binding.CopyFrom(record.binding)
        for field in ("label", "subject"):
            if request.HasField(field):
                setattr(binding, field, getattr(request, field))
        if request.scopes:
            binding.ClearField("scopes")
            binding.scopes.extend(asked.checked_scopes(request.scopes))  # type: ignore[arg-type]  # checked numbers
        if set(binding.scopes) - set(record.binding.scopes) and binding.verdict.status == STATUS_CONNECTED:
            binding.verdict.status, binding.verdict.reason = STATUS_PENDING, REASON_UNSPECIFIED
        binding.updated_at.CopyFrom(timestamp(self._clock.unix()))
        return replace(record, binding=binding)


def _differ(record: Record, changed: Record, field: str) -> bool:
    return bool(getattr(record.binding, field) != getattr(changed.binding, field))


def _check(request: UpdateRequest) -> None:
    """Raise InvalidArgument, naming the field, for what a bind may not say either."""
    asked.printable("label", request.label, asked.LABEL)
    asked.printable("subject", request.subject, asked.SUBJECT)
    if request.scopes:
        asked.checked_scopes(request.scopes)
