"""Own a tenant's webhook endpoints and their signing secrets: one document of the tenant's own, and what it signs.

A secret is answered once, when it is made. Old versions of the document hold old secrets, so each write destroys them.
Nothing is signed here but deliveries in the form of Standard Webhooks, which no exchange takes for a request.
"""

import base64
import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from common import ids
from common.clock import Clock, timestamp
from common.errors import IdempotencyMismatch, InvalidArgument, NotFound, Unavailable
from common.secret import Secret
from strongroom.types.v1.binding_pb2 import Status
from strongroom.vault.v1.webhooks_pb2 import CreateEndpointRequest, Endpoint, UpdateEndpointRequest

from vault.actor import Actor
from vault.asked import derived_id, printable
from vault.audit import AuditLog
from vault.store import Applied, Documents, put, unavailable

COLLECTION: Final = "webhooks"
NAME: Final = "endpoints"
MOST: Final = 10
MOST_SECRETS: Final = 5
OVERLAP_S: Final = 86_400
URL_LENGTH: Final = 512
DESCRIPTION_LENGTH: Final = 128
PREFIX: Final = "whsec_"
TRIES: Final = 5
CHANGEABLE: Final = ("url", "description", "statuses", "paused")


@dataclass(frozen=True, slots=True)
class Signing:
    """One signing secret, and when it was replaced (0: it is the newest)."""

    secret: Secret
    made_ms: int
    replaced_ms: int = 0

    def holds(self, now_ms: int) -> bool:
        """Tell whether it still signs."""
        return not self.replaced_ms or now_ms < self.replaced_ms + OVERLAP_S * 1000

    def sign(self, message: bytes) -> str:
        """Return one signature of the header."""
        key = base64.b64decode(self.secret.reveal().removeprefix(PREFIX))
        return "v1," + base64.b64encode(hmac.digest(key, message, "sha256")).decode()


@dataclass(frozen=True, slots=True)
class Kept:
    """One endpoint as the document has it; `secrets` begin with the newest."""

    id: str
    url: str
    description: str
    statuses: tuple[int, ...]
    created_ms: int
    secrets: tuple[Signing, ...]
    paused: bool = False

    def shown(self) -> Endpoint:
        """Return it without its secrets."""
        return Endpoint(
            id=self.id,
            url=self.url,
            description=self.description,
            statuses=self.statuses,  # type: ignore[arg-type]  # numbers of the enumeration
            created_at=timestamp(self.created_ms / 1000),
            secret_made_at=timestamp(self.secrets[0].made_ms / 1000),
            paused=self.paused,
        )

    def document(self) -> dict[str, Any]:
        """Return what is kept."""
        return {
            "id": self.id,
            "url": self.url,
            "description": self.description,
            "statuses": list(self.statuses),
            "created_ms": self.created_ms,
            "paused": self.paused,
            "secrets": [
                {"secret": one.secret.reveal(), "made_ms": one.made_ms, "replaced_ms": one.replaced_ms}
                for one in self.secrets
            ],
        }

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Kept":
        """Return one that `document` made."""
        held = tuple(Signing(Secret(one["secret"]), one["made_ms"], one["replaced_ms"]) for one in data["secrets"])
        about = (data["id"], data["url"], data["description"], tuple(data["statuses"]), int(data["created_ms"]))
        return cls(*about, held, data.get("paused", False))


Change = Callable[[list[Kept]], list[Kept] | None]


