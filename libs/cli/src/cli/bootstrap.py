"""What compose needs before and beside the services: identities in one folder per process, and an unsealed Vault.

Each folder becomes a volume that one container mounts read-only, so that none holds another's key. Safe to repeat.
"""

import json
import shutil
import time
from dataclasses import asdict
from pathlib import Path

from cli import redis_users
from cli.files import private_folder, write_private
from cli.identities import SERVICE_ACCOUNTS, Identities
from cli.pki import Authority
from cli.processes import LaunchError
from cli.vault_admin import SERVING, VaultAdmin

SERVERS = ("hashicorp-vault", "redis")
STATES = ("vault-data", "redis-data")  # made here so that they belong to the user everything runs as
PATIENCE = 60.0


def write_identities(home: Path) -> None:
    """Make `home/<name>` for each process: tls.pem, tls.key, ca.pem, redis.password, and what else that one needs.

    `home/authority` keeps the CA, the issuer and the tenants; `home/client` is for people: certificate and tokens.
    """
    authority_home = private_folder(home / "authority")
    identities = Identities.ensure(authority_home)
    authority = Authority.load(authority_home / "pki")
    for name in (*SERVICE_ACCOUNTS, *SERVERS):
        folder = private_folder(home / name)
        leaf = authority.issue(name, authority_home / "pki")
        for source, target in ((leaf.cert_file, "tls.pem"), (leaf.key_file, "tls.key"), (leaf.ca_file, "ca.pem")):
            write_private(folder / target, source.read_bytes())
        if name in SERVICE_ACCOUNTS:
            write_private(folder / "jwks.json", identities.issuer.jwks_file.read_bytes())
    write_private(home / "vault" / "login.key", identities.login_key_file.read_bytes())
    for name in STATES:
        private_folder(home / name)
    _write_provisioning(home / "provision", identities)
    _write_redis_users(home)
    described = {"tenants": [asdict(tenant) for tenant in identities.tenants], "admin_token": identities.admin_token}
    write_private(home / "client" / "tokens.json", json.dumps(described, indent=2))


def unseal_vault(home: Path, url: str, patience: float = PATIENCE) -> None:
    """Initialise the Vault at `url` if it is new, unseal it, leave `provision` a fresh token; raises LaunchError."""
    with VaultAdmin(
        url, private_folder(home / "vault-admin") / "init.json", home / "hashicorp-vault" / "ca.pem"
    ) as admin:
        deadline = time.monotonic() + patience
        while admin.health() is None:
            if time.monotonic() > deadline:
                raise LaunchError(f"Nothing answers at {url}.")
            time.sleep(0.2)
        admin.initialise(admin.shares())
        admin.unseal()
        while admin.health() not in SERVING or (token := _token(admin)) is None:
            if time.monotonic() > deadline:
                raise LaunchError(f"The Vault at {url} does not become active.")
            time.sleep(0.2)
        write_private(home / "provision" / "token", token)


def _token(admin: VaultAdmin) -> str | None:
    """Return a token for provisioning, None while no node of the cluster is active."""
    try:
        return admin.provisioning_token()
    except LaunchError:
        return None


def _write_redis_users(home: Path) -> None:
    """Give each process its password at Redis and nobody else's, and the server the users' rules.

    The server's own health check is the user who may see how many jobs wait.
    """
    passwords = {name: file.read_text() for name, file in redis_users.keep_passwords(home / "authority/redis").items()}
    write_private(home / "redis" / "users.acl", redis_users.acl_file(passwords))
    write_private(home / "redis" / "redis.password", passwords["scaler"])
    for name in passwords.keys() & set(SERVICE_ACCOUNTS):
        write_private(home / name / "redis.password", passwords[name])


def _write_provisioning(folder: Path, identities: Identities) -> None:
    """Write what `vault provision` reads, but for the token."""
    private_folder(folder)
    shutil.copyfile(identities.login_public_key_file, folder / "login.pub")
    shutil.copyfile(identities.tenants_file, folder / "tenants.json")
