"""Own the oracle: structured requests that policy allows become signed ones, with a record of each on disk first.

For a worker these are verification reads; for a caller, what the table of calls and the binding's scopes allow. It
never signs a text, stamps with its own clock (which a caller may correct within bounds), and reveals the passphrase
only where the exchange asks for it: into the header, or the login, that carries it.
"""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common.clock import Clock
from common.errors import Aborted, BindingRevoked, Internal, InvalidArgument, PolicyRefused
from common.ids import binding_id
from common.secret import Secret
from strongroom.types.v1.request_pb2 import ExchangeRequest, Header, SignedRequest, WebSocketLogin
from strongroom.vault.v1.signer_pb2 import (
    PURPOSE_UNSPECIFIED,
    SignRequest,
    SignResponse,
    SignWebSocketLoginRequest,
    SignWebSocketLoginResponse,
)

from vault import worth
from vault.actor import WORKER, Actor
from vault.audit import AuditLog, Fields
from vault.canonical import Canonical, canonical
from vault.credential import covered
from vault.days import Days
from vault.denials import NONE, Denials
from vault.freezer import Freezer
from vault.freezes import FROZEN, Place, refusal, refusing
from vault.gathering import Gathering, Recent
from vault.purposes import LOGIN, Rules, proven
from vault.records import Head, Records
from vault.store import Documents, Keys, Signature
from vault.trading import Allowed, explained, within

CLOCK_LIMIT_MS: Final = 24 * 3600 * 1000  # a clock further off is to be repaired, not corrected
BATCH: Final = range(1, 9)
LOGIN_TEXT: Final = "GET/user/verify"  # as the exchange asks for; its time is in seconds
LOCALE: Final = "en-US"  # keeps the exchange's error texts stable
# API key and passphrase of a version never change, and are of use only with a signature of that version.
CREDENTIAL_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Usable:
    """One version of a binding's credential; `credential` is (API key, passphrase), None when it is gone."""

    head: Head
    version: int
    credential: tuple[Secret, Secret] | None


