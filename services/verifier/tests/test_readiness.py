"""Readiness tells what a process can do: an api without Redis executes and signs, and says no more than that."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from cli.processes import Child, clean_environment, free_port
from grpc_health.v1 import health_pb2, health_pb2_grpc

VERIFICATION = "strongroom.verifier.v1.VerificationService"
NOWHERE = "redis://127.0.0.1:9"


@pytest.fixture
def process(bench: Any, site: Any) -> Any:
    """Return how to make a process with its health address."""

    def make(role: str, **own: str) -> tuple[Child, str]:
        name = "verifier" if role == "api" else "worker"
        if role == "api":
            own = {"listen": f"127.0.0.1:{free_port()}", **own}
        settings = site.settings(name, bitget_url=bench.url, **own)
        environment = {f"STRONGROOM_{key.upper()}": value for key, value in settings.items()}
        command = [sys.executable, "-m", "verifier", role]
        return Child(name, command, clean_environment(**environment), site.folder / "logs"), settings["health_address"]

    return make


async def told(address: str, service: str = "") -> str:
    """Return what a probe is told: a status, "unknown service", or nothing at all."""
    async with grpc.aio.insecure_channel(address) as channel:
        try:
            request = health_pb2.HealthCheckRequest(service=service)
            answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=2)
        except grpc.aio.AioRpcError as error:
            return "unknown service" if error.code() is grpc.StatusCode.NOT_FOUND else ""
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def tells(address: str, wanted: dict[str, str]) -> Callable[[], Any]:
    async def check() -> bool:
        return {service: await told(address, service) for service in wanted} == wanted

    return check


async def test_an_api_without_redis_is_ready_for_all_but_verification(process: Any, wait_until: Any) -> None:
    child, health = process("api", redis_url=NOWHERE)
    child.spawn()
    try:
        await wait_until(tells(health, {"": "SERVING", "live": "SERVING", VERIFICATION: "NOT_SERVING"}), 20)
    finally:
        child.kill()


async def test_an_api_with_redis_is_ready_for_all_and_for_nothing_once_it_ends(process: Any, wait_until: Any) -> None:
    child, health = process("api")
    child.spawn()
    try:
        await wait_until(tells(health, {"": "SERVING", VERIFICATION: "SERVING"}), 20)
        child.ask_to_stop()
        assert await asyncio.to_thread(child.process.wait, 10) == 0
    finally:
        child.kill()


async def test_an_api_without_the_vault_service_is_ready_for_nothing(process: Any, wait_until: Any) -> None:
    child, health = process("api", vault_target="127.0.0.1:9")
    child.spawn()
    try:
        await wait_until(tells(health, {"": "NOT_SERVING", "live": "SERVING", VERIFICATION: "NOT_SERVING"}), 20)
    finally:
        child.kill()


async def test_a_worker_without_redis_can_do_nothing_and_says_so(process: Any, wait_until: Any) -> None:
    child, health = process("worker", redis_url=NOWHERE)
    child.spawn()
    try:
        await wait_until(tells(health, {"": "NOT_SERVING", "live": "SERVING", VERIFICATION: "unknown service"}), 20)
    finally:
        child.kill()
