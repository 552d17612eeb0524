"""Own the check of our own rights before serving: a missing one and one too many both stop the process, by name."""

from typing import Final

from vault.hashicorp import policies
from vault.hashicorp.http import Answer, VaultHttp
from vault.hashicorp.kv import MOUNT
from vault.hashicorp.login import RECONCILER, SERVICE, Role, signer_role, tenant_role
from vault.hashicorp.transit import AUDIT_KEY, CANARY_KEY, FINGERPRINT_KEY, TRANSIT
from vault.store import unavailable

Wanted = dict[str, frozenset[str]]
KEPT: Final = ("bindings", "credentials", "fp", "accounts", "webhooks")
NOTHING: Final[frozenset[str]] = frozenset()
BINDING: Final = "0" * 32
FINGERPRINT: Final = "0" * 64
HEADS: Final = f"{MOUNT}/data/heads/0"
HOLDERS: Final = f"{MOUNT}/data/holders/{FINGERPRINT}"
COUNTS: Final = f"{MOUNT}/data/counts/{1:026}"
SEALED: Final = f"{MOUNT}/data/sealed/{FINGERPRINT}"
DAYS: Final = f"{MOUNT}/data/days/{1:026}"
FREEZES: Final = f"{MOUNT}/data/freezes/all"
REVOCATIONS: Final = f"{MOUNT}/data/revocations/{BINDING}"
# One role is for every tenant, so any id shows what it may: no tenant has these, for ids are drawn at random.
SOMEBODY: Final = f"{1:026}"
STRANGER: Final = f"{0:026}"


class WrongRights(Exception):
    """An identity lacks a capability or has a forbidden one; the text names identity, path and capability."""


def _forbidden(tenant: str) -> Wanted:
    """Return the paths that no identity of ours may touch."""
    key = f"{tenant}.{BINDING}"
    paths = [
        *(f"{TRANSIT}/export/{kind}/{key}" for kind in ("hmac-key", "encryption-key", "signing-key")),
        f"{TRANSIT}/byok-export/{key}/{key}",
        f"{TRANSIT}/backup/{key}",
        f"{TRANSIT}/restore/{key}",
        f"{TRANSIT}/export/hmac-key/{FINGERPRINT_KEY}",
        f"{TRANSIT}/backup/{FINGERPRINT_KEY}",
        f"{TRANSIT}/keys/{FINGERPRINT_KEY}/config",
        f"{TRANSIT}/export/signing-key/{AUDIT_KEY}",
        f"{TRANSIT}/backup/{AUDIT_KEY}",
        f"{TRANSIT}/keys/{AUDIT_KEY}/config",
        f"{TRANSIT}/keys/{AUDIT_KEY}/rotate",
        "sys/policies/acl/any",
        "sys/mounts/any",
        "sys/audit/any",
        "auth/jwt/config",
        "auth/token/create",
    ]
    return dict.fromkeys(paths, NOTHING)


def _service(tenant: str) -> Wanted:
    key = f"{tenant}.{BINDING}"
    own = {
        f"{TRANSIT}/hmac/{FINGERPRINT_KEY}/sha2-256": frozenset(["update"]),
        f"{TRANSIT}/hmac/{CANARY_KEY}/sha2-256": frozenset(["update"]),
        f"{TRANSIT}/wrapping_key": frozenset(["read"]),
        f"{TRANSIT}/sign/{AUDIT_KEY}": frozenset(["update"]),
        f"{TRANSIT}/keys/{AUDIT_KEY}": frozenset(["read"]),
        HEADS: frozenset(["create", "read", "update"]),
        f"{MOUNT}/data/tenants/{tenant}": frozenset(["create", "read", "update"]),
        **dict.fromkeys([HOLDERS, COUNTS, SEALED, DAYS, FREEZES, REVOCATIONS], frozenset(["create", "read", "update"])),
        f"{MOUNT}/metadata/revocations/": frozenset(["list"]),
    }
    closed = [f"{TRANSIT}/keys", f"{TRANSIT}/keys/{key}/config"]
    closed += [f"{TRANSIT}/{way}/{key}/sha2-256" for way in ("hmac", "sign")]
    closed += [f"{MOUNT}/data/{part}/{tenant}/{BINDING}" for part in ("bindings", "credentials", "webhooks")]
    return {**_forbidden(tenant), **own, **dict.fromkeys(closed, NOTHING)}


def _reconciler(tenant: str) -> Wanted:
    key = f"{tenant}.{BINDING}"
    own = dict.fromkeys(
        [
            *(f"{MOUNT}/metadata/{part}/" for part in ("tenants", f"bindings/{tenant}", "webhooks")),
            f"{TRANSIT}/keys/",
        ],
        frozenset(["list"]),
    )
    closed = [f"{MOUNT}/data/{part}/{tenant}/{BINDING}" for part in ("bindings", "credentials", "webhooks")]
    closed += [f"{TRANSIT}/{way}/{key}/sha2-256" for way in ("hmac", "sign")]
    closed += [f"{TRANSIT}/keys/{key}/config", f"{TRANSIT}/sign/{AUDIT_KEY}", f"{MOUNT}/data/tenants/{tenant}"]
    closed += [HOLDERS, COUNTS, SEALED, DAYS, FREEZES, REVOCATIONS, HEADS]
    return {**_forbidden(tenant), **own, **dict.fromkeys(closed, NOTHING)}