class Signer:
    """Sign exchange requests for the tenant's bindings."""

    def __init__(
        self,
        documents: Documents,
        keys: Keys,
        audit: AuditLog,
        rules: Rules,
        *,
        freezer: Freezer,
        days: Days,
        clock: Clock,
    ) -> None:
        self._documents = documents
        self._freezer = freezer
        self._days = days
        self._records = Records(documents)
        self._keys = Gathering(keys)
        self._recent: Recent[Usable] = Recent(clock)
        self._credentials: Recent[dict[int, tuple[Secret, Secret]]] = Recent(clock, CREDENTIAL_S)
        self._audit = audit
        self._rules = rules
        self._clock = clock

    async def sign(self, actor: Actor, request: SignRequest, denials: Denials = NONE) -> SignResponse:
        """Return the exact bytes to send, for 1 to 8 requests of one binding of a tenant with these denials.

        Raises PolicyRefused with the rule that one of them breaks or the freeze that stops them, InvalidArgument,
        NotFound, BindingRevoked, Aborted for a caller's request with a key that has not been proven, Unavailable;
        nothing is signed then.
        """
        binding, offset = binding_id(request.binding_id), _offset(request.clock_offset_ms)
        if len(request.requests) not in BATCH:
            raise InvalidArgument("batch", f"Sign 1 to {BATCH[-1]} requests at once.", field="requests")
        allowed, amount = await self._allowed(actor, binding, request, denials)
        wanted = [one for one, _ in allowed]
        lines = [_line(*one, offset) for one in allowed]
        if request.purpose == PURPOSE_UNSPECIFIED:
            reads = self._usable(actor, binding, request.credential_version)
        else:
            reads = self._known(actor, binding)
        async with self._audit.actions(actor, "sign", binding, lines, reads) as (told, found):
            place = Place(actor.tenant, binding, found.head.subject, found.head.exchange)
            await self._open(place, wanted, told)
            if request.purpose != PURPOSE_UNSPECIFIED:
                _entitled(found.head, [why for _, why in allowed], told)
            if amount:
                await self._count(actor.tenant, amount, denials, told)
                await self._open(place, wanted, told)  # counting may have waited for others
            timestamp = int(self._clock.unix() * 1000) + offset
            messages = [one.prehash(timestamp) for one in wanted]
            usable, signatures = await self._signatures(actor, binding, request.credential_version, found, messages)
            told["vault_request_id"] = signatures[0].request_id
            told["credential_version"] = usable.version
        demo = request.demo if request.purpose == PURPOSE_UNSPECIFIED else usable.head.demo
        put_on = _headers(usable.credential, timestamp, demo=demo)
        signed = [_signed(one, put_on, signature.value) for one, signature in zip(wanted, signatures, strict=True)]
        return SignResponse(signed=signed, credential_version=usable.version, stamped_at_ms=timestamp)

    async def login(
        self, actor: Actor, request: SignWebSocketLoginRequest, denials: Denials = NONE
    ) -> SignWebSocketLoginResponse:
        """Return the login of a private WebSocket, which conveys the key's whole right to trade.

        Raises as `sign` does; any freeze stops it, and it needs both scopes. Nothing else signs this text: as a path
        it is outside the grammar.
        """
        binding, offset = binding_id(request.binding_id), _offset(request.clock_offset_ms)
        facts: Fields = {"rule": LOGIN.rule, **({"clock_offset_ms": offset} if offset else {})}
        reads = self._known(actor, binding)
        async with self._audit.actions(actor, "websocket_login", binding, [facts], reads) as (told, found):
            await self._open(Place(actor.tenant, binding, found.head.subject, found.head.exchange), [], told)
            _entitled(found.head, [LOGIN], told, denials.check_login)
            timestamp = str((int(self._clock.unix() * 1000) + offset) // 1000)
            usable, [made] = await self._signatures(actor, binding, 0, found, [f"{timestamp}{LOGIN_TEXT}".encode()])
            told["vault_request_id"] = made.request_id
            told["credential_version"] = usable.version
        api_key, passphrase = _whole(usable.credential)
        login = WebSocketLogin(
            api_key=api_key.reveal(), passphrase=passphrase.reveal(), timestamp=timestamp, sign=made.value
        )
        return SignWebSocketLoginResponse(login=login, credential_version=usable.version)

    async def _allowed(
        self, actor: Actor, binding: str, request: SignRequest, denials: Denials
    ) -> tuple[list[tuple[Canonical, Allowed]], int]:
        """Return the canonical form of requests that policy allows, why it does, and what all count on the tenant's
        day; a refusal is on record before it is told."""
        wanted, amount = [], 0
        for one in request.requests:
            made: Canonical | None = None
            try:
                made = canonical(one, self._rules.camel_case_paths)
                why = self._rules.allow(request.purpose, made)
                if request.purpose != PURPOSE_UNSPECIFIED:
                    amount += denials.check(made, why.rule, cancels=self._rules.is_cancel(made))
            except PolicyRefused as refusal:
                await self._audit.refuse(actor, "sign", binding, {**_asked(one, made), **refusal.extra})
                raise explained(refusal) from None
            wanted.append((made, why))
        return wanted, amount

    async def _count(self, tenant: str, amount: int, denials: Denials, told: dict[str, Any]) -> None:
        """Count an amount on the tenant's day; raise PolicyRefused, and tell the rule, when it is above the cap."""
        try:
            await self._days.count(tenant, amount, worth.units(denials.max_daily_notional))
        except PolicyRefused as refused:
            told.update(refused.extra)
            raise explained(refused) from None

    async def _open(self, place: Place, wanted: Sequence[Canonical], told: dict[str, Any]) -> None:
        """Raise PolicyRefused where a freeze stops one of the requests, or a login when there are none.

        The freezes that were read a moment ago with the record still count.
        """
        cancels = bool(wanted) and all(map(self._rules.is_cancel, wanted))
        if freeze := refusing(await self._freezer.active(), place, cancels=cancels):
            told.update(rule=FROZEN, freeze=freeze.id)
            raise refusal(freeze)

    async def _known(self, actor: Actor, binding: str) -> Usable:
        """Return what a caller's request is signed with, as it was a moment ago."""
        return await self._recent.get((actor.tenant, binding), lambda: self._usable(actor, binding, 0))

    async def _usable(self, actor: Actor, binding: str, staged: int) -> Usable:
        """Return what a live binding signs with: its version in use or, for a worker, the staged one. Reads freezes."""
        head, credentials, _ = await asyncio.gather(
            self._records.head(actor.tenant, binding),
            self._covered(actor.tenant, binding),
            self._freezer.active(),
        )
        if head.revoked:
            self._credentials.forget((actor.tenant, binding))
            raise BindingRevoked()
        if staged and (actor.service != WORKER or staged != head.staged_version):
            raise Aborted("version_not_staged", "This version is not being verified.")
        version = staged or head.credential_version
        if version not in credentials:  # a newer one than was read
            self._credentials.forget((actor.tenant, binding))
            credentials = await self._covered(actor.tenant, binding)
        return Usable(head, version, credentials.get(version))

    async def _covered(self, tenant: str, binding: str) -> dict[int, tuple[Secret, Secret]]:
        """Return the credential document's versions, as they were at most CREDENTIAL_S ago."""

        async def read() -> dict[int, tuple[Secret, Secret]]:
            document = await self._documents.read(tenant, "credentials", binding)
            return covered(document.data if document else None)

        return await self._credentials.get((tenant, binding), read)

    async def _signatures(
        self, actor: Actor, binding: str, staged: int, usable: Usable, messages: Sequence[bytes]
    ) -> tuple[Usable, list[Signature]]:
        """Return signatures by exactly the version that the headers will name, and that version.

        A rotation may have put another one into use since the record was read: then once more, with that.
        """
        for found in (usable, None):
            one = found or await self._usable(actor, binding, staged)
            if one.credential is None:
                continue
            key_type = one.head.key_type
            made = await self._keys.sign(actor.tenant, binding, key_type, messages, one.version)
            if made is not None:
                return one, made
            self._recent.forget((actor.tenant, binding))
        raise await self._without_key(actor.tenant, binding)

    async def _without_key(self, tenant: str, binding: str) -> BindingRevoked | Internal:
        """Return why a binding's credential is gone: it was revoked meanwhile, or something is wrong."""
        head = await self._records.head(tenant, binding)
        return BindingRevoked() if head.revoked else Internal("credential_missing")


def _offset(milliseconds: int) -> int:
    """Return a correction of the clock if it is within bounds; raise InvalidArgument."""
    if abs(milliseconds) > CLOCK_LIMIT_MS:
        raise InvalidArgument("clock_offset", "The correction must be within a day.", field="clock_offset_ms")
    return milliseconds


def _entitled(
    head: Head, reasons: Sequence[Allowed], told: dict[str, Any], also: Callable[[], None] = lambda: None
) -> None:
    """Raise PolicyRefused or Aborted, and tell the rule, unless a binding may have all of this signed for a caller."""
    proven(head)
    try:
        also()
        for why in reasons:
            within(why, head.scopes)
    except PolicyRefused as refused:
        told.update(refused.extra)
        raise explained(refused) from None


def _line(wanted: Canonical, why: Allowed, offset: int) -> Fields:
    """Return what the audit tells of a request besides who asks for whom."""
    facts: Fields = {
        "method": wanted.method,
        "path": wanted.path,
        "rule": why.rule,
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
    api_key, passphrase = _whole(credential)
    headers = {
        "ACCESS-KEY": api_key.reveal(),
        "ACCESS-TIMESTAMP": str(timestamp),
        "ACCESS-PASSPHRASE": passphrase.reveal(),
        "Content-Type": "application/json",
        "locale": LOCALE,
        **({"paptrading": "1"} if demo else {}),
    }
    return [Header(name=name, value=value) for name, value in headers.items()]


def _whole(credential: tuple[Secret, Secret] | None) -> tuple[Secret, Secret]:
    if credential is None:
        raise Internal("credential_missing")
    return credential


def _signed(wanted: Canonical, put_on: list[Header], signature: str) -> SignedRequest:
    headers = [*put_on, Header(name="ACCESS-SIGN", value=signature)]
    return SignedRequest(method=wanted.method, target=wanted.target(), headers=headers, body=wanted.body)
