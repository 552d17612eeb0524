"""Own the oracle: a structured request that policy allows becomes a signed one, with a record of it on disk first.

It never signs a text, stamps with its own clock (which a caller may correct within bounds), and reveals the passphrase
only into the header that carries it.
"""

import asyncio
import hashlib
from typing import Final

from common.clock import Clock
from common.errors import BindingRevoked, Internal, InvalidArgument
from common.ids import binding_id
from common.secret import Secret
from strongroom.vault.v1.signer_pb2 import Header, SignRequest, SignResponse

from vault.actor import Actor
from vault.audit import AuditLog
from vault.canonical import Canonical, canonical
from vault.policy import Policy
from vault.records import Head, Records
from vault.store import Documents, Keys, Signature

CLOCK_LIMIT_MS: Final = 24 * 3600 * 1000  # a clock further off is to be repaired, not corrected
LOCALE: Final = "en-US"  # keeps the exchange's error texts stable


class Signer:
    """Sign exchange requests for the tenant's bindings."""

    def __init__(self, documents: Documents, keys: Keys, audit: AuditLog, policy: Policy, clock: Clock) -> None:
        self._documents = documents
        self._records = Records(documents)
        self._keys = keys
        self._audit = audit
        self._policy = policy
        self._clock = clock

    async def sign(self, actor: Actor, request: SignRequest) -> SignResponse:
        """Return the exact bytes to send.

        Raises PolicyRefused with the rule, InvalidArgument, NotFound, BindingRevoked, Unavailable; nothing is signed
        then.
        """
        binding, offset = binding_id(request.binding_id), request.clock_offset_ms
        if abs(offset) > CLOCK_LIMIT_MS:
            raise InvalidArgument("clock_offset", "The correction must be within a day.", field="clock_offset_ms")
        wanted = canonical(request.request, self._policy.camel_case_paths)
        self._policy.check(wanted)
        head, credential = await self._usable(actor.tenant, binding)
        digest = hashlib.sha256(wanted.unstamped()).hexdigest()
        facts: dict[str, str | int] = {
            "method": wanted.method,
            "path": wanted.path,
            "rule": "verification_read",
            "request_digest": digest,
            **({"clock_offset_ms": offset} if offset else {}),
        }
        async with self._audit.action(actor, "sign", binding, **facts) as told:
            timestamp = int(self._clock.unix() * 1000) + offset
            signature = await self._keys.sign(actor.tenant, binding, head.key_type, wanted.prehash(timestamp))
            if signature is None:
                raise await self._without_key(actor.tenant, binding)
            told["vault_request_id"] = signature.request_id
        return _response(wanted, head, credential, signature, timestamp, demo=request.demo)

    async def _usable(self, tenant: str, binding: str) -> tuple[Head, tuple[Secret, Secret]]:
        """Return the head of the record of a live binding and its (API key, passphrase)."""
        head, document = await asyncio.gather(
            self._records.head(tenant, binding), self._documents.read(tenant, "credentials", binding)
        )
        if head.revoked:
            raise BindingRevoked()
        if document is None or document.data is None:
            raise await self._without_key(tenant, binding)
        return head, (Secret(document.data["api_key"]), Secret(document.data["passphrase"]))

    async def _without_key(self, tenant: str, binding: str) -> BindingRevoked | Internal:
        """Return why a binding's credential is gone: it was revoked meanwhile, or something is wrong."""
        head = await self._records.head(tenant, binding)
        return BindingRevoked() if head.revoked else Internal("credential_missing")


def _response(
    wanted: Canonical,
    head: Head,
    credential: tuple[Secret, Secret],
    signature: Signature,
    timestamp: int,
    *,
    demo: bool,
) -> SignResponse:
    api_key, passphrase = credential
    headers = {
        "ACCESS-KEY": api_key.reveal(),
        "ACCESS-SIGN": signature.value,
        "ACCESS-TIMESTAMP": str(timestamp),
        "ACCESS-PASSPHRASE": passphrase.reveal(),
        "Content-Type": "application/json",
        "locale": LOCALE,
        **({"paptrading": "1"} if demo else {}),
    }
    return SignResponse(
        method=wanted.method,
        target=wanted.target(),
        headers=[Header(name=name, value=value) for name, value in headers.items()],
        body=wanted.body,
        credential_version=head.credential_version,
        stamped_at_ms=timestamp,
    )
