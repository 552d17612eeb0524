"""Own who holds an exchange account or key: by account within a tenant, by keyed fingerprint across tenants.

What is written are hints, held against the records each time: an entry whose binding has ended counts for nothing and
is dropped when met. No tenant can read what is kept across tenants, and only a yes or no of it leaves this file.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from common import logs
from common.errors import Aborted, BindingRevoked, InvalidArgument, NotFound, StrongroomError
from strongroom.types.v1.binding_pb2 import ENVIRONMENT_DEMO, ENVIRONMENT_LIVE

from vault import measures
from vault.actor import Actor
from vault.audit import AuditLog
from vault.records import Record, Records
from vault.store import Documents, OwnDocuments, put, put_own, unavailable

UID: Final = re.compile(r"[0-9A-Za-z_-]{1,40}")
ENVIRONMENTS: Final[dict[int, str]] = {ENVIRONMENT_LIVE: "live", ENVIRONMENT_DEMO: "demo"}
ATTEMPTS: Final = 12
PAUSE_S: Final = 0.02
LEAVE_LIMIT_S: Final = 2.0

Holder = tuple[str, str]  # tenant, binding
Entries = Mapping[Holder, str]


class Roster(Protocol):
    """One document that says who holds something; each entry has a mark."""

    @property
    def kind(self) -> str: ...

    async def read(self) -> tuple[Entries, int]: ...

    async def write(self, entries: Entries, cas: int) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """The bindings of one tenant that belong to one exchange account; the mark is the environment."""

    documents: Documents
    tenant: str
    uid: str
    kind: str = "account"

    async def read(self) -> tuple[Entries, int]:
        """Return the entries and the version of the document."""
        found = await self.documents.read(self.tenant, "accounts", self.uid)
        members = (found.data or {}).get("members", {}) if found else {}
        return {(self.tenant, name): mark for name, mark in members.items()}, found.version if found else 0

    async def write(self, entries: Entries, cas: int) -> int | None:
        """Write version `cas` + 1; None when another was faster."""
        members = {name: entries[tenant, name] for tenant, name in sorted(entries)}
        return await put(self.documents, self.tenant, "accounts", self.uid, {"members": members}, cas=cas)


@dataclass(frozen=True, slots=True)
class Key:
    """The bindings of any tenant that hold one exchange key; the mark means nothing."""

    own: OwnDocuments
    fingerprint: str
    kind: str = "key"

    async def read(self) -> tuple[Entries, int]:
        """Return the entries and the version of the document."""
        found = await self.own.read("holders", self.fingerprint)
        parts = [entry.partition(".") for entry in (found.data or {}).get("holders", ())] if found else []
        return {(tenant, name): "" for tenant, _, name in parts}, found.version if found else 0

    async def write(self, entries: Entries, cas: int) -> int | None:
        """Write version `cas` + 1; None when another was faster."""
        holders = [f"{tenant}.{name}" for tenant, name in sorted(entries)]
        return await put_own(self.own, "holders", self.fingerprint, {"holders": holders}, cas=cas)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The tenant's other bindings of the account and environment, how many keys of the account it has bound in all,
    whether another tenant has the key, and whether this call made the account known for the binding."""

    siblings: tuple[str, ...]
    keys_bound: int
    bound_elsewhere: bool
    joined: bool


