"""What the stack needs of the two servers that it does not write itself, whoever runs them."""

from abc import abstractmethod
from pathlib import Path

from cli.processes import Child
from cli.vault_admin import VaultAdmin


class VaultServer(Child):
    """A server with Vault's API at `url`, initialised and unsealed once it is ready."""

    url: str

    @abstractmethod
    def admin(self) -> VaultAdmin:
        """Return this server's administration."""


class RedisServer(Child):
    """A server with Redis's protocol: at `address`, with the password in `password_file`; `url` holds both."""

    address: str
    password_file: Path
    url: str

    @abstractmethod
    def account(self, user: str) -> tuple[str, Path]:
        """Return the address for a process, with its user's name, and the file with its password."""
