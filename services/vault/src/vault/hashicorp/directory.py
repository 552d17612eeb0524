"""Own the listing across tenants, with an identity that can list names and read nothing."""

from vault.hashicorp.http import VaultHttp, read
from vault.hashicorp.kv import MOUNT, listed
from vault.hashicorp.login import RECONCILER
from vault.hashicorp.transit import TRANSIT
from vault.store import Collection


class VaultDirectory:
    """The port's `Directory` on Vault."""

    def __init__(self, http: VaultHttp) -> None:
        self._http = http

    async def tenants(self) -> list[str]:
        """Return the ids of the registered tenants."""
        return listed(read(await self._http.call(RECONCILER, "LIST", MOUNT, "metadata", "tenants", pure=True)))

    async def names(self, tenant: str, collection: Collection) -> list[str]:
        """Return the names of a tenant's documents."""
        return listed(read(await self._http.call(RECONCILER, "LIST", MOUNT, "metadata", collection, tenant, pure=True)))

    async def subscribers(self) -> list[str]:
        """Return the ids of the tenants that have, or had, webhook endpoints."""
        answer = read(await self._http.call(RECONCILER, "LIST", MOUNT, "metadata", "webhooks", pure=True))
        return sorted(name.removesuffix("/") for name in (answer.data["keys"] if answer else ()))

    async def keys(self) -> list[tuple[str, str]]:
        """Return (tenant, binding) of every signing key."""
        names = listed(read(await self._http.call(RECONCILER, "LIST", TRANSIT, "keys", pure=True)))
        pairs = [name.partition(".") for name in names]
        return [(tenant, binding) for tenant, dot, binding in pairs if dot]