class Enrolments:
    """Enter bindings where they belong, and take them out."""

    def __init__(self, documents: Documents, own: OwnDocuments, audit: AuditLog) -> None:
        self._documents = documents
        self._own = own
        self._records = Records(documents)
        self._audit = audit

    async def enroll(self, actor: Actor, name: str, uid: str, environment: int, version: int = 0) -> Enrolled:
        """Record that the key of a binding belongs to the account `uid`, and return who else is there.

        `version` is that of the staged credential, or 0 for the one in use.

        An empty `uid` is an account that the exchange did not tell: nothing is recorded, and nobody is known there.
        Raises InvalidArgument, NotFound, BindingRevoked, Unavailable when a repeat is safe.
        """
        if uid and not UID.fullmatch(uid):
            raise InvalidArgument("uid", "An account id has 1 to 40 letters, digits, - or _.", field="uid")
        if environment not in ENVIRONMENTS:
            raise InvalidArgument("environment", "The environment must be live or demo.", field="environment")
        tenant, mark = actor.tenant, ENVIRONMENTS[environment]
        record = await self._records.load(tenant, name)
        if record.revoked:
            raise BindingRevoked()
        fingerprint = _fingerprint(record, version)
        if not uid:
            return Enrolled((), 0, bound_elsewhere=False, joined=False)
        (before, members), (_, holders) = await asyncio.gather(
            self._enter(actor, name, Account(self._documents, tenant, uid), mark),
            self._enter(actor, name, Key(self._own, fingerprint), ""),
        )
        elsewhere = any(owner != tenant for owner, _ in holders)
        if elsewhere:
            measures.BOUND_ELSEWHERE.inc()
            logs.get().error("key_bound_elsewhere", tenant=tenant, binding=name)
        siblings = sorted(other for (_, other), theirs in members.items() if other != name and theirs == mark)
        return Enrolled(tuple(siblings), len(members), elsewhere, before.get((tenant, name)) != mark)

    async def leave(self, actor: Actor, name: str) -> None:
        """Take out a binding that has ended. What fails is logged: an ended binding counts for nothing anyway."""
        try:
            async with asyncio.timeout(LEAVE_LIMIT_S):
                rosters = self._rosters(actor.tenant, await self._records.load(actor.tenant, name))
                await asyncio.gather(*(self._out(actor, name, roster) for roster in rosters))
        except (StrongroomError, TimeoutError) as error:
            logs.get().warning("leave_failed", tenant=actor.tenant, binding=name, error=type(error).__name__)

    def _rosters(self, tenant: str, record: Record) -> list[Roster]:
        uid = record.binding.verdict.account.uid
        key = Key(self._own, record.fingerprint)
        return [key, Account(self._documents, tenant, uid)] if UID.fullmatch(uid) else [key]

    async def _enter(self, actor: Actor, name: str, roster: Roster, mark: str) -> tuple[Entries, Entries]:
        """Enter a binding and drop the dead; return the entries (before, after)."""
        me = (actor.tenant, name)

        async def wanted(found: Entries) -> Entries:
            others = [holder for holder in found if holder != me]
            alive = await asyncio.gather(*(self._alive(roster, *holder) for holder in others))
            return {**{other: found[other] for other, lives in zip(others, alive, strict=True) if lives}, me: mark}

        return await self._change(actor, name, "enroll", roster, wanted)

    async def _out(self, actor: Actor, name: str, roster: Roster) -> None:
        async def wanted(found: Entries) -> Entries:
            return {holder: mark for holder, mark in found.items() if holder != (actor.tenant, name)}

        await self._change(actor, name, "leave", roster, wanted)

    async def _change(
        self, actor: Actor, name: str, action: str, roster: Roster, wanted: Callable[[Entries], Awaitable[Entries]]
    ) -> tuple[Entries, Entries]:
        """Bring a roster to what is wanted of it; nothing is written, and no record made, when it says so already."""
        found, version = await roster.read()
        entries = await wanted(found)
        if entries == found:
            return found, entries
        async with self._audit.action(actor, action, name, kind=roster.kind):
            for attempt in range(ATTEMPTS):
                if await roster.write(entries, version) is not None:
                    return found, entries
                await asyncio.sleep(random.uniform(0, PAUSE_S * (attempt + 1)))  # noqa: S311  not a secret
                found, version = await roster.read()
                entries = await wanted(found)
                if entries == found:
                    return found, entries
            raise unavailable("busy")

    async def _alive(self, roster: Roster, tenant: str, name: str) -> bool:
        """Tell whether a binding exists, has not ended and holds the key."""
        try:
            head = await self._records.head(tenant, name)
        except NotFound:
            return False
        return not head.revoked and (not isinstance(roster, Key) or roster.fingerprint in head.fingerprints)


def _fingerprint(record: Record, version: int) -> str:
    """Return the exchange key of a version of a binding's credential."""
    if version in (0, record.binding.credential.version):
        return record.fingerprint
    if record.staged and record.staged.version == version:
        return record.staged.fingerprint
    raise Aborted()