class Webhooks:
    """The endpoints of every tenant, each in its tenant's own document."""

    def __init__(self, documents: Documents, audit: AuditLog, clock: Clock) -> None:
        self._documents = documents
        self._audit = audit
        self._clock = clock

    async def create(self, actor: Actor, request: CreateEndpointRequest) -> tuple[Endpoint, Secret | None]:
        """Return (the endpoint, its secret); no secret if it was there already.

        Raises InvalidArgument, also for one too many, and IdempotencyMismatch.
        """
        made = self._asked(actor.tenant, request)
        if (found := await self._find(actor.tenant, made.id)) is not None:
            return _same(found, made), None

        def added(present: list[Kept]) -> list[Kept] | None:
            if any(one.id == made.id for one in present):
                return None
            if len(present) >= MOST:
                raise InvalidArgument("too_many", f"There are {MOST} endpoints: remove one.", field="url")
            return [*present, made]

        async with self._audit.action(actor, "webhook_create", "", endpoint=made.id, url_hash=_hash(made.url)):
            if await self._change(actor.tenant, added):
                return made.shown(), made.secrets[0].secret
        found = await self._find(actor.tenant, made.id)
        if found is None:  # made and removed by others just now
            raise unavailable("busy")
        return _same(found, made), None

    async def endpoints(self, tenant: str) -> list[Endpoint]:
        """Return the endpoints of a tenant, the oldest first."""
        return [one.shown() for one in (await self._read(tenant))[0]]

    async def update(self, actor: Actor, request: UpdateEndpointRequest) -> Endpoint:
        """Change what is given and return the endpoint; raises InvalidArgument, and NotFound as `remove` does."""
        given = {name: getattr(request, name) for name in CHANGEABLE if request.HasField(name)}
        if not given:
            return (await self._known(actor.tenant, request.endpoint_id)).shown()
        told = {"changes": " ".join(given)}
        if "url" in given:
            told["url_hash"] = _hash(request.url)
        if "statuses" in given:
            given["statuses"] = tuple(sorted(set(request.statuses.statuses)))
        change = lambda one: _checked(replace(one, **given))  # noqa: E731
        return (await self._changed(actor, "webhook_change", request.endpoint_id, change, told)).shown()

    async def remove(self, actor: Actor, name: str) -> None:
        """Remove an endpoint and destroy its secrets; raises NotFound for one that is not the tenant's."""
        if await self._find(actor.tenant, ids.binding_id(name)) is None:
            await self._tidy(actor.tenant)  # an earlier removal may have come no further
            raise NotFound()
        async with self._audit.action(actor, "webhook_remove", "", endpoint=name):
            await self._change(actor.tenant, lambda present: [one for one in present if one.id != name])
            await self._tidy(actor.tenant)

    async def rotate(self, actor: Actor, name: str) -> tuple[Endpoint, Secret]:
        """Return (the endpoint, its new secret); those before it sign for OVERLAP_S more. Raises as `remove` does."""
        fresh = self._fresh()
        change = lambda one: replace(one, secrets=self._after(fresh, one.secrets))  # noqa: E731
        return (await self._changed(actor, "webhook_rotate", name, change, {})).shown(), fresh.secret

    async def sign(self, tenant: str, name: str, message_id: str, moment: int, payload: bytes) -> str:
        """Return the header of one delivery: a signature by each secret that holds, the newest first.

        Raises NotFound for an endpoint that is paused or not there any more, InvalidArgument for an id with a dot.
        """
        if not message_id or "." in message_id or not message_id.isascii() or moment <= 0:
            raise InvalidArgument("message", "The message has no id or time that can be signed.", field="message_id")
        found = await self._known(tenant, name)
        if found.paused:  # also for a deliverer in the middle of a long queue
            raise NotFound()
        message, now = f"{message_id}.{moment}.".encode() + payload, self._now()
        return " ".join(one.sign(message) for one in found.secrets if one.holds(now))

    def _asked(self, tenant: str, request: CreateEndpointRequest) -> Kept:
        """Return the endpoint of a checked request. Whether its address may be called, whoever delivers decides."""
        name = derived_id(tenant, request.idempotency_key)
        statuses = tuple(sorted(set(request.statuses)))
        return _checked(Kept(name, request.url, request.description, statuses, self._now(), (self._fresh(),)))

    def _fresh(self) -> Signing:
        return Signing(Secret(PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()), self._now())

    def _after(self, fresh: Signing, before: Sequence[Signing]) -> tuple[Signing, ...]:
        """Return the secrets once `fresh` is the newest: it, and those that hold for a while."""
        now = self._now()
        old = [replace(one, replaced_ms=one.replaced_ms or now) for one in before if one.holds(now)]
        return (fresh, *old)[:MOST_SECRETS]

    def _now(self) -> int:
        return round(self._clock.unix() * 1000)

    async def _known(self, tenant: str, name: str) -> Kept:
        found = await self._find(tenant, ids.binding_id(name))
        if found is None:
            raise NotFound()
        return found

    async def _find(self, tenant: str, name: str) -> Kept | None:
        return next((one for one in (await self._read(tenant))[0] if one.id == name), None)

    async def _read(self, tenant: str) -> tuple[list[Kept], int]:
        document = await self._documents.read(tenant, COLLECTION, NAME)
        if document is None:
            return [], 0
        return [Kept.of(one) for one in (document.data or {}).get("endpoints", [])], document.version

    async def _changed(
        self, actor: Actor, action: str, name: str, change: Callable[[Kept], Kept], told: dict[str, str]
    ) -> Kept:
        """Change one endpoint under an audit line and return what it is now; raises NotFound."""
        change(await self._known(actor.tenant, name))  # a wrong wish is refused before anything is written
        changed: list[Kept] = []

        def every(present: list[Kept]) -> list[Kept] | None:
            changed[:] = [change(one) for one in present if one.id == name]
            return [changed[0] if one.id == name else one for one in present] if changed else None

        async with self._audit.action(actor, action, "", endpoint=name, **told):
            if not await self._change(actor.tenant, every):
                raise NotFound()
            return changed[0]

    async def _change(self, tenant: str, change: Change) -> bool:
        """Write what `change` makes of the present endpoints, and destroy what was; False if it wants no change."""
        for _ in range(TRIES):
            present, version = await self._read(tenant)
            wanted = change(present)
            if wanted is None:
                return False
            data = {"endpoints": [one.document() for one in wanted]}
            if await put(self._documents, tenant, COLLECTION, NAME, data, cas=version) is not None:
                with contextlib.suppress(Unavailable):  # the next change, or a removal, does it as well
                    await self._tidy(tenant)
                return True
        raise unavailable("busy")

    async def _tidy(self, tenant: str) -> None:
        """Destroy every version but the newest; raise Unavailable when that is not sure."""
        if not isinstance(await self._documents.destroy(tenant, COLLECTION, NAME, keep_newest=True), Applied):
            raise unavailable()


def _checked(one: Kept) -> Kept:
    """Return an endpoint whose texts can be kept; raise InvalidArgument for any other."""
    printable("url", one.url, URL_LENGTH)
    printable("description", one.description, DESCRIPTION_LENGTH)
    if not one.url or any(not status or status not in Status.values() for status in one.statuses):
        raise InvalidArgument("invalid_field", "An address is needed, and statuses that exist.", field="url")
    return one


def _same(found: Kept, asked: Kept) -> Endpoint:
    """Return the endpoint that an earlier call of the same key made; raise IdempotencyMismatch for another wish."""
    if (found.url, found.description, found.statuses) != (asked.url, asked.description, asked.statuses):
        raise IdempotencyMismatch()
    return found.shown()


def _hash(url: str) -> str:
    """Return what an audit line tells of an address, which may hold a token of its owner's."""
    return hashlib.sha256(url.encode()).hexdigest()
