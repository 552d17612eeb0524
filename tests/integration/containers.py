"""HashiCorp Vault and Redis in containers, in the place of the wheels' servers: the same suite runs on them.

Needs a Docker engine on this machine. The images are compose's own, so that what is tested is what is deployed. They
keep the names of the servers whose place they take, and publish their ports on 127.0.0.1 only.
"""

import contextlib
from pathlib import Path
from secrets import token_hex

import docker
import redis
import yaml
from cli.files import write_private
from cli.processes import Child, LaunchError, free_port
from cli.servers import RedisServer, VaultServer
from cli.vault_admin import ACTIVE, SHAMIR, VaultAdmin
from testcontainers.core.container import DockerContainer

ROOT = Path(__file__).resolve().parents[2]
# Raft as in compose, in the image's own volume, which outlives a kill. Provisioning enables the audit device.
VAULT_CONFIG = """
{"storage": {"raft": {"path": "/vault/file", "node_id": "node-1", "performance_multiplier": 1}}, "disable_mlock": true,
 "api_addr": "http://127.0.0.1:8200", "cluster_addr": "http://127.0.0.1:8201",
 "listener": {"tcp": {"address": "0.0.0.0:8200", "tls_disable": true}}}
"""


def image(service: str) -> str:
    """Return the image that docker-compose.yml names for `service`."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return str(compose["services"][service]["image"])


class Contained(Child):
    """A child that is a container, with one port of 127.0.0.1; `state` is the folder inside that outlives a kill."""

    state: str
    _made = False

    def __init__(self, name: str, home: Path, made: DockerContainer, inner_port: int) -> None:
        super().__init__(name, [], {}, home / "logs")
        self.port = free_port()
        self.container = made
        # with_bind_ports takes no address and would publish on every one.
        self.container.ports[str(inner_port)] = ("127.0.0.1", self.port)

    @property
    def pid(self) -> int:
        return int(self._wrapped().attrs["State"]["Pid"])

    @property
    def alive(self) -> bool:
        return self._made and self._wrapped().status in ("running", "paused")

    def spawn(self) -> None:
        try:
            if self._made:
                self._wrapped().start()
            else:
                self.container.start()
                self._made = True
        except docker.errors.DockerException as error:
            raise LaunchError(f"{self.container.image} does not start: {error}") from None

    def last_words(self) -> str:
        return str(self._wrapped().logs(tail=1).decode(errors="replace"))

    def ask_to_stop(self) -> None:
        """A container is stopped and removed in one call."""

    def stop(self, grace: float = 12) -> None:
        with contextlib.suppress(docker.errors.NotFound):
            self.container.stop()
        self._made = False

    def kill(self) -> None:
        if self._made:
            with contextlib.suppress(docker.errors.APIError):  # it may not be running
                self._wrapped().kill()
            self._wrapped().wait()

    def pause(self) -> None:
        self._wrapped().pause()

    def resume(self) -> None:
        self._wrapped().unpause()

    def written(self) -> dict[str, bytes]:
        """Return what the container wrote: its output, and its state as a tar archive."""
        chunks, _ = self._wrapped().get_archive(self.state)
        archive = b"".join(chunks)  # read first: the engine answers nothing else about the container meanwhile
        return {f"{self.name}.log": self._wrapped().logs(), f"{self.name}.tar": archive}

    def _wrapped(self) -> docker.models.containers.Container:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return wrapped


class HashicorpVault(Contained, VaultServer):
    """HashiCorp Vault, initialised and unsealed at each start."""

    state = "/vault/file"

    def __init__(self, home: Path) -> None:
        made = DockerContainer(image("hashicorp-vault")).with_command("server")
        made.with_envs(VAULT_LOCAL_CONFIG=VAULT_CONFIG, SKIP_SETCAP="1")
        super().__init__("openbao", home, made, 8200)
        self.url = f"http://127.0.0.1:{self.port}"
        self._init_file = home / "vault-init.json"

    def admin(self) -> VaultAdmin:
        return VaultAdmin(self.url, self._init_file)

    def wait_ready(self, seconds: float = 60) -> None:
        with self.admin() as admin:
            self.wait_for(lambda: admin.health() is not None, seconds)
            admin.initialise(SHAMIR)
            admin.unseal()
            self.wait_for(lambda: admin.health() == ACTIVE, seconds)


class RedisContainer(Contained, RedisServer):
    """Redis with a password and an append-only file."""

    state = "/data"

    def __init__(self, home: Path) -> None:
        password = token_hex(16)
        command = f"redis-server --requirepass {password} --appendonly yes --save ''"
        made = DockerContainer(image("redis")).with_command(command)
        super().__init__("valkey", home, made, 6379)
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self.url = f"redis://:{password}@127.0.0.1:{self.port}/0"
        self.password_file = write_private(home / "redis-password", password)

    def account(self, user: str) -> tuple[str, Path]:
        """Give every process the user who may do everything: the rules of users are proven on the wheel's server."""
        return self.address, self.password_file

    def ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as server:
                return bool(server.ping())
        except redis.RedisError:
            return False


def containers(home: Path) -> tuple[VaultServer, RedisServer]:
    """Return both servers, not yet started."""
    return HashicorpVault(home), RedisContainer(home)
