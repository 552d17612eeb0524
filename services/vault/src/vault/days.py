"""Own what the orders of a tenant are worth that were signed on one day: counted in Vault before the signature.

It counts what is about to be signed, not what is traded, and gives nothing back: nobody here can know that the exchange
never got an order. All processes count in one document, by check-and-set, so together they never exceed a cap.
"""

import asyncio
import random
import secrets
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any, Final

from common import logs
from common.clock import Clock

from vault.canonical import refuse
from vault.gathering import over
from vault.store import OwnDocuments, put_own, unavailable

ATTEMPTS: Final = 20
PAUSE_S: Final = 0.02  # after a write that another process was ahead of, longer each time
KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class Day:
    """What is counted of a day, in units, as version `version` of the tenant's document says."""

    day: date
    counted: int
    version: int

    def on(self, today: date) -> "Day":
        """Return it as it stands today: a later day begins at nothing, and none ever begins again."""
        return self if today <= self.day else Day(today, 0, self.version)

    def document(self) -> dict[str, Any]:
        """Return what Vault keeps; `write` tells one process's write from another's of the same sum."""
        return {"day": self.day.isoformat(), "counted": str(self.counted), "write": secrets.token_hex(8)}


@dataclass(frozen=True, slots=True)
class Wanted:
    """An amount that is to be counted if the day's sum stays within `cap`, and who waits for whether it is."""

    amount: int
    cap: int
    counted: "asyncio.Future[bool]"


class Days:
    """Count amounts, those that come while a write is under way in the next one together."""

    def __init__(self, own: OwnDocuments, clock: Clock) -> None:
        self._own = own
        self._clock = clock
        self._waiting: dict[str, list[Wanted]] = {}
        self._known: dict[str, Day] = {}

    async def count(self, tenant: str, amount: int, cap: int) -> None:
        """Count `amount` on a tenant's day (UTC), in units.

        Raises PolicyRefused, and counts nothing, when the day would be above `cap`; Unavailable when it may or may not
        have been counted.
        """
        wanted = Wanted(amount, cap, asyncio.get_running_loop().create_future())
        if tenant in self._waiting:
            self._waiting[tenant].append(wanted)
        else:
            self._waiting[tenant] = [wanted]
            # In a context of its own: neither the first caller's deadline nor its going away is that of the others.
            asyncio.create_task(self._writes(tenant), context=Context()).add_done_callback(over)
        if not await wanted.counted:
            raise refuse("tenant_daily_notional")

    async def _writes(self, tenant: str) -> None:
        """Write until nobody waits for this tenant."""
        while self._waiting[tenant]:
            group, self._waiting[tenant] = self._waiting[tenant], []
            group = [one for one in group if not one.counted.done()]  # whoever waited may be gone
            try:
                fitting = await self._together(tenant, group)
            except Exception as error:  # noqa: BLE001  whoever waits gets it
                outcomes: list[bool | Exception] = [error] * len(group)
            else:
                outcomes = [one in fitting for one in group]
            for one, outcome in zip(group, outcomes, strict=True):
                _tell(one.counted, outcome)
        del self._waiting[tenant]

    async def _together(self, tenant: str, group: Sequence[Wanted]) -> list[Wanted]:
        """Count those of a group that fit, in their order, and return them once that is durable."""
        known = self._known.get(tenant)
        for attempt in range(ATTEMPTS):
            found = known or await self._read(tenant)
            before = found.on(datetime.fromtimestamp(self._clock.unix(), UTC).date())
            after, fitting = _fitting(before, group)
            if not fitting:  # also by a sum of a moment ago: a day's only grows
                return []
            version = await put_own(self._own, "days", tenant, after.document(), cas=before.version)
            if version is not None:
                self._keep(tenant, replace(after, version=version))
                return fitting
            known = None
            await asyncio.sleep(PAUSE_S * random.uniform(0, attempt + 1))  # noqa: S311  not a secret
        raise unavailable("day_contended")

    async def _read(self, tenant: str) -> Day:
        document = await self._own.read("days", tenant)
        if document is None or document.data is None:
            return Day(date.min, 0, document.version if document else 0)
        return _day(tenant, document.data, document.version)

    def _keep(self, tenant: str, day: Day) -> None:
        if len(self._known) >= KEPT:
            self._known.clear()
        self._known[tenant] = day


def _fitting(before: Day, group: Sequence[Wanted]) -> tuple[Day, list[Wanted]]:
    """Return the day after those of a group that fit, in their order, and these."""
    sum_, fitting = before.counted, []
    for one in group:
        if sum_ + one.amount <= one.cap:
            sum_ += one.amount
            fitting.append(one)
    return replace(before, counted=sum_), fitting


def _day(tenant: str, data: Mapping[str, Any], version: int) -> Day:
    """Return a document's content; raise Unavailable for one that nobody can read, for it may be full."""
    try:
        return Day(date.fromisoformat(data["day"]), int(data["counted"]), version)
    except (KeyError, TypeError, ValueError):
        logs.get().error("tenant_day_unreadable", tenant=tenant)
        raise unavailable("day_unreadable") from None


def _tell(waiting: "asyncio.Future[bool]", outcome: bool | Exception) -> None:
    if waiting.done():
        return
    if isinstance(outcome, Exception):
        waiting.set_exception(outcome)
    else:
        waiting.set_result(outcome)
