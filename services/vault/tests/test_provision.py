"""What provisioning makes, that it can be repeated, and what no identity of ours may do at the server."""

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import hvac
import pytest
from cli.processes import clean_environment
from common.clock import SystemClock
from common.secret import Secret
from hvac.exceptions import Forbidden, InvalidRequest
from vault.hashicorp.login import RECONCILER, SERVICE, Logins, Role, admin_client, signer_role, tenant_role
from vault.hashicorp.provision import Tenant
from vault.material import HmacSecret, rsa_private_key

BINDING = "0" * 32
FINGERPRINT = "0" * 64


async def as_role(server: Any, role: Role) -> hvac.Client:
    """Return a client with a token of `role`."""
    token = await Logins(server.connection, server.login_key, SystemClock()).token(role)
    return admin_client(server.connection, token)


def refused(client: hvac.Client, method: str, path: str, **body: Any) -> bool:
    """Return whether the server denies a call; anything but a denial or success is an error."""
    try:
        client.adapter.request(method, f"/v1/{path}", json=body)
    except Forbidden:
        return True
    return False


def test_a_second_run_changes_nothing_and_says_so(server: Any) -> None:
    tenant = Tenant("q" * 26, "Quant desk")
    server.provision(tenant)
    said = server.provision(tenant)
    assert "mount strongroom/: there already" in said
    assert "key strongroom-fingerprint: there already" in said
    assert f"tenant {'q' * 26}: registered already" in said
    assert "audit: a device is enabled" in said
    assert f"tenant {'q' * 26}: registered" in server.provision(Tenant("q" * 26, "Another name"))


async def test_the_wrapping_key_is_made_before_anybody_binds(server: Any, parts: Any) -> None:
    [said] = [line for line in server.provision() if line.startswith("wrapping key: there")]
    assert said.endswith((await parts.bindings.wrapping_key()).fingerprint)


def test_the_mount_takes_no_write_without_check_and_set(server: Any) -> None:
    with pytest.raises(InvalidRequest):
        server.admin.write_data("strongroom/data/tenants/x", data={"data": {}})


def test_the_service_keys_cannot_be_exported_even_by_an_administrator(server: Any) -> None:
    for key in ("strongroom-fingerprint", "strongroom-canary"):
        assert server.admin.read(f"transit/keys/{key}")["data"]["exportable"] is False
        with pytest.raises(InvalidRequest):
            server.admin.read(f"transit/export/hmac-key/{key}")


@pytest.fixture
async def bound(parts: Any, tenant: str) -> str:
    """Return the name of a tenant's key that exists."""
    await parts.keys.import_key(tenant, BINDING, HmacSecret(Secret("s" * 64)))
    await parts.documents.write(tenant, "credentials", BINDING, {"api_key": "k", "passphrase": "p"}, 0)
    return f"{tenant}.{BINDING}"


ONE = {"batch_input": [{"input": "eA=="}]}
DENIED_TO_ALL = [
    ("GET", "transit/export/hmac-key/{key}", {}),
    ("GET", "transit/export/signing-key/{key}/1", {}),
    ("GET", "transit/byok-export/{key}/{key}", {}),
    ("GET", "transit/backup/{key}", {}),
    ("POST", "transit/restore/{key}", {"backup": "x"}),
    ("POST", "transit/keys/{key}/config", {"exportable": True}),
    ("POST", "transit/keys/{key}/config", {"allow_plaintext_backup": True}),
    ("POST", "transit/keys/{tenant}.new", {"type": "hmac", "exportable": True}),
    ("LIST", "transit/keys", {}),
    ("GET", "strongroom/data/credentials/{foreign}/" + BINDING, {}),
    ("GET", "strongroom/data/bindings/{foreign}/" + BINDING, {}),
    ("POST", "strongroom/data/bindings/{foreign}/" + BINDING, {"data": {}, "options": {"cas": 0}}),
    ("LIST", "strongroom/metadata/credentials/{tenant}", {}),
    ("DELETE", "strongroom/metadata/bindings/{tenant}/" + BINDING, {}),
    ("POST", "transit/hmac/{foreign}." + BINDING + "/sha2-256", {"input": "eA=="}),
    ("POST", "transit/sign/{foreign}." + BINDING + "/sha2-256", {**ONE, "signature_algorithm": "pkcs1v15"}),
    ("POST", "transit/sign/{key}/sha2-256", {**ONE, "signature_algorithm": "pss"}),
    ("POST", "transit/sign/{key}/sha2-256", ONE),
    ("POST", "transit/sign/{key}/sha2-256", {"batch_input": [{"input": "eA==", "signature_algorithm": "pkcs1v15"}]}),
    ("POST", "transit/sign/{key}/sha2-256", {**ONE, "signature_algorithm": "pkcs1v15", "prehashed": True}),
    ("POST", "transit/sign/{key}/sha2-256", {**ONE, "signature_algorithm": "pkcs1v15", "hash_algorithm": "none"}),
    ("POST", "strongroom/data/tenants/{tenant}", {"data": {}, "options": {"cas": 1}}),
    ("POST", "strongroom/metadata/holders/" + FINGERPRINT, {}),
    ("LIST", "strongroom/metadata/holders", {}),
    ("POST", "strongroom/metadata/sealed/" + FINGERPRINT, {}),
    ("LIST", "strongroom/metadata/sealed", {}),
    ("LIST", "strongroom/metadata/accounts/{tenant}", {}),
    ("POST", "transit/keys/strongroom-fingerprint/config", {"deletion_allowed": True}),
    ("GET", "transit/export/hmac-key/strongroom-fingerprint", {}),
    ("PUT", "sys/policies/acl/strongroom-service", {"policy": ""}),
    ("GET", "sys/policies/acl/strongroom-service", {}),
    ("POST", "auth/jwt/role/strongroom-service", {"role_type": "jwt"}),
    ("POST", "sys/audit/more", {"type": "file"}),
    ("POST", "auth/token/create", {}),
]


