"""Own the flows of a binding's life as the REST edge sees them: bind, verify, revoke, show, list, balances.

Vault is the record and decides; the verifier's part is best effort except where the caller asked for a verdict.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from common.errors import BindingRevoked, StrongroomError, Unavailable
from common.ids import binding_id
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1.verification_service_pb2 import SubmitResponse

from gateway import requests, resource, schemas
from gateway.auth import Session
from gateway.problems import Problem
from gateway.services import Services

BALANCES_AGE_S: Final = 30.0
BALANCES_WAIT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Shown:
    """A binding as it is answered: the resource, and the record's revision for the ETag."""

    binding: resource.Json
    revision: int


async def bind(services: Services, session: Session, key: str, wanted: schemas.BindRequest, wait_s: int) -> Shown:
    """Store the credential, have it verified, and return the binding after at most `wait_s` seconds more."""
    record = await services.vault.bind(session.authorization, key, wanted)
    if record.verdict.status not in (pb.STATUS_UNSPECIFIED, pb.STATUS_PENDING):
        return await _seen(services, session, record)
    told = await services.verifier.try_submit(session.authorization, record.id, wait_s)
    if wait_s:
        record = await _described_or(services, session, record)
    return await _seen(services, session, record, told)


async def describe(services: Services, session: Session, identifier: str) -> pb.Binding:
    """Return the tenant's record; raise NotFound alike for a malformed, a random and a foreign id."""
    return await services.vault.describe(session.authorization, binding_id(identifier))


async def show(services: Services, session: Session, identifier: str) -> Shown:
    """Return the resource of a record with what was last observed of it; raise NotFound as `describe` does."""
    name = binding_id(identifier)
    who = session.authorization
    record, seen = await asyncio.gather(services.vault.describe(who, name), services.verifier.get(who, name))
    return _shown(services, record, seen)


async def shown(services: Services, session: Session, record: pb.Binding) -> Shown:
    """Return the resource of a record that is known, with what was last observed of it."""
    return _shown(services, record, await services.verifier.get(session.authorization, record.id))


async def page(services: Services, session: Session, wanted: requests.Page) -> resource.Json:
    """Return a page of the tenant's bindings by id: from what is published or, while that may lack some, the records.

    Both ways show the same bindings in the same order, so a cursor of one goes on in the other.
    """
    status, subject, after, limit = wanted.status, wanted.subject, wanted.after(), wanted.limit
    who = session.authorization
    found = await services.verifier.page(who, status=status, subject=subject, after=after, limit=limit)
    if found is None:
        records, following = await services.vault.page(who, status=status, subject=subject, after=after, limit=limit)
        observed = await services.verifier.get_many(who, [record.id for record in records])
        found = list(zip(records, observed, strict=True)), following
    seen, following = found
    now = services.clock.unix()
    items = [resource.binding(record, observation, now) for record, observation in seen]
    return {"items": items, "next_cursor": wanted.next_cursor(following)}


async def verify(services: Services, session: Session, identifier: str, wait_s: int) -> tuple[Shown, bool]:
    """Ask for a fresh verdict; return the binding and whether the verdict came within `wait_s` seconds."""
    record = await _living(services, session, identifier)
    told = await services.verifier.submit(session.authorization, record.id, wait_s)
    if told.verified:
        record = await describe(services, session, identifier)
    return await _seen(services, session, record, told), told.verified


async def revoke(services: Services, session: Session, identifier: str) -> None:
    """End a binding; the verifier is told only so that the event comes at once."""
    await services.vault.revoke(session.authorization, binding_id(identifier))
    await services.verifier.try_submit(session.authorization, identifier)


async def balances(services: Services, session: Session, identifier: str) -> resource.Json:
    """Return balances at most 30 s old, verifying first if need be; raise Problem when there are none to be had."""
    record = await _living(services, session, identifier)
    seen = await services.verifier.get(session.authorization, record.id)
    if not _fresh(services, seen):
        await services.verifier.submit(session.authorization, record.id, BALANCES_WAIT_S)
        seen = await services.verifier.get(session.authorization, record.id)
    held = resource.balances(seen) if seen is not None and _fresh(services, seen) else None
    if held is not None:
        return held
    if seen is None or seen.stale:
        raise Unavailable("balances_unavailable", "The exchange cannot be asked for balances.", retry_after=10)
    raise Problem("binding_not_connected")


def _fresh(services: Services, seen: pb.Observation | None) -> bool:
    if seen is None or not seen.HasField("balances"):
        return False
    return services.clock.unix() - seen.balances.as_of.ToMilliseconds() / 1000 <= BALANCES_AGE_S


async def _living(services: Services, session: Session, identifier: str) -> pb.Binding:
    record = await describe(services, session, identifier)
    if record.verdict.status == pb.STATUS_REVOKED:
        raise BindingRevoked()
    return record


def _shown(services: Services, record: pb.Binding, seen: pb.Observation | None) -> Shown:
    return Shown(resource.binding(record, seen, services.clock.unix()), record.revision)


async def _seen(services: Services, session: Session, record: pb.Binding, told: SubmitResponse | None = None) -> Shown:
    """Return the resource of a record with what a verification has just observed, else with what was seen last."""
    if told is not None and told.HasField("observation"):
        return _shown(services, record, told.observation)
    return _shown(services, record, await services.verifier.get(session.authorization, record.id))


async def _described_or(services: Services, session: Session, known: pb.Binding) -> pb.Binding:
    """Return the record as it is now, or as it was when the bind succeeded: the bind itself has succeeded."""
    try:
        return await describe(services, session, known.id)
    except StrongroomError:
        return known
