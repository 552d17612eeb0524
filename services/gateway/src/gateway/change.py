"""Own the flows that change a binding: replacing its credential, and what the tenant has told of it.

The vault service decides and records; the verifier is only asked to look, so that answer or event come at once.
"""

from collections.abc import Mapping
from typing import Any, Final

from common.errors import Aborted, StrongroomError
from common.ids import binding_id
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import binding_store_pb2 as messages

from gateway import resource, schemas
from gateway.auth import Session
from gateway.bind import Shown, shown
from gateway.problems import Problem
from gateway.services import Services

# The reasons for which a replacement is refused that have a problem of their own.
_CODES: Final[Mapping[str, str]] = {"account_mismatch": "account_mismatch"}


async def rotate(
    services: Services, session: Session, identifier: str, *, key: str, wanted: schemas.RotateRequest, wait_s: int
) -> tuple[Shown, bool]:
    """Store a replacement and have it verified; return the binding and whether the replacement is in use.

    False while nothing is decided within `wait_s` seconds. Raises Problem for one that is refused: the old one stays.
    """
    who, name = session.authorization, binding_id(identifier)
    staged = await services.vault.stage(who, name, key, wanted)
    record: pb.Binding = staged.binding
    if not staged.reason and not _in_use(record, staged.version):
        await services.verifier.try_submit(who, name, wait_s)
        record = await _described_or(services, who, record) if wait_s else record
    if refused := _refused(record, staged):
        raise refused
    return await shown(services, session, record), _in_use(record, staged.version)


async def update(
    services: Services, session: Session, identifier: str, wanted: schemas.UpdateRequest, revision: int
) -> Shown:
    """Change label, subject or scopes, of the record's `revision` if that is not 0; other scopes are verified anew.

    Raises Problem when the binding has changed since that revision.
    """
    who, name = session.authorization, binding_id(identifier)
    try:
        record, scopes_changed = await services.vault.update(who, name, wanted, revision)
    except Aborted:
        raise Problem("precondition_failed" if revision else "revision_changed") from None
    await services.verifier.try_submit(who, name, only_publish=not scopes_changed)
    return await shown(services, session, record)


def _in_use(record: pb.Binding, version: int) -> bool:
    """Tell whether a version is in use and everything of the one before it is gone."""
    return record.credential.version >= version and record.rotation.state != pb.ROTATION_STATE_FENCING


def _refused(record: pb.Binding, staged: messages.StageResponse) -> Problem | None:
    """Return the problem of a replacement that was given up, with what to do about it as far as that is still known."""
    latest = record.rotation
    told = latest.state == pb.ROTATION_STATE_FAILED and latest.credential.version == staged.version
    reason = latest.reason if told else staged.reason
    if not reason:
        return None
    extra: dict[str, Any] = {"reason": reason}
    extra["findings"] = [resource.finding(one) for one in latest.findings] if told else []
    return Problem(_CODES.get(reason, "credential_rejected"), extra=extra)


async def _described_or(services: Services, who: str, known: pb.Binding) -> pb.Binding:
    """Return the record as it is now, or as it was when the replacement was stored: that itself has succeeded."""
    try:
        return await services.vault.describe(who, known.id)
    except StrongroomError:
        return known