# Listing names is what the reconciler is for, and the service keeps the registry.
ALLOWED = [("reconciler", ("LIST", "transit/keys")), ("service", ("POST", "strongroom/data/tenants/{tenant}"))]
CASES = [
    (identity, *case)
    for identity in ("service", "reconciler", "tenant", "signer")
    for case in DENIED_TO_ALL
    if (identity, case[:2]) not in ALLOWED
]


@pytest.mark.bar(14)
@pytest.mark.parametrize(("identity", "method", "path", "body"), CASES, ids=str)
async def test_no_identity_may(
    server: Any, tenant: str, bound: str, identity: str, method: str, path: str, body: dict[str, Any]
) -> None:
    roles = {"service": SERVICE, "reconciler": RECONCILER, "tenant": tenant_role(tenant), "signer": signer_role(tenant)}
    client = await as_role(server, roles[identity])
    path = path.format(key=bound, tenant=tenant, foreign=server.tenant() if "{foreign}" in path else "")
    assert refused(client, method, path, **body)
    client.adapter.close()


async def test_the_service_and_the_reconciler_may_neither_sign_nor_read_for_a_tenant(
    server: Any, tenant: str, bound: str
) -> None:
    for role in (SERVICE, RECONCILER):
        client = await as_role(server, role)
        assert refused(client, "POST", f"transit/hmac/{bound}/sha2-256", input="eA==")
        assert refused(client, "POST", f"transit/sign/{bound}/sha2-256", **ONE, signature_algorithm="pkcs1v15")
        assert refused(client, "GET", f"strongroom/data/credentials/{tenant}/{BINDING}")
        assert refused(client, "POST", f"transit/keys/{bound}/config", deletion_allowed=True)
        client.adapter.close()
    client = await as_role(server, RECONCILER)
    assert refused(client, "LIST", f"strongroom/metadata/credentials/{tenant}")
    assert not refused(client, "LIST", "transit/keys")
    client.adapter.close()


@pytest.mark.parametrize("collection", ["holders", "sealed", "counts"])
async def test_only_the_service_reads_and_writes_who_holds_a_key(server: Any, tenant: str, collection: str) -> None:
    path, body = f"strongroom/data/{collection}/{FINGERPRINT}", {"data": {}, "options": {"cas": 0}}
    for role in (RECONCILER, tenant_role(tenant)):
        client = await as_role(server, role)
        assert refused(client, "GET", path)
        assert refused(client, "POST", path, **body)
        assert refused(client, "GET", f"strongroom/data/tenants/{tenant}")
        client.adapter.close()
    client = await as_role(server, SERVICE)
    assert not refused(client, "POST", path, **body)
    assert not refused(client, "GET", path)
    assert not refused(client, "GET", f"strongroom/data/tenants/{tenant}")
    assert refused(client, "GET", f"strongroom/data/accounts/{tenant}/1")
    client.adapter.close()


async def test_a_tenants_tokens_do_what_a_binding_needs_and_none_both_signs_and_changes(
    server: Any, tenant: str, bound: str
) -> None:
    signer, keeper = await as_role(server, signer_role(tenant)), await as_role(server, tenant_role(tenant))
    sign, keep = f"transit/hmac/{bound}/sha2-256", f"transit/keys/{bound}"
    credential = f"strongroom/data/credentials/{tenant}/{BINDING}"
    assert not refused(signer, "POST", sign, input="eA==")
    assert not refused(signer, "GET", credential)
    assert refused(signer, "POST", f"{keep}/config", deletion_allowed=True)
    assert refused(signer, "POST", credential, data={}, options={"cas": 1})
    assert refused(signer, "DELETE", keep)
    assert refused(keeper, "POST", sign, input="eA==")
    assert not refused(keeper, "GET", credential)
    assert not refused(keeper, "POST", f"{keep}/config", deletion_allowed=True)
    assert not refused(keeper, "DELETE", keep)
    for client in (signer, keeper):
        client.adapter.close()


