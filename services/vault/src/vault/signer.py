"""Own the oracle: structured requests that policy allows become signed ones, with a record of each on disk first.

It never signs a text, stamps with its own clock (which a caller may correct within bounds), and reveals the passphrase
only into the header that carries it.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from common.clock import Clock
from common.errors import Aborted, BindingRevoked, Internal, InvalidArgument, PolicyRefused
from common.ids import binding_id
from common.secret import Secret
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header, SignedRequest
from strongroom.vault.v1.freezes_pb2 import Freeze
from strongroom.vault.v1.signer_pb2 import SignRequest, SignResponse

from vault.actor import WORKER, Actor
from vault.audit import AuditLog, Fields
from vault.canonical import Canonical, canonical
from vault.credential import covered
from vault.freezer import Freezer
from vault.freezes import FROZEN, Place, refusal, refusing
from vault.policy import Policy
from vault.records import Head, Records
from vault.store import Documents, Keys, Signature

CLOCK_LIMIT_MS: Final = 24 * 3600 * 1000  # a clock further off is to be repaired, not corrected
BATCH: Final = range(1, 9)
LOCALE: Final = "en-US"  # keeps the exchange's error texts stable


@dataclass(frozen=True, slots=True)
class Usable:
    """One version of a binding's credential; `credential` is (API key, passphrase), None when it is gone."""

    head: Head
    version: int
    credential: tuple[Secret, Secret] | None


class Signer:
    """Sign exchange requests for the tenant's bindings."""

    def __init__(
        self, documents: Documents, keys: Keys, audit: AuditLog, policy: Policy, *, freezer: Freezer, clock: Clock
    ) -> None:
        self._documents = documents
        self._freezer = freezer
        self._records = Records(documents)
        self._keys = keys
        self._audit = audit
        self._policy = policy
        self._clock = clock

    async def sign(self, actor: Actor, request: SignRequest) -> SignResponse:
        """Return the exact bytes to send, for 1 to 8 requests of one binding.

        Raises PolicyRefused with the rule that one of them breaks or the freeze that stops them, InvalidArgument,
        NotFound, BindingRevoked, Unavailable; nothing is signed then.
        """
        binding, offset = binding_id(request.binding_id), request.clock_offset_ms
        if abs(offset) > CLOCK_LIMIT_MS:
            raise InvalidArgument("clock_offset", "The correction must be within a day.", field="clock_offset_ms")
        if len(request.requests) not in BATCH:
            raise InvalidArgument("batch", f"Sign 1 to {BATCH[-1]} requests at once.", field="requests")
        wanted = await self._allowed(actor, binding, request.requests)
        lines, reads = [_line(one, offset) for one in wanted], self._usable(actor, request)
        async with self._audit.actions(actor, "sign", binding, lines, reads) as (told, found):
            place = Place(actor.tenant, binding, found.head.subject, found.head.exchange)
            if freeze := await self._freeze(place, wanted):
                told.update(rule=FROZEN, freeze=freeze.id)
                raise refusal(freeze)
            timestamp = int(self._clock.unix() * 1000) + offset
            messages = [one.prehash(timestamp) for one in wanted]
            usable, signatures = await self._signatures(actor, request, found, messages)
            told["vault_request_id"] = signatures[0].request_id
            told["credential_version"] = usable.version
        put_on = _headers(usable.credential, timestamp, demo=request.demo)
        signed = [_signed(one, put_on, signature.value) for one, signature in zip(wanted, signatures, strict=True)]
        return SignResponse(signed=signed, credential_version=usable.version, stamped_at_ms=timestamp)

    async def _allowed(self, actor: Actor, binding: str, requests: Sequence[ExchangeRequest]) -> list[Canonical]:
        """Return the canonical form of requests that policy allows; a refusal is on record before it is told."""
        wanted = []
        for one in requests:
            made: Canonical | None = None
            try:
                made = canonical(one, self._policy.camel_case_paths)
                self._policy.check(made)
            except PolicyRefused as refusal:
                await self._audit.refuse(actor, "sign", binding, {**_asked(one, made), **refusal.extra})
                raise
            wanted.append(made)
        return wanted

    async def _freeze(self, place: Place, wanted: Sequence[Canonical]) -> Freeze | None:
        """Return the freeze that stops one of the requests. What was read a moment ago with the record still counts."""
        freezes = await self._freezer.active()
        found = (refusing(freezes, place, cancels=self._policy.is_cancel(one)) for one in wanted)
        return next(filter(None, found), None)

    async def _usable(self, actor: Actor, request: SignRequest) -> Usable:
        """Return what a live binding signs with: its version in use or, for a worker, the staged one. Reads freezes."""
        head, document, _ = await asyncio.gather(
            self._records.head(actor.tenant, request.binding_id),
            self._documents.read(actor.tenant, "credentials", request.binding_id),
            self._freezer.active(),
        )
        if head.revoked:
            raise BindingRevoked()
        staged = request.credential_version
        if staged and (actor.service != WORKER or staged != head.staged_version):
            raise Aborted("version_not_staged", "This version is not being verified.")
        version = staged or head.credential_version
        return Usable(head, version, covered(document.data if document else None, version))

    async def _signatures(
        self, actor: Actor, request: SignRequest, usable: Usable, messages: Sequence[bytes]
    ) -> tuple[Usable, list[Signature]]:
        """Return signatures by exactly the version that the headers will name, and that version.

        A rotation may have put another one into use since the record was read: then once more, with that.
        """
        for found in (usable, None):
            one = found or await self._usable(actor, request)
            if one.credential is None:
                continue
            key_type = one.head.key_type
            made = await self._keys.sign(actor.tenant, request.binding_id, key_type, messages, one.version)
            if made is not None:
                return one, made
        raise await self._without_key(actor.tenant, request.binding_id)

    async def _without_key(self, tenant: str, binding: str) -> BindingRevoked | Internal:
        """Return why a binding's credential is gone: it was revoked meanwhile, or something is wrong."""
        head = await self._records.head(tenant, binding)
        return BindingRevoked() if head.revoked else Internal("credential_missing")


