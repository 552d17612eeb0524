"""Own what is known of the tenants: one document for each, read again when it is a second old.

Who is not registered is no tenant, whatever a token says. What is older than the limit is never used: a decision of the
registry holds everywhere after that time, or nothing is done.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from common import logs
from common.clock import Clock
from common.errors import PermissionDenied

from vault import quotas
from vault.quotas import Quotas, quotas_of
from vault.rules import UNREADABLE, USUAL, Rules, rules_of
from vault.store import OwnDocuments

T = TypeVar("T")
FRESH_S: Final = 1.0
AHEAD_S: Final = FRESH_S / 2  # who is asked for all the time is read again before anybody has to wait
CACHED_TENANTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Registered:
    """One tenant as the registry has it; without rules or quotas of its own the usual ones hold.

    `request_digest` and `created_ms` (0: not known) are of the call that made it.
    """

    name: str
    own_rules: Rules | None = None
    own_quotas: Quotas | None = None
    disabled: bool = False
    created_ms: int = 0
    request_digest: str = ""

    @property
    def rules(self) -> Rules:
        """What holds for its bindings."""
        return self.own_rules or USUAL

    @property
    def quotas(self) -> Quotas:
        """How much it may ask."""
        return self.own_quotas or quotas.USUAL

    def document(self) -> dict[str, Any]:
        """Return what the registry keeps."""
        parts = {
            "rules": self.own_rules.document() if self.own_rules else None,
            "quotas": self.own_quotas.document() if self.own_quotas else None,
            "disabled": self.disabled or None,
            "created_ms": self.created_ms or None,
            "request_digest": self.request_digest or None,
        }
        return {"name": self.name, **{name: part for name, part in parts.items() if part is not None}}


class Registry:
    """The registered tenants, each at most FRESH_S old."""

    def __init__(self, own: OwnDocuments, clock: Clock) -> None:
        self._own = own
        self._clock = clock
        self._known: dict[str, tuple[float, Registered | None]] = {}
        self._reading: dict[str, asyncio.Task[Registered | None]] = {}

    async def tenant(self, tenant: str) -> Registered:
        """Return what is registered of a tenant.

        Raises PermissionDenied for one that is not, Unavailable when it cannot be known.
        """
        known = self._known.get(tenant)
        age = self._clock.monotonic() - known[0] if known else FRESH_S
        reading = self._read_once(tenant) if age >= AHEAD_S else None
        found = known[1] if known and age < FRESH_S else await asyncio.shield(reading or self._read_once(tenant))
        if found is None:
            raise PermissionDenied("not_provisioned", "This tenant is not registered.")
        return found

    def _read_once(self, tenant: str) -> "asyncio.Task[Registered | None]":
        """Return the reading of a tenant that is under way, or begin one."""
        reading = self._reading.get(tenant)
        if reading is None:
            reading = self._reading[tenant] = asyncio.create_task(self._read(tenant))
            reading.add_done_callback(lambda done: self._ended(tenant, done))
        return reading

    def _ended(self, tenant: str, reading: "asyncio.Task[Registered | None]") -> None:
        """Forget a reading; a failed one that nobody waited for is tried again when somebody does."""
        del self._reading[tenant]
        if not reading.cancelled():
            reading.exception()

    async def _read(self, tenant: str) -> Registered | None:
        began = self._clock.monotonic()
        document = await self._own.read("tenants", tenant)
        found = registered(tenant, document.data) if document and document.data is not None else None
        if len(self._known) >= CACHED_TENANTS:
            self._known.clear()
        self._known[tenant] = (began, found)
        return found


def registered(tenant: str, data: Mapping[str, Any]) -> Registered:
    """Return a registry document's content. A part that nobody can read is told: quotas count as no decision, and
    rules deny everything to callers, for they may have denied anything.

    Only what was never disabled, or is enabled again, says nothing about it.
    """
    return Registered(
        name=str(data.get("name", "")),
        own_rules=_read(tenant, "rules", data, rules_of, UNREADABLE),
        own_quotas=_read(tenant, "quotas", data, quotas_of, None),
        disabled="disabled" in data,
        created_ms=int(data.get("created_ms", 0)),
        request_digest=str(data.get("request_digest", "")),
    )


def _read(
    tenant: str, name: str, data: Mapping[str, Any], read: Callable[[object], T], unreadable: T | None
) -> T | None:
    try:
        return read(data[name]) if name in data else None
    except ValueError:
        logs.get().error(f"tenant_{name}_unreadable", tenant=tenant)
        return unreadable
