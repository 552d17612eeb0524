"""Own the heads of the audit trail: where it is, signed by a key in Vault, in the trail itself and kept apart in Vault.

Nothing waits for a head: while Vault does not answer, heads come late and actions go on. What was kept is compared
with the files before anything is written anew.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from common import logs
from common.clock import Clock, rfc3339, timestamp
from common.errors import StrongroomError
from common.trail import CLOSING, HEAD_WINDOW, ChainBroken, Head, Position

from vault import measures
from vault.audit import AuditLog
from vault.store import HeadKey, OwnDocuments, put_own, unavailable

T = TypeVar("T")
PERIOD_S: Final = 60.0
CLOSE_S: Final = 2.0  # a process has to end; the next one makes up for it
LIMIT_S: Final = 5.0  # of each of its steps; the next head comes anyway


class Heads:
    """Sign and keep where the trail is. `begin` before anything is written, `round` each second, `close` at the end."""

    def __init__(self, audit: AuditLog, key: HeadKey, own: OwnDocuments, clock: Clock) -> None:
        self._audit = audit
        self._key = key
        self._own = own
        self._clock = clock
        self._head = Position("", 0, "")  # the line of the newest head
        self._tried_at = clock.monotonic()

    async def begin(self) -> None:
        """Compare the trail with what was kept of it; raise ChainBroken when that is not in it, Unavailable."""
        end = self._audit.end
        found = await self._own.read("heads", end.instance)
        if found is None or found.data is None:
            return
        sequence, kept = int(found.data["sequence"]), str(found.data["hash"])
        if sequence > end.sequence:
            raise ChainBroken(
                f"the audit trail {end.instance} ends at line {end.sequence}, and line {sequence} was kept in Vault: "
                "its end is missing. Move its files to a safe place; a new chain begins then"
            )
        if self._audit.hash_of(sequence) not in ("", kept):
            raise ChainBroken(
                f"line {sequence} of the audit trail {end.instance} is not the one that was kept in Vault"
            )
        if sequence == end.sequence:
            self._head = end

    async def round(self) -> None:
        """Make a head when a file is to end, and when a minute is over and something was written since the last."""
        if self._audit.turn_due:
            await self._make(last=True)
        elif self._clock.monotonic() >= self._tried_at + PERIOD_S:
            await self._renew()

    async def close(self) -> None:
        """Make the last head of this process, if anything was written since the one before and Vault answers soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._renew()

    async def _renew(self) -> None:
        if self._audit.end.sequence > self._head.sequence:
            await self._make(last=False)

    async def _make(self, *, last: bool) -> None:
        """Make one head and keep it; what fails is logged, and the next one covers it. A file ends in any case."""
        self._tried_at = self._clock.monotonic()
        line = await self._tried(self._signed())
        if line or last:
            place = await self._tried(self._audit.append(line or {"action": CLOSING}, last=last))
            if line and place:
                self._head = place
                await self._tried(self._keep(place))

    async def _signed(self) -> dict[str, Any]:
        """Return the line of a head over what is on disk now."""
        end = self._audit.end
        head = Head(end.instance, end.sequence, end.hash, rfc3339(timestamp(self._clock.unix())))
        signature = await self._key.sign_head(head.message())
        if self._audit.end.sequence - end.sequence > HEAD_WINDOW // 2:
            raise unavailable("audit_head_overtaken")
        return head.line(signature.version, signature.value)

    async def _keep(self, place: Position) -> None:
        """Write into Vault where the trail was."""
        found = await self._own.read("heads", place.instance)
        version, known = (found.version, found.data or {}) if found else (0, {})
        data = {"sequence": place.sequence, "hash": place.hash, "time": rfc3339(timestamp(self._clock.unix()))}
        if known.get("sequence", 0) >= place.sequence:
            logs.get().error("audit_head_disputed")  # another process writes under our name
        elif await put_own(self._own, "heads", place.instance, data, cas=version) is None:
            raise unavailable("audit_head_overtaken")

    async def _tried(self, attempt: Awaitable[T]) -> T | None:
        try:
            async with asyncio.timeout(LIMIT_S):
                found = await attempt
            measures.HEADS.of("done").inc()
            return found
        except (StrongroomError, TimeoutError) as error:
            measures.HEADS.of("late").inc()
            logs.get().warning("audit_head_late", error=type(error).__name__)
            return None
