"""Own the stack that is measured: the real embedded one, with accounts of our own at the simulator and as many workers
as asked for. Only the main thread may make one.

A third tenant, `bare`, is provisioned at OpenBao and then taken off the register: what the floors write as it, no
process of ours ever looks at.
"""

import dataclasses
import json
import secrets
import string
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
from cli.files import private_folder, write_private
from cli.processes import Child, free_port
from cli.services import grpc_serving
from cli.settings import LaunchSettings
from cli.stack import Stack
from common.clock import SystemClock
from vault.hashicorp.http import VaultHttp
from vault.hashicorp.kv import KeyValue
from vault.hashicorp.login import Connection, Logins

from tests.bench.accounts import Account

TENANTS = ("acme", "globex", "bare")
ALPHABET = string.ascii_lowercase + string.digits
UNBOUNDED = Path(__file__).with_name("worker.py")


class Worker(Child):
    """A worker of the pool besides the stack's own."""

    def ready(self) -> bool:
        """Ask the health service."""
        return grpc_serving(self.environment["STRONGROOM_HEALTH_ADDRESS"])


@dataclasses.dataclass
class World:
    """A running stack and what benchmarks do with it."""

    stack: Stack

    @property
    def facts(self) -> dict[str, Any]:
        """What `stack.json` holds."""
        return self.stack.description

    @property
    def login_key(self) -> Path:
        """The key with which the vault service logs in at OpenBao."""
        return self.stack.home / "login" / "login.key"

    def tenant(self, name: str) -> dict[str, str]:
        """Return id, name and token of a tenant."""
        return next(one for one in self.facts["tenants"] if one["name"] == name)

    def child(self, name: str) -> Any:
        """Return a process of the stack."""
        return next(child for child in self.stack.children if child.name == name)

    def headers(self, tenant: str) -> dict[str, str]:
        """Return what a tenant's REST client sends with each call."""
        return {"Authorization": f"Bearer {self.tenant(tenant)['token']}"}

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Call the simulator's control port and return its answer."""
        answer = httpx.request(method, self.facts["simulator_control_url"] + path, json=body, trust_env=False)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def faults(self, *faults: dict[str, Any]) -> None:
        """Replace the simulator's faults."""
        self.control("PUT", "/faults", {"faults": list(faults)})

    def limits(self, *, enforced: bool) -> None:
        """Begin the simulator's counts and log anew, with or without its limits."""
        self.control("POST", "/reset")
        self.control("PUT", "/limits", {"enforced": enforced})

    def workers(self, count: int, settings: Mapping[str, str] | None = None, **unbounded: float) -> None:
        """Stop every worker and start `count`, with these STRONGROOM_ settings; `unbounded` ones are not checked."""
        for child in [child for child in self.stack.children if child.name.startswith("worker")]:
            child.stop()
            if isinstance(child, Worker):
                self.stack.children.remove(child)
        first = self.child("worker")
        for number in range(1, count + 1):
            changed = {f"STRONGROOM_{name}": value for name, value in (settings or {}).items()}
            changed["STRONGROOM_HEALTH_ADDRESS"] = f"127.0.0.1:{free_port()}"
            command = [sys.executable, "-m", "verifier", "worker"]
            if unbounded:
                command = [sys.executable, str(UNBOUNDED), *(f"{name}={value}" for name, value in unbounded.items())]
            made = Worker(f"worker-{number}", command, {**first.environment, **changed}, self.stack.home / "logs")
            self.stack.children.append(made)
            made.start()

    @asynccontextmanager
    async def vault(self) -> AsyncIterator[tuple[VaultHttp, Logins]]:
        """Open OpenBao with the vault service's identities."""
        connection = Connection(self.facts["vault_addr"])
        logins = Logins(connection, self.login_key, SystemClock())
        async with VaultHttp(connection, logins) as http:
            yield http, logins

    @asynccontextmanager
    async def documents(self) -> AsyncIterator[KeyValue]:
        """Open the tenants' documents."""
        async with self.vault() as (http, _):
            yield KeyValue(http)

    def _hide_bare(self) -> None:
        """Take the tenant of the floors off the register; its role and its rights at OpenBao stay."""
        path = f"{self.facts['vault_addr']}/v1/strongroom/metadata/tenants/{self.tenant('bare')['id']}"
        with self.child("openbao").admin() as admin:
            token = admin.root_token()
        httpx.delete(path, headers={"X-Vault-Token": token}, trust_env=False).raise_for_status()

    def _meet(self, accounts: Sequence[Account]) -> None:
        """Start the simulator again with these accounts, so that it knows them after each further start too."""
        document = {"accounts": [account.simulated() for account in accounts], "limits": {"enforced": True}}
        config = write_private(self.stack.home / "simulator.json", json.dumps(document))
        simulator = self.child("simulator")
        simulator.stop()
        simulator.command += ["--config", str(config)]
        simulator.start()


@contextmanager
def running(home: Path, accounts: Sequence[Account], log_level: str = "info") -> Iterator[World]:
    """Run a stack with its state in `home`, and with these accounts at the simulator in place of the packaged ones."""
    _ensure_tenants(home)
    with Stack(LaunchSettings(home, free_port(), None, "127.0.0.1", log_level), lambda _: None) as stack:
        stack.start()
        world = World(stack)
        world._hide_bare()
        world._meet(accounts)
        yield world


def _ensure_tenants(home: Path) -> None:
    file = private_folder(home) / "tenants.json"
    if not file.exists():
        made = [{"id": "".join(secrets.choice(ALPHABET) for _ in range(26)), "name": name} for name in TENANTS]
        write_private(file, json.dumps(made))
