"""Own the documents: KV v2 under the mount `strongroom`, every write with check-and-set.

A tenant's documents are reached with that tenant's token alone, the service's own with the service's; the paths are
built from checked ids.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from vault.hashicorp.http import Answer, VaultHttp, outcome, read
from vault.hashicorp.login import SERVICE, Role, tenant_role
from vault.store import Applied, Collection, Document, Outcome, OwnCollection

MOUNT: Final = "strongroom"


class KeyValue:
    """The port's `Documents` on Vault; `role_of` names the identity of a tenant, which decides what can be done."""

    def __init__(self, http: VaultHttp, role_of: Callable[[str], Role] = tenant_role) -> None:
        self._http = http
        self._role_of = role_of

    async def read(self, tenant: str, collection: Collection, name: str) -> Document | None:
        """Return the newest version, or None when there never was one."""
        return await _newest(self._http, self._role_of(tenant), collection, tenant, name)

    async def write(
        self, tenant: str, collection: Collection, name: str, data: Mapping[str, Any], cas: int
    ) -> Outcome[int]:
        """Write version `cas` + 1, if `cas` is the current one (0: none)."""
        return await _next(self._http, self._role_of(tenant), data, cas, collection, tenant, name)

    async def destroy(
        self, tenant: str, collection: Collection, name: str, *, keep_newest: bool = False
    ) -> Outcome[None]:
        """Destroy every version, or all but the newest; the version numbers stay used."""
        role = self._role_of(tenant)
        metadata = read(await self._http.call(role, "GET", MOUNT, "metadata", collection, tenant, name, pure=True))
        versions = metadata.data["versions"] if metadata else {}
        newest = int(metadata.data["current_version"]) if metadata and keep_newest else 0
        left = [int(number) for number, version in versions.items() if not version["destroyed"]]
        left = [number for number in left if number != newest]
        if not left:
            return Applied(None)
        segments = (MOUNT, "destroy", collection, tenant, name)
        return outcome(await self._http.call(role, "PUT", *segments, body={"versions": left}), None)

    async def names(self, tenant: str, collection: Collection) -> list[str]:
        """Return the names of the tenant's documents, sorted."""
        return listed(
            read(await self._http.call(self._role_of(tenant), "LIST", MOUNT, "metadata", collection, tenant, pure=True))
        )


class OwnKeyValue:
    """The port's `OwnDocuments` on Vault."""

    def __init__(self, http: VaultHttp) -> None:
        self._http = http

    async def read(self, collection: OwnCollection, name: str) -> Document | None:
        """Return the newest version, or None when there never was one."""
        return await _newest(self._http, SERVICE, collection, name)

    async def write(self, collection: OwnCollection, name: str, data: Mapping[str, Any], cas: int) -> Outcome[int]:
        """Write version `cas` + 1, if `cas` is the current one (0: none)."""
        return await _next(self._http, SERVICE, data, cas, collection, name)

    async def names(self, collection: Literal["revocations"]) -> list[str]:
        """Return the names of a collection's documents, sorted; the service may list this one only."""
        return listed(read(await self._http.call(SERVICE, "LIST", MOUNT, "metadata", collection, pure=True)))


async def _newest(http: VaultHttp, role: Role, *segments: str) -> Document | None:
    answer = await http.call(role, "GET", MOUNT, "data", *segments, pure=True)
    found = read(answer)
    if found is None and isinstance(answer, Answer) and answer.data:
        found = answer  # a destroyed version answers 404 with its metadata
    return Document(found.data["data"], int(found.data["metadata"]["version"])) if found else None


async def _next(http: VaultHttp, role: Role, data: Mapping[str, Any], cas: int, *segments: str) -> Outcome[int]:
    body = {"data": dict(data), "options": {"cas": cas}}
    return outcome(await http.call(role, "POST", MOUNT, "data", *segments, body=body), cas + 1)


def listed(answer: Answer | None) -> list[str]:
    """Return the names of a LIST, sorted; folders, which end in a slash, are left out."""
    return sorted(name for name in (answer.data["keys"] if answer else ()) if not name.endswith("/"))
