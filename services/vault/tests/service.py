"""`python -m vault` as a process of a test: its settings, its authority and the issuer of its callers' tokens."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cli import pki
from cli.processes import Child, clean_environment, free_port
from cli.tokens import TokenIssuer
from common.rpc.tls import Identity
from grpc_health.v1 import health_pb2, health_pb2_grpc


class VaultProcess(Child):
    """`python -m vault`, ready once its health port says so."""

    def __init__(self, settings: dict[str, str], logs: Path) -> None:
        super().__init__("vault", [sys.executable, "-m", "vault"], clean_environment(**settings), logs)
        self.settings = settings
        self.target = settings["STRONGROOM_LISTEN"]

    def ready(self) -> bool:
        with grpc.insecure_channel(self.settings["STRONGROOM_HEALTH_ADDRESS"]) as opened:
            try:
                answer = health_pb2_grpc.HealthStub(opened).Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.RpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@dataclass
class World:
    """A running service, its authority and its token issuer."""

    process: VaultProcess
    folder: Path
    authority: pki.Authority
    issuer: TokenIssuer

    def identity(self, leaf: pki.Leaf) -> Identity:
        return Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)


def settings_of(server: Any, folder: Path, authority: pki.Authority, issuer: TokenIssuer) -> dict[str, str]:
    """Return the environment of a service that stands on `server` and keeps its trail in `folder`."""
    leaf = authority.issue("vault")
    return {
        "STRONGROOM_LISTEN": f"127.0.0.1:{free_port()}",
        "STRONGROOM_HEALTH_ADDRESS": f"127.0.0.1:{free_port()}",
        "STRONGROOM_TLS_CERT_FILE": str(leaf.cert_file),
        "STRONGROOM_TLS_KEY_FILE": str(leaf.key_file),
        "STRONGROOM_TLS_CA_FILE": str(leaf.ca_file),
        "STRONGROOM_JWT_ISSUER": issuer.issuer,
        "STRONGROOM_JWKS_FILE": str(issuer.jwks_file),
        "STRONGROOM_VAULT_URL": server.connection.url,
        "STRONGROOM_LOGIN_KEY_FILE": str(server.login_key),
        "STRONGROOM_LOG_LEVEL": "debug",
        "STRONGROOM_AUDIT_FOLDER": str(folder / "audit"),
    }


def bearer(world: World, tenant: str, *scopes: str) -> str:
    """Return the authorization of a tenant's caller, who by default reads and writes bindings."""
    return f"Bearer {world.issuer.issue(tenant, scopes or ('bindings:read', 'bindings:write'))}"
