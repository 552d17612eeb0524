"""The Python processes of the stack: what each is started with, and when it is ready.

The process contract in one place: every STRONGROOM_* variable a service gets is named here.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from cli.console import ConsoleSignIn
from cli.identities import Identities
from cli.processes import START_S, Child, LaunchError, clean_environment, free_port, listens
from cli.servers import RedisServer
from cli.settings import LaunchSettings

GRPC_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


@dataclass(frozen=True)
class Plan:
    """Where everything listens and what it needs to know of the others."""

    settings: LaunchSettings
    home: Path
    identities: Identities
    console: ConsoleSignIn
    vault_url: str
    redis: RedisServer
    bitget_url: str
    vault_target: str
    verifier_target: str

    @property
    def gateway_url(self) -> str:
        """The REST address."""
        return f"http://127.0.0.1:{self.settings.port}"


class Service(Child):
    """A `python -m` process of ours, ready when its health says so."""

    def __init__(self, name: str, plan: Plan, module: list[str], account: str, own: dict[str, str]) -> None:
        self.health_address = f"127.0.0.1:{free_port()}"
        leaf, issuer = plan.identities.leaves[account], plan.identities.issuer
        common = {
            "LOG_LEVEL": plan.settings.log_level,
            "HEALTH_ADDRESS": self.health_address,
            "TLS_CERT_FILE": str(leaf.cert_file),
            "TLS_KEY_FILE": str(leaf.key_file),
            "TLS_CA_FILE": str(leaf.ca_file),
            "JWT_ISSUER": issuer.issuer,
            "JWKS_FILE": str(issuer.jwks_file),
            **({"OTLP_ENDPOINT": plan.settings.otlp_endpoint} if plan.settings.otlp_endpoint else {}),
        }
        environment = clean_environment(**{f"STRONGROOM_{key}": value for key, value in {**common, **own}.items()})
        super().__init__(name, [sys.executable, "-m", *module], environment, plan.home / "logs")

    def ready(self) -> bool:
        """Ask the health service."""
        return grpc_serving(self.health_address)


class Gateway(Service):
    """The gateway, whose health speaks HTTP."""

    def ready(self) -> bool:
        """Ask the readiness page."""
        try:
            return httpx.get(f"http://{self.health_address}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


def _redis(plan: Plan, user: str) -> dict[str, str]:
    address, password_file = plan.redis.account(user)
    return {"REDIS_URL": address, "REDIS_PASSWORD_FILE": str(password_file)}


def gateway(plan: Plan) -> Gateway:
    """The REST face."""
    own = {
        "LISTEN": f"127.0.0.1:{plan.settings.port}",
        "VAULT_TARGET": plan.vault_target,
        "VERIFIER_TARGET": plan.verifier_target,
        **_redis(plan, "gateway"),
        "EGRESS_IPS": plan.settings.egress_ips,
        "CONSOLE_URL": plan.gateway_url,
        "CONSOLE_LOCAL_FILE": str(plan.console.file),
        "WEBHOOKS_LOOPBACK": "true",
    }
    return Gateway("gateway", plan, ["gateway"], "gateway", own)


def deliverer(plan: Plan) -> Service:
    """The process that delivers webhooks; here also to this machine."""
    own = {"VAULT_TARGET": plan.vault_target, **_redis(plan, "deliverer"), "WEBHOOKS_LOOPBACK": "true"}
    return Service("deliverer", plan, ["gateway", "deliver"], "deliverer", own)


def vault(plan: Plan) -> Service:
    """The vault service."""
    own = {
        "LISTEN": plan.vault_target,
        "VAULT_URL": plan.vault_url,
        "LOGIN_KEY_FILE": str(plan.identities.login_key_file),
        "AUDIT_FOLDER": str(plan.home / "audit"),
    }
    return Service("vault", plan, ["vault"], "vault", own)


def verifier(plan: Plan) -> Service:
    """The verifier's gRPC front."""
    own = {
        "LISTEN": plan.verifier_target,
        "VAULT_TARGET": plan.vault_target,
        **_redis(plan, "verifier"),
        "BITGET_URL": plan.bitget_url,
        "EGRESS_IPS": plan.settings.egress_ips,
    }
    return Service("verifier", plan, ["verifier", "api"], "verifier", own)


def worker(plan: Plan) -> Service:
    """One worker of the pool."""
    own = {
        "VAULT_TARGET": plan.vault_target,
        **_redis(plan, "worker"),
        "BITGET_URL": plan.bitget_url,
        "EGRESS_IPS": plan.settings.egress_ips,
    }
    return Service("worker", plan, ["verifier", "worker"], "worker", own)


class Provision(Child):
    """The one-shot that prepares OpenBao; `wait_ready` waits for its end."""

    def __init__(self, plan: Plan, token_file: Path) -> None:
        own = {
            "STRONGROOM_VAULT_URL": plan.vault_url,
            "STRONGROOM_VAULT_TOKEN_FILE": str(token_file),
            "STRONGROOM_LOGIN_PUBLIC_KEY_FILE": str(plan.identities.login_public_key_file),
            "STRONGROOM_TENANTS_FILE": str(plan.identities.tenants_file),
        }
        command = [sys.executable, "-m", "vault", "provision"]
        super().__init__("provision", command, clean_environment(**own), plan.home / "logs")

    def wait_ready(self, seconds: float = START_S) -> None:
        """Wait for the end; raises LaunchError with its last words unless it succeeded, at the third try at the latest.

        It may be repeated, and must be: a KV v2 mount refuses writes in the moment after it was made.
        """
        for attempt in range(3):
            if attempt:
                self.spawn()
            if self.process is not None and self.process.wait(seconds) == 0:
                return
        raise LaunchError(f"OpenBao could not be prepared: {self.last_words()}")


class Simulator(Child):
    """The simulated exchange; its addresses are known once it is ready."""

    def __init__(self, home: Path) -> None:
        port, control_port = free_port(), free_port()
        self.url, self.control_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control_port}"
        self._ready_file = home / "simulator.ready"
        options = ["--port", str(port), "--control-port", str(control_port), "--ready-file", str(self._ready_file)]
        command = [sys.executable, "-m", "simulator", *options]
        super().__init__("simulator", command, clean_environment(), home / "logs")

    def spawn(self) -> None:
        """Start anew: an old ready file says nothing."""
        self._ready_file.unlink(missing_ok=True)
        super().spawn()

    def ready(self) -> bool:
        """Tell whether the simulator has written its addresses."""
        return self._ready_file.exists()


def grpc_serving(address: str) -> bool:
    """Ask the standard gRPC health service at `address` (plaintext) for the whole process."""
    if not listens(int(address.rpartition(":")[2])):
        return False
    import grpc  # noqa: PLC0415  its import overlaps with the services' start

    with grpc.insecure_channel(address) as channel:
        check: Callable[..., bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        try:
            return check(b"", timeout=2) == GRPC_SERVING
        except grpc.RpcError:
            return False
