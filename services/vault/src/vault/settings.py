"""Own the settings of the vault service and of its provisioning."""

from pathlib import Path
from typing import Annotated, Final

from common.config import Address, ServiceSettings, Settings
from pydantic import Field, FilePath

from vault.hashicorp.login import Connection

ONE: Final = r"https?://[A-Za-z0-9.:\[\]-]+/?"
Urls = Annotated[str, Field(pattern=f"^{ONE}(,{ONE})*$")]


class VaultSettings(ServiceSettings):
    """`python -m vault`."""

    listen: Address
    vault_url: Urls
    vault_ca_file: FilePath | None = None
    login_key_file: FilePath
    audit_folder: Path
    audit_file_mb: Annotated[int, Field(ge=1, le=65536)] = 256

    @property
    def connection(self) -> Connection:
        """Where Vault is."""
        return Connection(self.vault_url, self.vault_ca_file)


class ProvisionSettings(Settings):
    """`python -m vault provision`."""

    vault_url: Urls
    vault_ca_file: FilePath | None = None
    vault_token_file: FilePath
    login_public_key_file: FilePath
    tenants_file: FilePath

    @property
    def connection(self) -> Connection:
        """Where Vault is."""
        return Connection(self.vault_url, self.vault_ca_file)
