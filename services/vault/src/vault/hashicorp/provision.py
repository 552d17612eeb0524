"""Own the preparation of a Vault: mounts, policies, roles, service keys, tenants. Runs with an administrator's token.

Idempotent: what is there already is brought to what it should be, and each line says what was done. It never touches
a tenant's documents or keys.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import hvac
from common import ids, strict_json
from hvac.exceptions import InvalidPath, InvalidRequest, VaultError

from vault.denials import unknown_call
from vault.hashicorp import policies
from vault.hashicorp.kv import MOUNT
from vault.hashicorp.login import AUDIENCE, RECONCILER, SERVICE, SIGNER, TENANT
from vault.hashicorp.transit import AUDIT_KEY, CANARY_KEY, FINGERPRINT_KEY, TRANSIT, described, public_key
from vault.quotas import Quotas, quotas_of
from vault.registry import registered
from vault.rules import Rules, rules_of, unknown_codes
from vault.store import carried

LIFE: Final = "300s"
JWT: Final = "jwt"
AUDITOR: Final = "strongroom-auditor"  # a policy without a role: give it to a person
WRAPPING_KEY_S: Final = 60.0
MOUNT_TRIES: Final = 100
MOUNT_PAUSE_S: Final = 0.1
OF_ONE_TENANT: Final = re.compile(rf"{TENANT}-[a-z0-9]{{26}}")  # roles and policies of earlier versions
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant of the file; without rules or quotas of its own the usual ones hold."""

    id: str
    name: str
    rules: Rules | None = None
    quotas: Quotas | None = None

    def document(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the registry keeps of it: what the file says, and of what was `found` the rest."""
        there = registered(self.id, found)
        new = replace(there, name=self.name, own_rules=self.rules, own_quotas=self.quotas)
        return carried(found, there.document(), new.document())


def tenants_of(path: Path) -> list[Tenant]:
    """Read `[{"id", "name", "rules"?, "quotas"?}]`; raise ValueError or InvalidArgument for anything else."""
    entries = strict_json.loads(path.read_bytes())
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("a list of tenants is expected")
    tenants = [_tenant(entry) for entry in entries]
    if len({tenant.id for tenant in tenants}) != len(tenants):
        raise ValueError("a tenant is named twice")
    return tenants


def _tenant(entry: dict[str, Any]) -> Tenant:
    known = {"id", "name", "rules", "quotas"}
    if not {"id", "name"} <= entry.keys() <= known or not isinstance(entry["name"], str):
        raise ValueError("each tenant has an id, a name, and perhaps rules and quotas")
    name = ids.tenant_id(str(entry["id"]))
    try:
        rules = rules_of(entry["rules"]) if "rules" in entry else None
        quotas = quotas_of(entry["quotas"]) if "quotas" in entry else None
    except ValueError as error:
        raise ValueError(f"tenant {name}: {error}") from None
    if unknown := unknown_codes(rules) if rules else []:
        raise ValueError(f"tenant {name}: rules cannot decide {', '.join(unknown)}")
    if strange := unknown_call(rules.denials) if rules else None:
        raise ValueError(f"tenant {name}: denied_calls: nobody knows {strange[0]}, like it is {strange[1]}")
    return Tenant(name, entry["name"], rules, quotas)


def provision(client: hvac.Client, login_public_key: str, tenants: Sequence[Tenant], say: Say) -> None:
    """Bring the server to what the service needs; raises hvac's VaultError when it refuses."""
    _mount(client, MOUNT, "kv", {"version": "2"}, say)
    _require_cas(client, say)
    _mount(client, TRANSIT, "transit", {}, say)
    for key in (FINGERPRINT_KEY, CANARY_KEY):
        _service_key(client, key, {"type": "hmac", "key_size": 32}, say)
    _service_key(client, AUDIT_KEY, {"type": "ed25519"}, say)
    _wrapping_key(client, say)
    accessor = _jwt(client, login_public_key, say)
    _identity(client, SERVICE.name, policies.service(), say, subject=SERVICE.subject)
    _identity(client, RECONCILER.name, policies.reconciler(), say, subject=RECONCILER.subject)
    _identity(client, TENANT, policies.tenant(accessor), say)
    _identity(client, SIGNER, policies.signer(accessor), say)
    _without_roles_of_one_tenant(client, say)
    client.sys.create_or_update_policy(AUDITOR, policies.auditor())
    say(f"policy {AUDITOR}: written, for whoever checks the audit trail")
    for tenant in tenants:
        register(client, tenant, say)
    _audit(client, say)


def register(client: hvac.Client, tenant: Tenant, say: Say) -> None:
    """Bring what the registry keeps of one tenant to what it should be, on a server that is prepared."""
    path = f"{MOUNT}/data/tenants/{tenant.id}"
    found = _read(client, path) or {"data": None, "metadata": {"version": 0}}
    wanted = tenant.document(found["data"] or {})
    if found["data"] == wanted:
        say(f"tenant {tenant.id}: registered already")
        return
    client.write_data(path, data={"data": wanted, "options": {"cas": found["metadata"]["version"]}})
    say(f"tenant {tenant.id}: registered")


def _mount(client: hvac.Client, path: str, kind: str, options: dict[str, str], say: Say) -> None:
    mounted = client.sys.list_mounted_secrets_engines()["data"]
    if f"{path}/" not in mounted:
        client.sys.enable_secrets_engine(kind, path=path, options=options)
        say(f"mount {path}/: made ({kind})")
        return
    found = mounted[f"{path}/"]
    if found["type"] != kind or (found["options"] or {}).get("version") != options.get("version"):
        raise VaultError(f"the mount {path}/ is of another kind")
    say(f"mount {path}/: there already")


def _require_cas(client: hvac.Client, say: Say) -> None:
    """Refuse writes without check-and-set; a mount made just now answers 400 until it has set itself up."""
    for _ in range(MOUNT_TRIES):
        try:
            client.write_data(f"{MOUNT}/config", data={"cas_required": True})
        except InvalidRequest as error:
            if "Upgrading" not in str(error.errors):
                raise
            time.sleep(MOUNT_PAUSE_S)
        else:
            say(f"mount {MOUNT}/: every write needs check-and-set")
            return
    raise VaultError(f"the mount {MOUNT}/ does not become ready")


def _service_key(client: hvac.Client, name: str, wanted: dict[str, Any], say: Say) -> None:
    found = _read(client, f"{TRANSIT}/keys/{name}")
    if found is None:
        client.write_data(f"{TRANSIT}/keys/{name}", data={**wanted, "exportable": False})
        say(f"key {name}: made")
        return
    if found["type"] != wanted["type"] or found["exportable"]:
        raise VaultError(f"the key {name} is not a hidden {wanted['type']} key")
    say(f"key {name}: there already")


def _wrapping_key(client: hvac.Client, say: Say) -> None:
    """Have the server make its wrapping key: it does when first asked, and takes longer than a bind may."""
    answer = client.adapter.get(f"/v1/{TRANSIT}/wrapping_key", timeout=WRAPPING_KEY_S)
    key = described(public_key(answer["data"]))
    say(f"wrapping key: there, SHA-256 {key.fingerprint}")


def _jwt(client: hvac.Client, public_key: str, say: Say) -> str:
    """Make the auth method trust the login key, and return its accessor."""
    if f"{JWT}/" not in client.sys.list_auth_methods()["data"]:
        client.sys.enable_auth_method(JWT, path=JWT)
        say(f"auth {JWT}/: made")
    settings = {"jwt_validation_pubkeys": [public_key], "jwt_supported_algs": ["ES256"], "bound_issuer": AUDIENCE}
    client.write_data(f"auth/{JWT}/config", data=settings)
    say(f"auth {JWT}/: trusts the login key")
    return str(client.sys.list_auth_methods()["data"][f"{JWT}/"]["accessor"])


def _identity(client: hvac.Client, name: str, policy: str, say: Say, *, subject: str = "") -> None:
    """Make a policy and the role that alone carries it, open to one subject where there is one."""
    client.sys.create_or_update_policy(name, policy)
    settings: dict[str, Any] = {
        "role_type": "jwt",
        "user_claim": "sub",
        "bound_audiences": [AUDIENCE],
        "bound_subject": subject,
        "token_type": "batch",
        "token_ttl": LIFE,
        "token_max_ttl": LIFE,
        "token_policies": [name],
        "token_no_default_policy": True,
    }
    client.write_data(f"auth/{JWT}/role/{name}", data=settings)
    say(f"role and policy {name}: written")


def _without_roles_of_one_tenant(client: hvac.Client, say: Say) -> None:
    """Remove what earlier versions made for each tenant; the aliases stay, for they have the same names."""
    for name in filter(OF_ONE_TENANT.fullmatch, _listed(client, f"auth/{JWT}/role")):
        client.delete(f"auth/{JWT}/role/{name}")
        say(f"role {name}: removed")
    for name in filter(OF_ONE_TENANT.fullmatch, _listed(client, "sys/policies/acl")):
        client.delete(f"sys/policies/acl/{name}")
        say(f"policy {name}: removed")


def _audit(client: hvac.Client, say: Say) -> None:
    """Make sure that Vault keeps an audit log of its own."""
    if client.sys.list_enabled_audit_devices()["data"]:
        say("audit: a device is enabled")
        return
    try:
        client.sys.enable_audit_device("file", options={"file_path": "stdout"})
        say("audit: enabled on the server's standard output")
    except VaultError:
        say("audit: NO DEVICE, and this server takes none through its API: declare one in its configuration")


def _read(client: hvac.Client, path: str) -> dict[str, Any] | None:
    try:
        answer = client.read(path)
    except InvalidPath:
        return None
    return answer["data"] if answer else None


def _listed(client: hvac.Client, path: str) -> list[str]:
    answer = client.list(path)
    return list(answer["data"]["keys"]) if answer else []