def _line(wanted: Canonical, offset: int) -> Fields:
    """Return what the audit tells of a request besides who asks for whom."""
    facts: Fields = {
        "method": wanted.method,
        "path": wanted.path,
        "rule": "verification_read",
        "request_digest": _digest(wanted.unstamped()),
    }
    return {**facts, "clock_offset_ms": offset} if offset else facts


def _asked(request: ExchangeRequest, made: Canonical | None) -> Fields:
    """Return what the audit tells of a refused request: of one without a canonical form, whose texts may be anything,
    only a digest."""
    if made:
        return {"method": made.method, "path": made.path, "request_digest": _digest(made.unstamped())}
    return {"request_digest": _digest(request.SerializeToString(deterministic=True))}


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _headers(credential: tuple[Secret, Secret] | None, timestamp: int, *, demo: bool) -> list[Header]:
    """Return the headers that all requests of a batch share."""
    if credential is None:
        raise Internal("credential_missing")
    api_key, passphrase = credential
    headers = {
        "ACCESS-KEY": api_key.reveal(),
        "ACCESS-TIMESTAMP": str(timestamp),
        "ACCESS-PASSPHRASE": passphrase.reveal(),
        "Content-Type": "application/json",
        "locale": LOCALE,
        **({"paptrading": "1"} if demo else {}),
    }
    return [Header(name=name, value=value) for name, value in headers.items()]


def _signed(wanted: Canonical, put_on: list[Header], signature: str) -> SignedRequest:
    headers = [*put_on, Header(name="ACCESS-SIGN", value=signature)]
    return SignedRequest(method=wanted.method, target=wanted.target(), headers=headers, body=wanted.body)
