"""What must be so once everything has come to rest: each thing asked for is settled, nothing is left over in Vault."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from common import trail
from common.errors import StrongroomError
from common.rpc.client import call
from common.trail_check import Check
from strongroom.types.v1.binding_pb2 import ROTATION_STATE_VERIFYING
from strongroom.vault.v1 import revocations_pb2 as bulk
from vault.reconcile import ORPHAN_AGE_S, SLICES

from services.vault.tests.customers import Customer, Tenant, Ways
from tests.history import History, Op

REST_S = 240  # no bound of ours: a busy machine may take its time to start everything again
AT_ONCE = 8


async def settle(ways: Ways, tenant: Tenant, customer: Customer, history: History, parts: Any, clock: Any) -> None:
    """Wait for what was ordered, give up what nobody finishes, and have the reconciler see all twice, an hour apart."""
    for order, when in tenant.orders.values():
        done = await _carried_out(ways, order)
        history.ops += [
            Op("revoke", tenant.id, name, invoked=when, ended=time.monotonic(), outcome="ok")
            for name in done.binding_ids
        ]
    for name in tenant.asked:
        record = (await parts.bindings.records.slot(tenant.id, name)).record
        if record and record.staged and record.staged.version and not record.revoked:
            assert record.binding.rotation.state == ROTATION_STATE_VERIFYING
            await _surely(customer.abandon, name, record.staged.version)
    await parts.reconciler.round()
    clock.ahead += ORPHAN_AGE_S + 1
    for _ in range(SLICES):  # what was too young at the first look, a slice finds
        await parts.reconciler.round()
    names = list(tenant.asked)
    for some in (names[start : start + AT_ONCE] for start in range(0, len(names), AT_ONCE)):
        await asyncio.gather(*(_surely(look, name) for name in some for look in (customer.read, customer.sign)))


async def _surely(act: Callable[..., Awaitable[Op]], *arguments: Any) -> None:
    """Repeat something until it is known what became of it: the service may only just be starting."""
    async with asyncio.timeout(REST_S):
        while (await act(*arguments)).outcome == "info":
            await asyncio.sleep(0.2)


async def _carried_out(ways: Ways, order: bulk.RevokeManyRequest) -> bulk.Revocation:
    """Repeat an order until it is taken, and wait until it is done."""
    async with asyncio.timeout(REST_S):
        while True:
            try:
                taken = await call(ways.bulk.RevokeMany, order, timeout_s=5, authorization=ways.operator)
                look = bulk.DescribeRevocationRequest(revocation_id=taken.revocation.id)
                told = await call(ways.bulk.DescribeRevocation, look, timeout_s=5, authorization=ways.operator)
            except StrongroomError:
                await asyncio.sleep(0.2)
                continue
            if told.revocation.state == bulk.REVOCATION_STATE_DONE:
                return told.revocation
            await asyncio.sleep(0.1)


async def left_over(tenant: Tenant, parts: Any) -> list[str]:
    """Return what is wrong with what Vault keeps of a tenant: one record each, one key for each living one."""
    faults, living = [], list[str]()
    keys = {name for owner, name in await parts.directory.keys() if owner == tenant.id}
    names = await parts.documents.names(tenant.id, "bindings")
    faults += [f"unasked: {name}" for name in set(names) - set(tenant.asked)]
    for name in names:
        record = (await parts.bindings.records.slot(tenant.id, name)).record
        document = await parts.documents.read(tenant.id, "credentials", name)
        held = sorted(document.data["versions"]) if document and document.data else []
        wanted = [str(record.binding.credential.version)] if record and not record.revoked else []
        if held != wanted:
            faults.append(f"credential: {name} has the versions {held}, not {wanted}")
        if record and not record.revoked:
            living += [name]
            faults += [f"unfinished: {name}"] if record.staged or record.left is not None else []
            faults += [] if name in keys else [f"keyless: {name} lives without a key"]
    faults += [f"orphan: the key {name} belongs to no living binding" for name in keys - set(living)]
    records = [(await parts.bindings.records.load(tenant.id, name)) for name in living]
    held_by = Counter(record.fingerprint for record in records)
    return faults + [f"doubled: {count} living bindings hold one key" for count in held_by.values() if count > 1]


def audited(lives: Any, history: History) -> list[str]:
    """Return what is wrong with the audit trail that all the lives left: its chain, and a line for each signature."""
    check = Check([file.path for file in trail.files_of(lives.audit_folder)])
    lines = [dict(line.fields) for line in check.read()]
    intents = Counter(
        line["binding"] for line in lines if (line.get("phase"), line.get("action")) == ("intent", "sign")
    )
    signed = Counter(op.binding for op in history.of("sign"))
    missing = [name for name, count in signed.items() if intents[name] < count]
    return [f"audit: {fault}" for fault in check.faults] + [f"audit: {name} was signed unseen" for name in missing]
