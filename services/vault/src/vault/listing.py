"""Own the reading of many records: pages of one tenant, and every binding of everybody."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from common.ids import BINDING_ID
from strongroom.types.v1.binding_pb2 import Binding

from vault.records import Records
from vault.store import Directory, Documents

BATCH: Final = 32  # records read at once for one call


async def page(
    documents: Documents, tenant: str, after: str, limit: int, keep: Callable[[Binding], bool]
) -> tuple[list[Binding], str]:
    """Return up to `limit` bindings after the id `after`, by id, and the next `after` (empty: the last page)."""
    names = [name for name in await documents.names(tenant, "bindings") if name > after]
    found: list[Binding] = []
    async for binding in _read(Records(documents), tenant, names):
        if keep(binding):
            found.append(binding)
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
    return found, ""


async def everything(documents: Documents, directory: Directory) -> AsyncIterator[Binding]:
    """Yield every binding of every tenant, revoked ones too."""
    records = Records(documents)
    for tenant in await directory.tenants():
        async for binding in _read(records, tenant, await directory.names(tenant, "bindings")):
            yield binding


async def _read(records: Records, tenant: str, names: list[str]) -> AsyncIterator[Binding]:
    names = [name for name in names if BINDING_ID.fullmatch(name)]
    for start in range(0, len(names), BATCH):
        slots = await asyncio.gather(*(records.slot(tenant, name) for name in names[start : start + BATCH]))
        for slot in slots:
            if slot.record:
                yield slot.record.binding
