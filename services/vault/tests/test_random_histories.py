"""Several customers of two tenants act at once while the service is killed and its way to Vault cut, by a seed.

Afterwards the checkers of histories find nothing, and Vault holds one record and one key for each living binding. The
same rig reports each fault that is planted behind the service's back. A seed decides what is tried, not how it
interleaves.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from strongroom.vault.v1 import binding_store_pb2 as store
from vault.asked import asked
from vault.claims import FREE
from vault.store import Applied

from services.vault.tests.aftermath import audited, left_over, settle
from services.vault.tests.customers import Customer, Tenant, Ways
from services.vault.tests.lives import Lives, Nemesis
from services.vault.tests.parts import Maker
from tests.cluster.wire import Network, Wire
from tests.history import History, figures

EACH = 3  # customers of each tenant
FRESH = secrets.randbits(32)


@dataclass
class Rig:
    """Two tenants and their customers, a service that can be killed, and the way to Vault."""

    lives: Lives
    wire: Wire
    tenants: list[Tenant]
    customers: list[Customer]
    history: History
    parts: list[Any]
    ways: Ways
    clock: Any

    async def work(self, enough: Callable[[], bool]) -> None:
        """Let everybody act until it is enough."""
        stopping = asyncio.Event()
        acting = [asyncio.create_task(one.go_on(stopping)) for one in self.customers]
        while not enough() and not any(one.done() for one in acting):
            await asyncio.sleep(0.05)
        stopping.set()
        await asyncio.gather(*acting)

    async def settle(self) -> None:
        """Let everything come to rest."""
        for tenant, customer, parts in zip(self.tenants, self.customers, self.parts, strict=False):
            await settle(self.ways, tenant, customer, self.history, parts, self.clock)

    async def faults(self) -> list[str]:
        """Return all that is wrong."""
        left = [await left_over(*pair) for pair in zip(self.tenants, self.parts, strict=True)]
        told = [fault for one in self.customers for fault in one.faults]
        return [*told, *self.history.check(), *(fault for some in left for fault in some), *self.audited()]

    def audited(self) -> list[str]:
        return audited(self.lives, self.history)

    def succeeded(self) -> int:
        return sum(op.outcome == "ok" for op in self.history.ops)

    def acknowledged(self, kind: Any) -> int:
        return len(self.history.of(kind))


@contextlib.asynccontextmanager
async def rig_on(server: Any, folder: Path, clock: Any, login_clock: Any, seed: int) -> AsyncIterator[Rig]:
    """Set everything up; nobody acts yet."""
    async with contextlib.AsyncExitStack() as stack:
        network = stack.enter_context(Network())
        wire = stack.enter_context(Wire(network, server.bao.port))
        lives = stack.enter_context(Lives(folder, wire.url, server.login_key))
        ways = await stack.enter_async_context(Ways(lives))
        tenants, parts, history = [], [], History()
        for _ in range(2):
            name = server.tenant()
            tenants.append(Tenant(name, ways.bearer(name)))
            home = folder / name
            home.mkdir()
            made = await Maker(server, name, home, clock, login_clock)()
            stack.push_async_callback(made.audit.stop)
            stack.push_async_callback(made.http.__aexit__)
            parts.append(made)
        customers = [
            Customer(ways, tenant, tenants, history, f"{seed} {number} {place}")
            for number in range(EACH)
            for place, tenant in enumerate(tenants)
        ]
        yield Rig(lives, wire, tenants, customers, history, parts, ways, clock)


@pytest.fixture
def rig(server: Any, tmp_path: Path, clock: Any, login_clock: Any) -> Callable[..., Any]:
    return lambda seed: rig_on(server, tmp_path, clock, login_clock, seed)


@pytest.mark.bar(31)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    ("seed", "deaths"),
    [(1, 5), *(pytest.param(seed, 60, marks=pytest.mark.drill) for seed in (2, 3, 4, FRESH))],
    ids=lambda value: "fresh" if value == FRESH else None,
)
async def test_whatever_is_killed_and_cut_nothing_acknowledged_is_lost_late_doubled_or_foreign(
    rig: Callable[..., Any], server: Any, seed: int, deaths: int
) -> None:
    print(f"seed {seed}")
    async with rig(seed) as made:
        nemesis = Nemesis(made.lives, made.wire, server.bao, seed, done_so_far=made.succeeded, restarts=deaths > 10)

        def enough() -> bool:
            each = all(made.acknowledged(kind) for kind in ("bind", "read", "sign", "rotate", "revoke"))
            return each and made.lives.kills >= deaths / 4 and made.lives.kills + made.lives.deaths.total() >= deaths

        done = asyncio.Event()

        async def torment() -> None:
            try:
                await nemesis.torment(enough)
            finally:
                done.set()

        tormenting = asyncio.create_task(torment())
        await made.work(done.is_set)
        await tormenting
        await made.settle()
        print(f"killed {made.lives.kills}, at steps {dict(made.lives.deaths)}, harms {dict(nemesis.done)}")
        print(figures(made.history))
        assert await made.faults() == [], f"seed {seed}"


async def test_faults_that_are_planted_behind_the_services_back_are_reported_by_name(
    rig: Callable[..., Any], server: Any
) -> None:
    async with rig(7) as made:
        made.lives.begin()
        await made.work(lambda: made.acknowledged("bind") >= 30 and made.acknowledged("sign") >= 30)
        plant = Plant(made, server.admin)
        planted = [
            ("foreign", await plant.foreign()),
            ("late", await plant.late()),
            ("doubled", await plant.doubled()),
            ("lost", await plant.lost()),  # the last: whoever asked for the same bind again would bring it back
        ]
        await made.settle()
        planted += [("orphan", plant.orphan()), ("audit", plant.edited())]
        found = await made.faults()
        for kind, name in planted:
            assert any(line.startswith(f"{kind}: ") and name in line for line in found), (kind, name, found)
        assert {line.partition(":")[0] for line in found} == {kind for kind, _ in planted}


class Plant:
    """Somebody with rights at Vault that no service has. Each fault returns what its report must name."""

    def __init__(self, rig: Rig, admin: Any) -> None:
        self._rig, self._admin = rig, admin
        self._tenant, self._customer, self._parts = rig.tenants[0], rig.customers[0], rig.parts[0]

    async def _fresh(self) -> Any:
        """Bind something that was never asked for before, and return its record."""
        before = set(self._tenant.asked)
        while (record := await self._last()).binding.id in before or record.revoked:
            await self._customer.bind()
        return record

    async def _last(self) -> Any:
        bound = [op for op in self._rig.history.of("bind") if op.tenant == self._tenant.id]
        return await self._parts.bindings.records.load(self._tenant.id, bound[-1].binding)

    async def lost(self) -> str:
        """Remove the record of an acknowledged binding."""
        name = (await self._fresh()).binding.id
        self._admin.delete(f"strongroom/metadata/bindings/{self._tenant.id}/{name}")
        return str(name)

    async def foreign(self) -> str:
        """Put another tenant's value into a record."""
        record = await self._fresh()
        other = record.binding
        other.label = self._rig.tenants[1].id
        assert await self._parts.bindings.records.save(record, other.revision)
        return str(other.label)

    async def late(self) -> str:
        """Bring everything of a binding back after its revocation was acknowledged."""
        record = await self._fresh()
        name, tenant = record.binding.id, self._tenant.id
        kept = {
            collection: await self._parts.documents.read(tenant, collection, name)
            for collection in ("bindings", "credentials")
        }
        with self._rig.history.op("revoke", tenant, name) as op:
            request = store.RevokeRequest(binding_id=name)
            await self._customer._told(op, self._rig.ways.store.Revoke, request, authorization=self._tenant.bearer)
        assert op.outcome == "ok"
        material = asked(tenant, self._tenant.asked[name]).material
        assert isinstance(await self._parts.keys.import_key(tenant, name, material), Applied)
        for collection, document in kept.items():
            now = await self._parts.documents.read(tenant, collection, name)
            written = await self._parts.documents.write(tenant, collection, name, document.data, now.version)
            assert isinstance(written, Applied)
        return str(name)

    async def doubled(self) -> str:
        """Free the claim of a key that is bound, and bind it once more."""
        record = await self._fresh()
        claim = await self._parts.documents.read(self._tenant.id, "fp", record.fingerprint)
        freed = await self._parts.documents.write(self._tenant.id, "fp", record.fingerprint, FREE, claim.version)
        assert isinstance(freed, Applied)
        again = store.BindRequest()
        again.CopyFrom(self._tenant.asked[record.binding.id])
        again.idempotency_key = secrets.token_hex(8)
        made = asked(self._tenant.id, again)
        self._tenant.asked[made.binding_id] = again
        with self._rig.history.op("bind", self._tenant.id, made.binding_id, again.credential.api_key) as op:
            await self._customer._told(op, self._rig.ways.store.Bind, again, authorization=self._tenant.bearer)
        assert op.outcome == "ok"
        return str(made.binding_id)

    def orphan(self) -> str:
        """Make a signing key that no record knows."""
        name = secrets.token_hex(16)
        self._admin.write_data(f"transit/keys/{self._tenant.id}.{name}", data={"type": "hmac", "key_size": 32})
        return name

    def edited(self) -> str:
        """Take one line out of the audit trail."""
        [file, *_] = sorted(self._rig.lives.audit_folder.glob("*.jsonl"))
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join([*lines[:50], *lines[51:]]))
        return file.name
