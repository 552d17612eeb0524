"""Own the tenants' registry as an administrator changes it: made, listed, changed, disabled and enabled again.

Each change is one check-and-set write with an audit line before it. Nothing here touches a binding.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from common.clock import Clock
from common.errors import Aborted, IdempotencyMismatch, NotFound
from common.ids import TENANT_ID
from strongroom.vault.v1.tenants_pb2 import Tenant

from vault.actor import Actor
from vault.audit import AuditLog
from vault.quotas import Quotas
from vault.registry import Registered, registered
from vault.rules import Rules
from vault.store import Directory, OwnDocuments, carried, put_own, unavailable

ALPHABET: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
ID_LENGTH: Final = 26
ATTEMPTS: Final = 5


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be changed of a tenant; None leaves a part as it is."""

    name: str | None = None
    own_rules: Rules | None = None
    own_quotas: Quotas | None = None
    disabled: bool | None = None

    def parts(self) -> dict[str, Any]:
        """Return what is set, by the names of Registered."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    def action(self) -> str:
        """Return what the audit calls this."""
        return "tenant_change" if self.disabled is None else "tenant_disable" if self.disabled else "tenant_enable"


class Tenants:
    """Make and change tenants, for an operator who is none of them."""

    def __init__(self, own: OwnDocuments, directory: Directory, audit: AuditLog, clock: Clock) -> None:
        self._own = own
        self._directory = directory
        self._audit = audit
        self._clock = clock

    async def create(self, operator: Actor, key: str, wanted: Registered) -> tuple[Tenant, bool]:
        """Register a tenant and return (it, whether this call made it).

        The id derives from the operator and `key`. Raises IdempotencyMismatch when `key` was used for another.
        """
        name, digest = fresh_id(operator.tenant, key), _digest(wanted)
        new = replace(wanted, created_ms=int(self._clock.unix() * 1000), request_digest=digest)
        found = await self._own.read("tenants", name)
        if found is None:
            async with self._audit.action(_about(operator, name), "tenant_create", "", operator=operator.tenant):
                version = await put_own(self._own, "tenants", name, new.document(), cas=0)
            if version is not None:
                return message(name, new, version), True
        there, version = await self._load(name)
        if there.request_digest != digest:
            raise IdempotencyMismatch()
        return message(name, there, version), False

    async def get(self, name: str) -> Tenant:
        """Return one tenant; raise NotFound for an id that is none's."""
        return message(name, *await self._load(name))

    async def page(self, after: str, limit: int) -> tuple[list[Tenant], str]:
        """Return up to `limit` tenants after the id `after`, by id, and the next `after` (empty: the last page)."""
        names = [name for name in await self._directory.tenants() if name > after and TENANT_ID.fullmatch(name)]
        return [await self.get(name) for name in names[:limit]], _following(names, limit)

    async def change(self, operator: Actor, name: str, expected: int, wanted: Change) -> Tenant:
        """Change a tenant and return it; raise Aborted unless it is at revision `expected` (0: any), NotFound."""
        for _ in range(ATTEMPTS):
            stored, version = await self._stored(name)
            found = registered(name, stored)
            if expected not in (0, version):
                raise Aborted(detail="The tenant changed meanwhile.")
            new = replace(found, **wanted.parts())
            if new == found:
                return message(name, found, version)
            about, parts = _about(operator, name), ",".join(sorted(wanted.parts()))
            async with self._audit.action(about, wanted.action(), "", operator=operator.tenant, changed=parts):
                data = carried(stored, found.document(), new.document())
                written = await put_own(self._own, "tenants", name, data, cas=version)
            if written is not None:
                return message(name, new, written)
        raise unavailable("busy")

    async def _load(self, name: str) -> tuple[Registered, int]:
        stored, version = await self._stored(name)
        return registered(name, stored), version

    async def _stored(self, name: str) -> tuple[Mapping[str, Any], int]:
        found = await self._own.read("tenants", name) if TENANT_ID.fullmatch(name) else None
        if found is None or found.data is None:
            raise NotFound(detail="There is no tenant with this id.")
        return found.data, found.version


def fresh_id(operator: str, key: str) -> str:
    """Return the id of the tenant that an operator makes with an idempotency key: the same for the same."""
    digest = hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part.encode() for part in (operator, key)))
    number, letters = int.from_bytes(digest.digest(), "big"), ""
    for _ in range(ID_LENGTH):
        number, rest = divmod(number, len(ALPHABET))
        letters += ALPHABET[rest]
    return letters


def message(name: str, found: Registered, version: int) -> Tenant:
    """Return a tenant as a message."""
    told = Tenant(id=name, name=found.name, disabled=found.disabled, revision=version)
    told.rules.CopyFrom(found.rules.message())
    told.quotas.CopyFrom(found.quotas.message())
    if found.created_ms:
        told.created_at.FromMilliseconds(found.created_ms)
    return told


def _following(names: Sequence[str], limit: int) -> str:
    return names[limit - 1] if len(names) > limit else ""


def _about(operator: Actor, tenant: str) -> Actor:
    """Return who the audit line is about: the tenant, with the operator's subject and client."""
    return Actor(tenant, operator.service, operator.subject, operator.client)


def _digest(wanted: Registered) -> str:
    return hashlib.sha256(json.dumps(wanted.document(), sort_keys=True).encode()).hexdigest()
