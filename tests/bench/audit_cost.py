"""Own what the audit costs a signature: the same signer with its trail on the disk and in memory, and the bare fsync.

Everything but the network of gRPC is real: OpenBao, the signer, the trail. Run alone:
`python -m tests.bench.audit_cost`.
"""

import asyncio
import contextlib
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from cli import pki
from cli.openbao import OpenBao
from common.clock import SystemClock
from common.secret import Secret
from strongroom.types.v1.binding_pb2 import EXCHANGE_BITGET, KEY_TYPE_HMAC, SCOPE_SPOT
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import BindRequest, Credential
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import purposes
from vault.actor import Actor
from vault.asked import asked
from vault.audit import AuditLog
from vault.bindings import Bindings
from vault.days import Days
from vault.freezer import Freezer
from vault.hashicorp.directory import VaultDirectory
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue, OwnKeyValue
from vault.hashicorp.login import Connection, Logins, admin_client, signer_role
from vault.hashicorp.provision import Tenant, provision
from vault.hashicorp.transit import Transit
from vault.records import Records
from vault.room import Room
from vault.signer import Signer

from tests.bench import figures
from tests.bench.figures import Row

MEMORY = Path("/dev/shm")
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
LINE = b"x" * 600  # about what an intent has
AT_ONCE = (1, 16)
BATCH = 8
WARM_S = 0.5


@dataclass(frozen=True)
class Stage:
    """One OpenBao with one bound key, and who signs with it."""

    http: VaultHttp
    actor: Actor
    binding: str

    def signer(self, audit: AuditLog) -> Signer:
        """Return a signer whose trail is `audit`."""
        clock, own = SystemClock(), OwnKeyValue(self.http)
        keys, reading = Transit(self.http), KeyValue(self.http, signer_role)
        freezer = Freezer(own, Records(KeyValue(self.http)), audit, clock)
        return Signer(reading, keys, audit, purposes.load(), freezer=freezer, days=Days(own, clock), clock=clock)


async def measure(disk: Path, *, rounds: int = 3, seconds: float = 4.0) -> list[Row]:
    """Return the rows of the audit's cost; `disk` is a folder on the disk that the trail is to be measured on."""
    rates: dict[tuple[str, int, int], list[float]] = {}
    fsyncs: list[float] = []
    with tempfile.TemporaryDirectory(dir=disk) as home, tempfile.TemporaryDirectory(dir=MEMORY) as memory:
        async with _stage(Path(home)) as stage:
            for _ in range(rounds):
                fsyncs.append(_fsyncs(Path(home), seconds / 2))
                for at_once, batch in (*((one, 1) for one in AT_ONCE), (AT_ONCE[-1], BATCH)):
                    for place, folder in (("disk", home), ("memory", memory)):
                        rate = await _rate(stage, Path(folder, "audit"), at_once, batch, seconds)
                        rates.setdefault((place, at_once, batch), []).append(rate)
    rows = [_row(rates["disk", *kind], rates["memory", *kind], *kind) for _, *kind in rates if _ == "disk"]
    bare = [1000 / one for one in fsyncs]
    return [*rows, Row("one line written and fsynced, bare", figures.spread(bare, "ms", 2), "", "")]


def _row(disk: list[float], memory: list[float], at_once: int, batch: int) -> Row:
    """Compare both trails; the cost is what one signature takes longer, as seen by all who wait together."""
    cost = statistics.median(1e6 / one - 1e6 / other for one, other in zip(disk, memory, strict=True))
    what = f"signatures, {at_once} calls at once" if at_once > 1 else "signatures, one call after the other"
    what += f" of {batch} each" if batch > 1 else ""
    result = f"{figures.ratio(disk, memory)[1]}; {cost:,.0f} µs a signature"
    return Row(what, figures.spread(disk, "/s", 0), figures.spread(memory, "/s", 0), result)


async def _rate(stage: Stage, folder: Path, at_once: int, batch: int, seconds: float) -> float:
    """Return the signatures in a second."""
    audit = AuditLog(folder, SystemClock())
    audit.start()
    signer, request = stage.signer(audit), SignRequest(binding_id=stage.binding, requests=[INFO] * batch)
    begin = time.monotonic() + WARM_S
    count = 0

    async def sign() -> None:
        nonlocal count
        while (now := time.monotonic()) < begin + seconds or not count:  # one at least, however slow the machine is
            await signer.sign(stage.actor, request)
            count += batch if now >= begin else 0

    try:
        await asyncio.gather(*(sign() for _ in range(at_once)))
        return count / (time.monotonic() - begin)
    finally:
        await audit.stop()


def _fsyncs(folder: Path, seconds: float) -> float:
    """Return how many lines a second can be appended and fsynced one by one."""
    opened = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + seconds or not count:
        os.write(opened, LINE)
        os.fsync(opened)
        count += 1
    os.close(opened)
    return count / (time.monotonic() - begin)


@contextlib.asynccontextmanager
async def _stage(home: Path) -> AsyncIterator[Stage]:
    tenant, clock = secrets.token_hex(13), SystemClock()
    with _openbao(home, tenant) as (connection, login_key):
        async with VaultHttp(connection, Logins(connection, login_key, clock)) as http:
            audit = AuditLog(home / "of-the-bind", clock)
            audit.start()
            room = Room(OwnKeyValue(http), Records(KeyValue(http)), VaultDirectory(http), clock)
            bindings = Bindings(KeyValue(http), OwnKeyValue(http), Transit(http), audit, clock, room=room)
            actor = Actor(tenant, "worker")
            made, _ = await bindings.bind(actor, asked(tenant, _request()))
            await audit.stop()
            yield Stage(http, actor, made.id)


@contextlib.contextmanager
def _openbao(home: Path, tenant: str) -> Iterator[tuple[Connection, Path]]:
    private, public = pki.ensure_login_key(home / "login")
    with OpenBao(home / "openbao") as bao:
        connection = Connection(bao.url)
        admin = admin_client(connection, Secret(bao.root_token))
        provision(admin, public.read_text(), [Tenant(tenant, "Bench")], lambda _: None)
        admin.adapter.close()
        yield connection, private


def _request() -> BindRequest:
    credential = Credential(
        key_type=KEY_TYPE_HMAC,
        api_key=f"bg_{secrets.token_hex(16)}",
        secret_key=secrets.token_hex(32),
        passphrase="Passphrase01",
    )
    return BindRequest(
        idempotency_key=secrets.token_hex(8), exchange=EXCHANGE_BITGET, scopes=[SCOPE_SPOT], credential=credential
    )


if __name__ == "__main__":
    sys.stdout.write(figures.machine() + "\n\n" + figures.markdown(uvloop.run(measure(Path.cwd()))) + "\n")
