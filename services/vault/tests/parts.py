"""The service's parts on one real OpenBao, as the service itself puts them together, with a clock that a test moves."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common.clock import SystemClock
from vault import purposes
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.days import Days
from vault.enrolment import Enrolments
from vault.freezer import Freezer
from vault.hashicorp.directory import VaultDirectory
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue, OwnKeyValue
from vault.hashicorp.login import Connection, Logins, signer_role
from vault.hashicorp.transit import Transit
from vault.listing import Listing
from vault.reconcile import Reconciler
from vault.records import Records
from vault.registry import Registry
from vault.revocations import Revocations
from vault.room import Room
from vault.rotation import Rotations
from vault.settlement import Settlements
from vault.signer import Signer
from vault.update import Updates


class TestClock(SystemClock):
    """The system's clock, which a test can move forward, and stop: then it alone moves it."""

    __test__ = False

    def __init__(self) -> None:
        self.ahead = 0.0
        self._stopped: tuple[float, float] | None = None

    def stop(self) -> None:
        self._stopped = super().unix(), super().monotonic()

    def unix(self) -> float:
        return (self._stopped[0] if self._stopped else super().unix()) + self.ahead

    def monotonic(self) -> float:
        return (self._stopped[1] if self._stopped else super().monotonic()) + self.ahead


class SteadyClock(SystemClock):
    """A clock for logins, whose life of a token a test can shorten; its date is right, for Vault looks at it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


@dataclass
class Parts:
    """The service's parts on one connection to Vault."""

    http: VaultHttp
    documents: KeyValue
    own: OwnKeyValue
    keys: Transit
    directory: VaultDirectory
    audit: AuditLog
    audit_file: Path  # there is nothing in it before the first line
    room: Room
    bindings: Bindings
    rotations: Rotations
    settlements: Settlements
    updates: Updates
    enrolments: Enrolments
    registry: Registry
    listing: Listing
    signer: Signer
    freezer: Freezer
    revocations: Revocations
    reconciler: Reconciler


class OneTenant(VaultDirectory):
    """The directory cut down to one tenant: what other tests left is not this test's business."""

    def __init__(self, whole: VaultDirectory, tenant: str) -> None:
        self._whole, self._tenant = whole, tenant
        self.names = whole.names  # type: ignore[method-assign]

    async def tenants(self) -> list[str]:
        return [tenant for tenant in await self._whole.tenants() if tenant == self._tenant]

    async def keys(self) -> list[tuple[str, str]]:
        return [key for key in await self._whole.keys() if key[0] == self._tenant]


@dataclass
class Maker:
    """Make the parts, on any connection; what it made is closed after the test."""

    server: Any  # the Server of conftest.py
    tenant: str
    folder: Path
    clock: TestClock
    login_clock: SteadyClock
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    made: list[Parts] = field(default_factory=list)

    async def __call__(
        self, connection: Connection | None = None, *, steps: Any = None, login_clock: Any = None
    ) -> Parts:
        connection = connection or self.server.connection
        http = VaultHttp(connection, Logins(connection, self.server.login_key, login_clock or self.login_clock))
        await http.__aenter__()
        audit = AuditLog(self.folder / f"audit-{next(self.numbers)}", self.clock)
        audit.start()
        documents, own, keys, directory = KeyValue(http), OwnKeyValue(http), Transit(http), VaultDirectory(http)
        room = Room(own, Records(documents), directory, self.clock)
        bindings = Bindings(documents, own, keys, audit, self.clock, room=room, steps=steps)
        enrolments = Enrolments(documents, own, audit)
        freezer, days = Freezer(own, bindings.records, audit, self.clock), Days(own, self.clock)
        common: dict[str, Any] = {"documents": documents, "audit": audit, "clock": self.clock}
        writing: dict[str, Any] = {"bindings": bindings, "keys": keys, "steps": steps, **common}
        settlements = Settlements(**writing)
        one_tenant = OneTenant(directory, self.tenant)
        parts = Parts(
            http,
            documents,
            own,
            keys,
            directory,
            audit,
            audit.path,
            room,
            bindings,
            Rotations(settlements=settlements, **writing),
            settlements,
            Updates(bindings.records, audit, self.clock),
            enrolments,
            Registry(own, self.clock),
            Listing(documents, directory),
            Signer(
                KeyValue(http, signer_role), keys, audit, purposes.load(), freezer=freezer, days=days, clock=self.clock
            ),
            freezer,
            Revocations(bindings, enrolments, documents, own, audit, clock=self.clock, steps=steps),
            Reconciler(bindings=bindings, settlements=settlements, directory=one_tenant, room=room, **common),
        )
        self.made.append(parts)
        return parts
