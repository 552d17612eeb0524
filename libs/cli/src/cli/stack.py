"""The embedded stack: starts the processes in order, keeps them running, describes them in `stack.json`, stops them.

One stack per home. Only the main thread may start one (see `processes`).
"""

import fcntl
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from cli import services
from cli.console import ConsoleSignIn
from cli.files import private_folder, write_private
from cli.identities import Identities
from cli.openbao import OpenBao
from cli.processes import Child, LaunchError, free_port, port_is_free
from cli.servers import RedisServer, VaultServer
from cli.settings import LaunchSettings
from cli.valkey import Valkey

Progress = Callable[[str], None]
Servers = Callable[[Path], tuple[VaultServer, RedisServer]]
RESTARTS, RESTART_WINDOW = 5, 60.0  # a process that ends five times in a minute will not do better the sixth time


def embedded(home: Path) -> tuple[VaultServer, RedisServer]:
    """Return the servers of the wheels, with their state under `home`."""
    return OpenBao(home / "openbao", logs=home / "logs"), Valkey(home / "valkey", logs=home / "logs")


class Stack:
    """Every process of the stack; a context manager that leaves nothing running."""

    def __init__(self, settings: LaunchSettings, progress: Progress, servers: Servers = embedded) -> None:
        self.settings = settings
        self.home = private_folder(settings.home)
        self.file = self.home / "stack.json"
        self.children: list[Child] = []
        self._progress = progress
        self._servers = servers
        self._restarts: list[float] = []
        self._description: dict[str, Any] = {}
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Nothing runs yet; whatever `start` starts is stopped at the end."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    @property
    def description(self) -> dict[str, Any]:
        """What `stack.json` holds."""
        return self._description

    def start(self) -> None:
        """Start everything and write `stack.json`; raises LaunchError."""
        self._take_lock()
        if not port_is_free(self.settings.port):
            raise LaunchError(f"Port {self.settings.port} is taken: set STRONGROOM_PORT to a free one.")
        private_folder(self.home / "audit")
        bao, valkey = self._servers(self.home)
        simulator = None if self.settings.bitget_url else services.Simulator(self.home)
        self._spawn(bao, valkey, *([simulator] if simulator else []))
        plan = self._plan(bao, valkey, simulator)
        self._wait("servers", bao, valkey)
        self._start_services(plan, bao)
        self._describe(plan, bao, simulator)

    def stop(self) -> None:
        """Stop the services together, then the servers they use; safe to repeat."""
        if self._lock is None:
            return
        self.file.unlink(missing_ok=True)
        servers = [
            child for child in self.children if isinstance(child, VaultServer | RedisServer | services.Simulator)
        ]
        for group in ([child for child in self.children if child not in servers], servers):
            for child in reversed(group):
                child.ask_to_stop()
            for child in reversed(group):
                child.stop()
        self.children.clear()
        os.close(self._lock)
        self._lock = None

    def revive(self) -> None:
        """Start again what has ended; raises LaunchError when something keeps ending."""
        ended = [child for child in self.children if not child.alive]
        now = time.monotonic()
        self._restarts = [moment for moment in self._restarts if now - moment < RESTART_WINDOW]
        for child in ended:
            if len(self._restarts) >= RESTARTS:
                raise LaunchError(f"{child.name} keeps ending: {child.last_words()}")
            self._restarts.append(now)
            self._progress(f"{child.name} ended; starting it again")
            child.start()
        if ended:
            self._describe_processes()

    def _take_lock(self) -> None:
        """Claim the home for this process; the kernel gives it back however we end."""
        self._lock = os.open(self.home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = None
            raise LaunchError(f"A stack is running already in {self.home}: see {self.file}.") from None

    def _start_services(self, plan: services.Plan, bao: VaultServer) -> None:
        """Start what needs no Vault while OpenBao is prepared, then the vault service, then wait for all."""
        with bao.admin() as admin:
            token_file = write_private(self.home / "provision.token", admin.provisioning_token())
        provision = services.Provision(plan, token_file)
        self._progress("Preparing OpenBao")
        try:
            provision.spawn()
            others = [
                *(services.verifier(plan), services.worker(plan), services.deliverer(plan)),
                services.gateway(plan),
            ]
            self._spawn(*others)
            provision.wait_ready()
        finally:
            provision.kill()
            token_file.unlink()
        vault = services.vault(plan)
        self._spawn(vault)
        self._wait("services", vault, *others, *(child for child in self.children if child.name == "simulator"))

    def _plan(self, bao: VaultServer, valkey: RedisServer, simulator: services.Simulator | None) -> services.Plan:
        identities = Identities.ensure(self.home)
        return services.Plan(
            settings=self.settings,
            home=self.home,
            identities=identities,
            console=ConsoleSignIn.write(self.home, identities),
            vault_url=bao.url,
            redis=valkey,
            bitget_url=simulator.url if simulator else str(self.settings.bitget_url),
            vault_target=f"127.0.0.1:{free_port()}",
            verifier_target=f"127.0.0.1:{free_port()}",
        )

    def _spawn(self, *children: Child) -> None:
        """Start without waiting; each is ours to stop from the moment it exists."""
        for child in children:
            self.children.append(child)
            child.spawn()

    def _wait(self, what: str, *children: Child) -> None:
        self._progress(f"Starting {what}: {', '.join(child.name for child in children)}")
        for child in children:
            child.wait_ready()

    def _describe(self, plan: services.Plan, bao: VaultServer, simulator: services.Simulator | None) -> None:
        client = plan.identities.leaves["client"]
        self._description = {
            "gateway_url": plan.gateway_url,
            "console_url": plan.console.link(plan.gateway_url),
            "verifier_target": plan.verifier_target,
            "vault_target": plan.vault_target,
            "ca_file": str(client.ca_file),
            "client_cert_file": str(client.cert_file),
            "client_key_file": str(client.key_file),
            "bitget_url": plan.bitget_url,
            "simulator_control_url": simulator.control_url if simulator else None,
            "redis_url": plan.redis.url,
            "vault_addr": bao.url,
            "tenants": [asdict(tenant) for tenant in plan.identities.tenants],
            "admin_token": plan.identities.admin_token,
            "sample_keys": sample_keys("hmac") if simulator else [],
            "rsa_sample_keys": sample_keys("rsa") if simulator else [],
        }
        self._describe_processes()

    def _describe_processes(self) -> None:
        self._description["pids"] = {"launcher": os.getpid(), **{child.name: child.pid for child in self.children}}
        write_private(self.file, json.dumps(self._description, indent=2))


def sample_keys(key_type: str) -> list[dict[str, str]]:
    """Return name, credential and expected status of the simulator's packaged accounts that have this kind of key."""
    # Its file is read beside the package: importing the simulator takes longer than starting the servers.
    package = find_spec("simulator")
    folder = next(iter(package.submodule_search_locations or [])) if package else ""
    accounts = yaml.safe_load(Path(folder, "scenarios.yaml").read_text())["accounts"]
    wanted = ("name", "api_key", "secret_key", "passphrase", "expect")
    usable = [one for one in accounts if "secret_key" in one and "expect" in one]
    mine = [one for one in usable if ("PRIVATE KEY" in one["secret_key"]) is (key_type == "rsa")]
    return [{**{key: one[key] for key in wanted}, "key_type": key_type} for one in mine]
