"""HashiCorp Vault and Redis in containers, in the place of the wheels' servers: the same suite runs on them.

Needs a Docker engine. The images are compose's own, so that what is tested is what is deployed.
"""

import contextlib
from pathlib import Path

import docker
import redis
import yaml
from cli.processes import clean_environment, free_port
from cli.servers import RedisServer, VaultServer
from cli.vault_admin import ACTIVE, SHAMIR, VaultAdmin
from testcontainers.core.container import DockerContainer

ROOT = Path(__file__).resolve().parents[2]
SHAMIR_SEALED = 503
# File storage, so that the state outlives a kill; the audit device is enabled by provisioning, through the API.
VAULT_CONFIG = """
{"storage": {"file": {"path": "/vault/file"}}, "disable_mlock": true, "api_addr": "http://127.0.0.1:8200",
 "listener": {"tcp": {"address": "0.0.0.0:8200", "tls_disable": true}}}
"""


def image(service: str) -> str:
    """Return the image that docker-compose.yml names for `service`."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return str(compose["services"][service]["image"])


class _Contained:
    """What turns a child process into a container with a fixed port of 127.0.0.1."""

    container: DockerContainer
    _made = False

    @property
    def pid(self) -> int:
        return int(self._wrapped().attrs["State"]["Pid"])

    @property
    def alive(self) -> bool:
        return self._made and self._wrapped().status in ("running", "paused")

    def spawn(self) -> None:
        if not self._made:
            self.container.start()
            self._made = True
        else:
            self._wrapped().start()

    def last_words(self) -> str:
        return str(self._wrapped().logs(tail=1).decode(errors="replace"))

    def ask_to_stop(self) -> None:
        """A container is asked and waited for in one call."""

    def stop(self, grace: float = 12) -> None:
        if self._made:
            self.container.stop()
            self._made = False

    def kill(self) -> None:
        if self._made:
            with contextlib.suppress(docker.errors.APIError):
                self._wrapped().kill()

    def pause(self) -> None:
        self._wrapped().pause()

    def resume(self) -> None:
        self._wrapped().unpause()

    def _wrapped(self) -> docker.models.containers.Container:
        wrapped = self.container.get_wrapped_container()
        wrapped.reload()
        return wrapped


class HashicorpVault(_Contained, VaultServer):
    """HashiCorp Vault, initialised and unsealed at each start."""

    def __init__(self, home: Path) -> None:
        VaultServer.__init__(self, "openbao", [], clean_environment(), home / "logs")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._init_file = home / "vault-init.json"
        made = DockerContainer(image("hashicorp-vault")).with_command("server").with_bind_ports(8200, port)
        self.container = made.with_env("VAULT_LOCAL_CONFIG", VAULT_CONFIG).with_env("SKIP_SETCAP", "1")

    def admin(self) -> VaultAdmin:
        return VaultAdmin(self.url, self._init_file)

    def wait_ready(self, seconds: float = 60) -> None:
        with self.admin() as admin:
            self.wait_for(lambda: admin.health() is not None, seconds)
            admin.initialise(SHAMIR)
            if admin.health() == SHAMIR_SEALED:
                admin.unseal()
            self.wait_for(lambda: admin.health() == ACTIVE, seconds)


class RedisContainer(_Contained, RedisServer):
    """Redis with an append-only file."""

    def __init__(self, home: Path) -> None:
        RedisServer.__init__(self, "valkey", [], clean_environment(), home / "logs")
        port = free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        command = "redis-server --appendonly yes --save ''"
        self.container = DockerContainer(image("redis")).with_command(command).with_bind_ports(6379, port)

    def ready(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as server:
                return bool(server.ping())
        except redis.RedisError:
            return False


def containers(home: Path) -> tuple[VaultServer, RedisServer]:
    """Return both servers, not yet started."""
    return HashicorpVault(home), RedisContainer(home)
