"""The service as a whole while Vault comes and goes: readiness follows a canary, liveness does not."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from cli import pki
from cli.processes import free_port
from cli.tokens import TokenIssuer
from grpc_health.v1 import health_pb2, health_pb2_grpc
from vault.app import App
from vault.settings import VaultSettings

SERVING = health_pb2.HealthCheckResponse.SERVING


@pytest.fixture
def settings(server: Any, proxy: Any, tmp_path: Path) -> VaultSettings:
    leaf, issuer = pki.Authority.create(tmp_path / "pki").issue("vault"), TokenIssuer.create(tmp_path / "issuer")
    return VaultSettings(
        listen=f"127.0.0.1:{free_port()}",
        health_address=f"127.0.0.1:{free_port()}",
        tls_cert_file=leaf.cert_file,
        tls_key_file=leaf.key_file,
        tls_ca_file=leaf.ca_file,
        jwt_issuer=issuer.issuer,
        jwks_file=issuer.jwks_file,
        vault_url=proxy.url,
        login_key_file=server.login_key,
        audit_folder=tmp_path / "audit",
    )


@contextlib.asynccontextmanager
async def serving(settings: VaultSettings) -> AsyncIterator[Callable[..., Any]]:
    """Run the service and yield a question to its health port: whether `service` is serving."""
    stopping = asyncio.Event()
    task = asyncio.create_task(App(settings).serve(stopping))
    async with grpc.aio.insecure_channel(settings.health_address) as opened:
        stub = health_pb2_grpc.HealthStub(opened)

        async def ask(service: str = "") -> bool:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await stub.Check(request, timeout=2, wait_for_ready=True)
            return bool(answer.status == SERVING)

        yield ask
        stopping.set()
        await asyncio.wait_for(task, 10)


async def becomes(expected: bool, ask: Callable[[], Any]) -> None:
    """Wait until the answer is `expected`."""
    async with asyncio.timeout(15):
        while await ask() is not expected:
            await asyncio.sleep(0.05)


async def test_readiness_follows_vault_and_comes_back_without_a_restart(settings: VaultSettings, proxy: Any) -> None:
    async with serving(settings) as ask:
        await becomes(True, ask)
        proxy.arm("sealed", method="", lasting=True)
        await becomes(False, ask)
        assert await ask("live")
        proxy.arm("")
        await becomes(True, ask)


async def test_it_starts_before_vault_does_and_waits(settings: VaultSettings, proxy: Any) -> None:
    proxy.arm("sealed", method="", lasting=True)
    async with serving(settings) as ask:
        assert await ask("live")
        assert not await ask()
        proxy.arm("")
        await becomes(True, ask)


async def test_it_stops_also_while_it_waits_for_vault(settings: VaultSettings, proxy: Any) -> None:
    proxy.arm("sealed", method="", lasting=True)
    async with serving(settings) as ask:
        assert not await ask()
