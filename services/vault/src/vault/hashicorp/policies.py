"""Own what each identity may do at Vault, as policy documents. Export, backup and restore are in none of them.

Two documents hold for every tenant: where a tenant stands in a path, Vault puts the name of the alias that logged in.
An alias keeps its name for ever; its metadata, which the next login rewrites, is never used. Vault reads such a
document anew for each request: so the one for signing is short, and can change nothing.

A tenant needs `config` for the fence, and `config` could make a key exportable: so the glob of its keys names the only
parameters that may be sent. A rule with `+` would lose to that glob, so it could not narrow it.
"""

import json
from typing import Any, Final

from vault.hashicorp.kv import MOUNT
from vault.hashicorp.transit import AUDIT_KEY, CANARY_KEY, FINGERPRINT_KEY, TRANSIT

Rules = dict[str, dict[str, Any]]
KEY_TYPES: Final = ["hmac", "rsa-2048", "rsa-3072", "rsa-4096"]
KEY_PARAMETERS: Final[dict[str, list[Any]]] = {
    "type": [*KEY_TYPES],
    "ciphertext": [],
    "hash_function": [],
    "exportable": [False],
    "allow_rotation": [],
    "deletion_allowed": [],
    "min_decryption_version": [],
    "min_encryption_version": [],
    "min_available_version": [],
}
# PSS, the server's usual choice, is never what Bitget wants: the server itself refuses to sign by it. These parameters
# hold for a whole batch: Vault and OpenBao read nothing from its items but the input (and the context of derived keys).
SIGN_PARAMETERS: Final[dict[str, list[Any]]] = {
    "batch_input": [],
    "signature_algorithm": ["pkcs1v15"],
    "prehashed": [False],
    "key_version": [],
}
DESTROYED: Final = ("credentials", "webhooks")  # the collections whose old versions hold secrets
# Every identity may ask what it may do: the service checks that before it serves.
SELF: Final[Rules] = {"sys/capabilities-self": {"capabilities": ["update"]}}


def tenant(accessor: str) -> str:
    """Return the policy of keeping: each tenant its own documents and keys. `accessor` is that of the JWT method."""
    tenant_id = _whoever(accessor)
    rules: Rules = {
        f"{MOUNT}/data/{collection}/{tenant_id}/*": {"capabilities": ["create", "read", "update"]}
        for collection in ("bindings", "credentials", "fp", "accounts", "webhooks")
    }
    return _document(
        {
            **SELF,
            **rules,
            f"{MOUNT}/metadata/bindings/{tenant_id}/": {"capabilities": ["list"]},
            f"{MOUNT}/metadata/bindings/{tenant_id}/*": {"capabilities": ["read"]},
            **{f"{MOUNT}/metadata/{part}/{tenant_id}/*": {"capabilities": ["read"]} for part in DESTROYED},
            **{f"{MOUNT}/destroy/{part}/{tenant_id}/*": {"capabilities": ["create", "update"]} for part in DESTROYED},
            f"{TRANSIT}/keys/{tenant_id}.*": {
                "capabilities": ["create", "read", "update", "delete"],
                "allowed_parameters": KEY_PARAMETERS,
            },
        }
    )


def signer(accessor: str) -> str:
    """Return the policy of signing: each tenant by its own keys. `accessor` is that of the JWT method."""
    tenant_id = _whoever(accessor)
    return _document(
        {
            **SELF,
            **{
                f"{MOUNT}/data/{collection}/{tenant_id}/*": {"capabilities": ["read"]}
                for collection in ("bindings", "credentials")
            },
            f"{TRANSIT}/hmac/{tenant_id}.*": {"capabilities": ["update"]},
            f"{TRANSIT}/sign/{tenant_id}.*": {
                "capabilities": ["update"],
                "allowed_parameters": SIGN_PARAMETERS,
                "required_parameters": ["signature_algorithm"],
            },
        }
    )


def _whoever(accessor: str) -> str:
    """Return what Vault replaces by the tenant whose token it is."""
    return f"{{{{identity.entity.aliases.{accessor}.name}}}}"


def service() -> str:
    """Return the policy of the service itself: keyed digest, canary, wrapping key, audit, registry, who holds what."""
    return _document(
        {
            **SELF,
            f"{TRANSIT}/hmac/{FINGERPRINT_KEY}/sha2-256": {"capabilities": ["update"]},
            f"{TRANSIT}/hmac/{CANARY_KEY}/sha2-256": {"capabilities": ["update"]},
            f"{TRANSIT}/wrapping_key": {"capabilities": ["read"]},
            f"{TRANSIT}/sign/{AUDIT_KEY}": {"capabilities": ["update"]},
            f"{TRANSIT}/keys/{AUDIT_KEY}": {"capabilities": ["read"]},
            f"{MOUNT}/data/heads/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/tenants/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/holders/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/counts/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/sealed/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/days/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/freezes/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/data/revocations/*": {"capabilities": ["create", "read", "update"]},
            f"{MOUNT}/metadata/revocations/": {"capabilities": ["list"]},
        }
    )


def reconciler() -> str:
    """Return the policy of the reconciler: names only."""
    return _document(
        {
            **SELF,
            f"{MOUNT}/metadata/tenants/": {"capabilities": ["list"]},
            f"{MOUNT}/metadata/bindings/*": {"capabilities": ["list"]},
            f"{MOUNT}/metadata/fp/*": {"capabilities": ["list"]},
            f"{MOUNT}/metadata/webhooks/": {"capabilities": ["list"]},
            f"{TRANSIT}/keys/": {"capabilities": ["list"]},
        }
    )


def auditor() -> str:
    """Return the policy for whoever checks the audit trail: the public key and the heads kept apart, to read."""
    return _document(
        {
            f"{TRANSIT}/keys/{AUDIT_KEY}": {"capabilities": ["read"]},
            f"{MOUNT}/metadata/heads/": {"capabilities": ["list"]},
            f"{MOUNT}/data/heads/*": {"capabilities": ["read"]},
        }
    )


def _document(rules: Rules) -> str:
    return "\n".join(_rule(path, rule) for path, rule in rules.items())


def _rule(path: str, rule: dict[str, Any]) -> str:
    """Return one rule as HCL. In a JSON policy OpenBao 2.7.2 takes `"exportable": [false]` for "any value"."""
    lines = [f"  capabilities = {json.dumps(rule['capabilities'])}"]
    if "allowed_parameters" in rule:
        pairs = (
            f"    {json.dumps(name)} = {json.dumps(values)}" for name, values in rule["allowed_parameters"].items()
        )
        lines += ["  allowed_parameters = {", *pairs, "  }"]
    if "required_parameters" in rule:
        lines.append(f"  required_parameters = {json.dumps(rule['required_parameters'])}")
    return "\n".join([f"path {json.dumps(path)} {{", *lines, "}"])
