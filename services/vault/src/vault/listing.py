"""Own the reading of many: pages of one tenant, records by their ids, and the ids of everybody."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from common.ids import BINDING_ID, TENANT_ID
from strongroom.types.v1.binding_pb2 import Binding

from vault.records import Records
from vault.store import Directory, Documents

BATCH: Final = 32  # records read at once for one call
CHUNK: Final = 1000  # ids in one message


class Listing:
    """Read records in numbers, and names without records."""

    def __init__(self, documents: Documents, directory: Directory) -> None:
        self._documents = documents
        self._directory = directory
        self._records = Records(documents)

    async def page(
        self, tenant: str, after: str, limit: int, keep: Callable[[Binding], bool]
    ) -> tuple[list[Binding], str]:
        """Return up to `limit` bindings after the id `after`, by id, and the next `after` (empty: the last page)."""
        names = [name for name in await self._documents.names(tenant, "bindings") if name > after]
        found: list[Binding] = []
        async for binding in self._read(tenant, names):
            if keep(binding):
                found.append(binding)
            if len(found) > limit:
                return found[:limit], found[limit - 1].id
        return found, ""

    async def names(self) -> AsyncIterator[tuple[str, list[str]]]:
        """Yield (tenant, up to CHUNK binding ids): tenant after tenant, ids in their order, revoked ones too.

        A tenant without any comes once, with none. An id may be without a record: a bind that never came to its end
        can leave its mark there.
        """
        for tenant in filter(TENANT_ID.fullmatch, await self._directory.tenants()):
            found = list(filter(BINDING_ID.fullmatch, await self._directory.names(tenant, "bindings")))
            for start in range(0, max(1, len(found)), CHUNK):
                yield tenant, found[start : start + CHUNK]

    async def many(self, tenant: str, names: Sequence[str]) -> list[Binding]:
        """Return the bindings of `names` in that order; names without a record are left out."""
        return [binding async for binding in self._read(tenant, names)]

    async def _read(self, tenant: str, names: Sequence[str]) -> AsyncIterator[Binding]:
        names = list(filter(BINDING_ID.fullmatch, names))
        for start in range(0, len(names), BATCH):
            wanted = names[start : start + BATCH]
            for slot in await asyncio.gather(*(self._records.slot(tenant, name) for name in wanted)):
                if slot.record:
                    yield slot.record.binding
