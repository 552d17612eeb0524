"""Real worker processes: killed, stopped, misconfigured, and Redis emptied under them."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
from cli.processes import Child, clean_environment
from common.errors import NotFound, PermissionDenied
from common.rpc import client
from common.rpc.tls import Identity
from strongroom.types.v1 import binding_pb2 as types
from verifier.jobs import ASKED, GROUP, Job
from verifier.vault_client import VaultClient

SETTINGS = {"slots": "4", "lease_seconds": "1", "reconcile_seconds": "60"}


@pytest.fixture
def worker(bench: Any, site: Any) -> Callable[..., Child]:
    """Return how to make a worker process on the bench."""

    def make(name: str, **own: str) -> Child:
        settings = site.settings("worker", bitget_url=bench.url, **{**SETTINGS, **own})
        environment = {f"STRONGROOM_{key.upper()}": value for key, value in settings.items()}
        command = [sys.executable, "-m", "verifier", "worker"]
        return Child(name, command, clean_environment(**environment), site.folder / "logs")

    return make


@contextmanager
def _running(*children: Child) -> Any:
    try:
        for child in children:
            child.spawn()
        yield
    finally:
        for child in children:
            child.kill()


def _status(bench: Any, binding: Any, status: int) -> Callable[[], Any]:
    async def check() -> bool:
        return bool(bench.vault.records[binding.id].verdict.status == status)

    return check


async def test_a_worker_killed_while_it_holds_a_job_loses_nothing(
    bench: Any, worker: Callable[..., Child], wait_until: Any
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    first, second = worker("first"), worker("second")
    bench.fault(kind="latency", seconds=3, times=1)
    with _running(first, second):
        await bench.queue.prepare()
        entry = await bench.queue.put(Job(binding.tenant_id, binding.id, "bind"))

        async def holder() -> bytes | None:
            pending = await bench.redis.xpending_range(ASKED, GROUP, "-", "+", 1)
            return pending[0]["consumer"] if pending and bench.vault.signed else None

        name = (await wait_until(holder, 20)).decode()
        victim = next(child for child in (first, second) if f"-{child.pid}-" in name)
        victim.kill()
        assert await bench.queue.wait(entry, 20)

        async def empty() -> bool:
            return not await bench.redis.xlen(ASKED)

        await wait_until(empty)
    assert bench.vault.transitions == 1
    states = [event.status for event in await bench.events()]
    assert states.count(types.STATUS_CONNECTED) == 1
    assert states[:-1] in ([], [types.STATUS_PENDING])


async def test_a_worker_told_to_stop_finishes_its_job_and_ends_cleanly(
    bench: Any, worker: Callable[..., Child], wait_until: Any
) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="latency", seconds=1, times=1)
    child = worker("only")
    with _running(child):
        entry = await bench.queue.put(Job(binding.tenant_id, binding.id, "bind"))

        async def held() -> bool:
            return bool(bench.vault.signed)

        await wait_until(held, 20)
        child.ask_to_stop()
        process = child.process
        assert process is not None
        code = await asyncio.to_thread(process.wait, 10)
        assert code == 0
    assert await bench.queue.wait(entry, 1)
    assert (await bench.redis.xpending(ASKED, GROUP))["pending"] == 0


async def test_a_redis_emptied_under_a_worker_is_rebuilt(
    bench: Any, worker: Callable[..., Child], wait_until: Any
) -> None:
    names = ("unified-trader", "unified-sub", "classic-trader")
    bindings = [bench.vault.bind(bench.exchange.named(name)) for name in names]
    bench.exchange.limits.enforced = False
    with _running(worker("only")):
        for binding in bindings:
            await wait_until(_status(bench, binding, types.STATUS_CONNECTED), 30)

        async def told() -> bool:
            return len(await bench.events()) == len(bindings)

        await wait_until(told, 30)
        await bench.redis.flushall()

        async def observed() -> bool:
            known = await bench.status.read_many([(binding.tenant_id, binding.id) for binding in bindings])
            return all(item.observation is not None for item in known)

        await wait_until(observed, 30)
    assert bench.vault.transitions == len(bindings)
    assert await bench.events() == []


def _run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**{f"STRONGROOM_{key.upper()}": value for key, value in settings.items()})
    command = [sys.executable, "-m", "verifier", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


async def test_check_prints_the_settings_without_a_password(site: Any) -> None:
    settings = site.settings("verifier", listen="127.0.0.1:1", bitget_url="http://127.0.0.1:9")
    done = await asyncio.to_thread(_run, "api", "--check", **settings)
    assert done.returncode == 0
    assert "STRONGROOM_LISTEN=127.0.0.1:1" in done.stdout
    assert site.redis.account("verifier")[1].read_text() not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("own", "named"),
    [
        ({"bitget_url": "ftp://x"}, "STRONGROOM_BITGET_URL"),
        ({"egress_ips": "not-an-address"}, "STRONGROOM_EGRESS_IPS"),
        ({"surprise": "1"}, "STRONGROOM_SURPRISE"),
    ],
)
async def test_a_wrong_setting_is_named_in_one_line(site: Any, own: dict[str, str], named: str) -> None:
    settings = site.settings("worker", **{"bitget_url": "http://127.0.0.1:1", **own})
    done = await asyncio.to_thread(_run, "worker", **settings)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


async def test_an_unknown_role_is_refused(site: Any) -> None:
    assert (await asyncio.to_thread(_run, "everything")).returncode == 2


async def test_a_tenant_that_does_not_exist_has_no_bindings(bench: Any, site: Any) -> None:
    """Else a job for one would come again and again, and have the vault service log in for it each time."""
    leaf = site.leaf("worker")
    async with client.channel(site.vault_target, "vault", Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)) as way:
        bench.vault.down = PermissionDenied("not_provisioned")
        with pytest.raises(NotFound):
            await VaultClient(way).describe("u" * 26, "a" * 32)
        bench.vault.down = PermissionDenied("caller_not_allowed")
        with pytest.raises(PermissionDenied):
            await VaultClient(way).describe("u" * 26, "a" * 32)


def test_a_worker_loads_nothing_that_serves_callers() -> None:
    code = "import sys, verifier.app; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(done.stdout.split())
    assert "verifier.worker" in loaded
    serving = {"api", "execution", "signing_servicer", "sign_stream", "market", "callers_signer", "servicer"}
    assert not {f"verifier.{name}" for name in serving} & loaded
