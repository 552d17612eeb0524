"""Own the rule that a tenant binds an exchange key once: one claim document for each keyed fingerprint.

A claim is free when its binding is revoked, or when it is old and its binding never came to be or holds another key.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from common.clock import Clock
from common.errors import AlreadyExists

from vault.records import Records
from vault.store import Documents, put, unavailable

# A bind must be over before its claim can be taken from it; `bindings.BIND_LIMIT_S` is shorter.
STALE_AFTER_S: Final = 60.0
WAIT_S: Final = 2.0
POLL_S: Final = 0.05  # at first, then twice as long each time: those who wait must not hold up whom they wait for
FREE: Final = {"binding_id": "", "claimed_at": 0}


class Claims:
    """Claim and release exchange keys of any tenant."""

    def __init__(self, documents: Documents, records: Records, clock: Clock) -> None:
        self._documents = documents
        self._records = records
        self._clock = clock

    async def take(self, tenant: str, fingerprint: str, binding_id: str) -> None:
        """Claim the key for `binding_id`; raise AlreadyExists naming the live binding that has it."""
        claim = {"binding_id": binding_id, "claimed_at": int(self._clock.unix())}
        cas = 0
        while await put(self._documents, tenant, "fp", fingerprint, claim, cas=cas) is None:
            found = await self._until_free(tenant, fingerprint, binding_id)
            if found is None:
                return
            cas = found

    async def give_back(self, tenant: str, fingerprint: str, binding_id: str) -> None:
        """Free the claim of a bind that was refused; one that is not `binding_id`'s stays."""
        found = await self._documents.read(tenant, "fp", fingerprint)
        if found and found.data and found.data["binding_id"] == binding_id:
            await put(self._documents, tenant, "fp", fingerprint, FREE, cas=found.version)

    async def dead(self, tenant: str, fingerprint: str, older_than_s: float) -> tuple[str, int] | None:
        """Return (binding, version) of a claim whose binding is revoked, or never came to be within `older_than_s`."""
        found = await self._documents.read(tenant, "fp", fingerprint)
        if found is None or not found.data or not found.data["binding_id"]:
            return None
        if await self._holder(tenant, fingerprint, found.data, older_than_s):
            return None
        return str(found.data["binding_id"]), found.version

    async def free(self, tenant: str, fingerprint: str, version: int) -> bool:
        """Free a claim that still has this version; return whether it did."""
        return await put(self._documents, tenant, "fp", fingerprint, FREE, cas=version) is not None

    async def release(self, tenant: str, fingerprint: str, binding_id: str) -> None:
        """Free the claim of a key that a binding has left. The record is read last: it may have claimed it again."""
        found = await self._documents.read(tenant, "fp", fingerprint)
        if found is None or not found.data or found.data["binding_id"] != binding_id:
            return
        record = await self._records.load(tenant, binding_id)
        if record.left is not None and fingerprint not in record.fingerprints:
            await put(self._documents, tenant, "fp", fingerprint, FREE, cas=found.version)

    async def _until_free(self, tenant: str, fingerprint: str, binding_id: str) -> int | None:
        """Return the version to take over, None when the claim is `binding_id`'s own and fresh.

        An own claim of an earlier try is renewed, so that it cannot become stale while this try is under way. A fresh
        claim of another without a record belongs to a bind under way: its record is awaited for WAIT_S.
        """
        deadline, pause = self._clock.monotonic() + WAIT_S, POLL_S
        while True:
            found = await self._documents.read(tenant, "fp", fingerprint)
            if found is None or not found.data or not found.data["binding_id"]:
                return found.version if found else 0
            if found.data["binding_id"] == binding_id:
                return None if self._fresh(found.data, STALE_AFTER_S / 2) else found.version
            holder = await self._holder(tenant, fingerprint, found.data, STALE_AFTER_S)
            if holder == "":
                return found.version
            if holder == "live":
                raise AlreadyExists(binding_id=found.data["binding_id"])
            if self._clock.monotonic() > deadline:
                raise unavailable("bind_in_progress")
            await asyncio.sleep(pause)
            pause *= 2

    async def _holder(self, tenant: str, fingerprint: str, claim: Mapping[str, Any], stale_after_s: float) -> str:
        """Return `live` for a claim whose living binding holds the key, `coming` for a fresh one before that, or ""."""
        record = (await self._records.slot(tenant, claim["binding_id"])).record
        if record is not None and (record.revoked or fingerprint in record.fingerprints):
            return "" if record.revoked else "live"
        return "coming" if self._fresh(claim, stale_after_s) else ""

    def _fresh(self, claim: Mapping[str, Any], limit_s: float) -> bool:
        return bool(self._clock.unix() < claim["claimed_at"] + limit_s)
