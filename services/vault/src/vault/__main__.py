"""Run the vault service, or `provision` a Vault for it. `--check` prints the settings that would be used."""

import asyncio
import sys

import requests
from common import lifecycle, logs, tracing
from common.config import load, read_secret
from common.errors import StrongroomError
from common.trail import ChainBroken
from hvac.exceptions import VaultError

from vault.app import App
from vault.hashicorp.login import admin_client
from vault.hashicorp.preflight import WrongRights
from vault.hashicorp.provision import provision, tenants_of
from vault.hashicorp.server import is_root
from vault.settings import ProvisionSettings, VaultSettings


def serve(arguments: list[str]) -> None:
    """Serve until SIGTERM; exit 1 with one line when the start is refused."""
    settings = load(VaultSettings, arguments)
    logs.configure("vault", settings.log_level)

    async def main(stopping: asyncio.Event) -> None:
        await App(settings).serve(stopping)

    try:
        with tracing.running("vault", settings):
            lifecycle.run(main)
    except (WrongRights, ChainBroken) as error:
        _end(str(error))
    except StrongroomError as error:
        _end(error.detail)
    except BlockingIOError:
        _end("another process holds the audit folder")
    except OSError as error:
        _end(f"{error.strerror}: {error.filename}")


def provision_vault(arguments: list[str]) -> None:
    """Prepare the Vault that the settings name, line by line."""
    settings = load(ProvisionSettings, arguments)
    try:
        tenants = tenants_of(settings.tenants_file)
    except (ValueError, StrongroomError) as error:
        _end(f"STRONGROOM_TENANTS_FILE: {getattr(error, 'detail', error)}", 2)
    client = admin_client(settings.connection, read_secret(settings.vault_token_file))
    try:
        if settings.profile == "production" and is_root(client):
            _end("refused in production: STRONGROOM_VAULT_TOKEN_FILE holds a root token")
        provision(client, settings.login_public_key_file.read_text(), tenants, _say)
    except VaultError as error:
        _end(f"Vault refused ({type(error).__name__})")
    except requests.RequestException as error:
        _end(f"Vault cannot be reached ({type(error).__name__})")
    finally:
        client.adapter.close()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _end(line: str, code: int = 1) -> None:
    sys.stderr.write(f"vault: {line}\n")
    raise SystemExit(code)


if __name__ == "__main__":
    if sys.argv[1:2] == ["provision"]:
        provision_vault(sys.argv[2:])
    else:
        serve(sys.argv[1:])