async def test_an_item_of_a_batch_cannot_choose_how_it_is_signed(
    server: Any, tenant: str, parts: Any, rsa_key: Any, pem: Any
) -> None:
    material = rsa_private_key(pem(rsa_key(2048)))
    await parts.keys.import_key(tenant, BINDING, material)
    client = await as_role(server, signer_role(tenant))
    choices = [{}, {"signature_algorithm": "pss"}, {"hash_algorithm": "sha2-512"}, {"prehashed": "true"}]
    choices += [{"salt_length": "auto"}, {"marshaling_algorithm": "jws"}, {"key_version": "7"}]
    items = [{"input": base64.b64encode(b"message").decode(), **choice} for choice in choices]
    path = f"/v1/transit/sign/{tenant}.{BINDING}/sha2-256"
    body = {"batch_input": items, "signature_algorithm": "pkcs1v15", "prehashed": False}
    results = client.adapter.request("POST", path, json=body)["data"]["batch_results"]
    client.adapter.close()
    assert len(results) == len(choices)
    for result in results:
        assert material.made(result["signature"].removeprefix("vault:v1:"), b"message")


async def test_a_tenants_subject_cannot_take_the_services_role_or_the_reconcilers(server: Any, tenant: str) -> None:
    for role in (SERVICE, RECONCILER):
        with pytest.raises(Exception, match="vault_login_refused"):
            await as_role(server, Role(role.name, tenant))


async def test_the_roles_and_policies_of_earlier_versions_go_and_what_they_opened_stays(
    server: Any, tenant: str, bound: str
) -> None:
    old = f"strongroom-tenant-{tenant}"
    server.admin.sys.create_or_update_policy(old, f'path "transit/hmac/{tenant}.*" {{ capabilities = ["update"] }}')
    settings = {"role_type": "jwt", "user_claim": "sub", "bound_subject": tenant, "token_policies": [old]}
    settings |= {"token_type": "batch", "token_ttl": "60s", "token_max_ttl": "60s"}
    server.admin.write_data(f"auth/jwt/role/{old}", data={**settings, "bound_audiences": ["strongroom-vault"]})
    before = await as_role(server, Role(old, tenant))
    said = server.provision()
    assert {f"role {old}: removed", f"policy {old}: removed"} <= set(said)
    assert not [line for line in server.provision() if "removed" in line]
    assert refused(before, "POST", f"transit/hmac/{bound}/sha2-256", input="eA=="), "no right is left of it"
    with pytest.raises(Exception, match="not_provisioned"):
        await as_role(server, Role(old, tenant))
    now = await as_role(server, signer_role(tenant))
    assert not refused(now, "POST", f"transit/hmac/{bound}/sha2-256", input="eA==")
    assert not refused(now, "GET", f"strongroom/data/credentials/{tenant}/{BINDING}")
    for client in (before, now):
        client.adapter.close()


def test_the_command_prepares_a_vault_and_says_each_thing(server: Any, tmp_path: Path) -> None:
    files = {"token": server.bao.root_token, "key": server.login_public_key}
    files["tenants"] = json.dumps([{"id": "c" * 26, "name": "Command"}])
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    settings = {
        "STRONGROOM_VAULT_URL": server.connection.url,
        "STRONGROOM_VAULT_TOKEN_FILE": str(tmp_path / "token"),
        "STRONGROOM_LOGIN_PUBLIC_KEY_FILE": str(tmp_path / "key"),
        "STRONGROOM_TENANTS_FILE": str(tmp_path / "tenants"),
    }
    done = _run(settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"tenant {'c' * 26}: registered" in done.stdout.splitlines()
    assert server.bao.root_token not in done.stdout
    (tmp_path / "tenants").write_text('[{"id": "../x", "name": "Bad"}]')
    assert _run(settings).returncode == 2
    rules = [{"id": "c" * 26, "name": "Command", "rules": {"errors": ["withdraw_enable"]}}]
    (tmp_path / "tenants").write_text(json.dumps(rules))
    wrong = _run(settings)
    said = f"vault: STRONGROOM_TENANTS_FILE: tenant {'c' * 26}: rules cannot decide withdraw_enable\n"
    assert (wrong.returncode, wrong.stderr) == (2, said)
    (tmp_path / "tenants").write_text("[]")
    (tmp_path / "token").write_text("wrong")
    wrong = _run(settings)
    assert (wrong.returncode, wrong.stderr) == (1, "vault: Vault refused (Forbidden)\n")


def _run(settings: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "vault", "provision"]
    return subprocess.run(command, env=clean_environment(**settings), capture_output=True, text=True, check=False)
