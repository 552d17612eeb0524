"""Own the operator's calls under `/v1/admin`: tenants, freezes and bulk revocations. They need the scope `admin`."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from strongroom_client.flow import Flow, Items, Send, called, pages, resource
from strongroom_client.resources import Freeze, FreezeList, Revocation, Tenant

ADMIN = "/v1/admin"


def create_tenant(
    name: str,
    *,
    rules: Mapping[str, Any] | None = None,
    quotas: Mapping[str, int] | None = None,
    idempotency_key: str | None = None,
) -> Flow[Tenant]:
    """Register a tenant under a fresh id; it can bind at once. `rules` and `quotas` as in the contract."""
    body = _given(name=name, rules=rules, quotas=quotas)
    return resource(Tenant, _post("/tenants", body, idempotency_key))


def tenants() -> Items[Tenant]:
    """Iterate over the tenants by id."""
    return pages(Tenant, f"{ADMIN}/tenants", {"limit": "100"})


def tenant(tenant_id: str) -> Flow[Tenant]:
    """Return a tenant."""
    return resource(Tenant, Send("GET", _tenant(tenant_id)))


def change_tenant(
    tenant_id: str,
    *,
    name: str | None = None,
    rules: Mapping[str, Any] | None = None,
    quotas: Mapping[str, int] | None = None,
    etag: str | None = None,
) -> Flow[Tenant]:
    """Change what is given, each replaced as a whole; with `etag` only if it is still that, else raise Conflict."""
    headers = {"If-Match": etag} if etag else {}
    body = _given(name=name, rules=rules, quotas=quotas)
    return resource(Tenant, Send("PATCH", _tenant(tenant_id), headers=headers, json=body, safe=False))


def disable_tenant(tenant_id: str) -> Flow[Tenant]:
    """Refuse every call of a tenant's tokens and sign nothing for it. It keeps its bindings."""
    return resource(Tenant, Send("POST", f"{_tenant(tenant_id)}/disable"))


def enable_tenant(tenant_id: str) -> Flow[Tenant]:
    """Bring back all that disabling has held up."""
    return resource(Tenant, Send("POST", f"{_tenant(tenant_id)}/enable"))


def freeze(
    target: Mapping[str, str], reason: str, *, allow_cancels: bool = False, idempotency_key: str | None = None
) -> Flow[Freeze]:
    """Have nothing signed any more for a target, for example {"kind": "tenant", "tenant": "…"}."""
    body = {"target": dict(target), "reason": reason, "allow_cancels": allow_cancels}
    return resource(Freeze, _post("/freezes", body, idempotency_key))


def freezes() -> Flow[Sequence[Freeze]]:
    """Return every active freeze."""
    found = yield from resource(FreezeList, Send("GET", f"{ADMIN}/freezes"))
    return found.items


def lift(freeze_id: str, reason: str) -> Flow[None]:
    """Lift a freeze."""
    yield from called(Send("DELETE", f"{ADMIN}/freezes/{quote(freeze_id, safe='')}", {"reason": reason}))


def revoke_many(
    selector: Mapping[str, str], reason: str, *, dry_run: bool = True, idempotency_key: str | None = None
) -> Flow[Revocation]:
    """Begin to end every binding that fits, for example {"tenant": "…"}; unless told otherwise, only count them."""
    body = {"selector": dict(selector), "reason": reason, "dry_run": dry_run}
    return resource(Revocation, _post("/revocations", body, idempotency_key))


def revocation(revocation_id: str) -> Flow[Revocation]:
    """Return how far a bulk revocation is."""
    return resource(Revocation, Send("GET", f"{ADMIN}/revocations/{quote(revocation_id, safe='')}"))


def _post(path: str, body: Mapping[str, Any], key: str | None) -> Send:
    return Send("POST", ADMIN + path, headers={"Idempotency-Key": key or secrets.token_hex(16)}, json=body)


def _tenant(tenant_id: str) -> str:
    return f"{ADMIN}/tenants/{quote(tenant_id, safe='')}"


def _given(**values: object) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