def _tenant(tenant: str) -> Wanted:
    key, write = f"{tenant}.{BINDING}", frozenset(["create", "read", "update"])
    own = {f"{MOUNT}/data/{part}/{tenant}/{BINDING}": write for part in KEPT}
    own[f"{MOUNT}/metadata/bindings/{tenant}/"] = frozenset(["list"])
    own |= {f"{MOUNT}/metadata/{part}/{tenant}/{BINDING}": frozenset(["read"]) for part in policies.DESTROYED}
    own[f"{TRANSIT}/keys/{key}"] = frozenset(["create", "read", "update", "delete"])
    closed = [f"{TRANSIT}/{way}/{key}/sha2-256" for way in ("hmac", "sign")]
    return {**_forbidden(tenant), **own, **_foreign(), **dict.fromkeys(closed, NOTHING)}


def _signer(tenant: str) -> Wanted:
    key = f"{tenant}.{BINDING}"
    own = {f"{MOUNT}/data/{part}/{tenant}/{BINDING}": frozenset(["read"]) for part in ("bindings", "credentials")}
    own |= {f"{TRANSIT}/{way}/{key}/sha2-256": frozenset(["update"]) for way in ("hmac", "sign")}
    closed = [
        f"{TRANSIT}/keys/{key}",
        f"{TRANSIT}/keys/{key}/config",
        f"{MOUNT}/destroy/credentials/{tenant}/{BINDING}",
    ]
    closed += [f"{MOUNT}/data/{part}/{tenant}/{BINDING}" for part in ("fp", "accounts", "webhooks")]
    return {**_forbidden(tenant), **own, **_foreign(), **dict.fromkeys(closed, NOTHING)}


def _foreign() -> Wanted:
    """Return what no tenant's identity may touch, for it is another's or the service's."""
    foreign = f"{STRANGER}.{BINDING}"
    closed = [f"{TRANSIT}/keys", f"{TRANSIT}/keys/{foreign}", f"{TRANSIT}/sign/{AUDIT_KEY}"]
    closed += [f"{MOUNT}/data/tenants/{SOMEBODY}", HOLDERS, COUNTS, SEALED, DAYS, FREEZES, REVOCATIONS, HEADS]
    closed += [f"{TRANSIT}/{way}/{foreign}/sha2-256" for way in ("hmac", "sign")]
    closed += [f"{MOUNT}/data/{part}/{STRANGER}/{BINDING}" for part in ("bindings", "credentials", "webhooks")]
    return dict.fromkeys(closed, NOTHING)


async def check(http: VaultHttp) -> None:
    """Compare what our identities may do with what they should.

    Raises WrongRights, PermissionDenied for an identity that is not provisioned, Unavailable.
    """
    await _compare(http, SERVICE, _service(SOMEBODY))
    await _compare(http, RECONCILER, _reconciler(SOMEBODY))
    await _compare(http, tenant_role(SOMEBODY), _tenant(SOMEBODY))
    await _compare(http, signer_role(SOMEBODY), _signer(SOMEBODY))
    await _never_exportable(http, SOMEBODY)


async def _never_exportable(http: VaultHttp, tenant: str) -> None:
    """Try to make a key that does not exist exportable: policy must refuse before the server looks for it.

    Capabilities do not show allowed parameters, and a policy written as JSON has been seen to lose their values.
    """
    role, segments = tenant_role(tenant), (TRANSIT, "keys", f"{tenant}.{BINDING}", "config")
    answer = await http.call(role, "POST", *segments, body={"exportable": True})
    if not isinstance(answer, Answer) or answer.status >= 429:
        raise unavailable()
    if answer.status != 403:
        raise WrongRights(f"{role.name} has forbidden exportable=true on {'/'.join(segments)}")


async def _compare(http: VaultHttp, role: Role, wanted: Wanted) -> None:
    await http.known(role)
    answer = await http.call(role, "POST", "sys", "capabilities-self", body={"paths": sorted(wanted)}, pure=True)
    if not isinstance(answer, Answer) or answer.status >= 429:
        raise unavailable()
    if not answer.ok:
        raise WrongRights(f"{role.name} may not ask for its capabilities")
    for path, needed in wanted.items():
        has = frozenset(answer.data.get(path) or ()) - {"deny"}
        if needed - has:
            raise WrongRights(f"{role.name} lacks {', '.join(sorted(needed - has))} on {path}")
        if has - needed:
            raise WrongRights(f"{role.name} has forbidden {', '.join(sorted(has - needed))} on {path}")
