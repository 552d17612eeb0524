"""Own what the production profile refuses in settings. One pure function: the caller decides what becomes of it.

What settings cannot tell (rights, seal and storage of the server) the vault service asks the server at its start.
"""

from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

UNVERIFIED: Final = {"ssl_cert_reqs": ("none", "optional"), "ssl_check_hostname": ("false", "0", "no")}


def faults(settings: dict[str, Any]) -> list[str]:
    """Return what production does not allow in `settings` (values by the name of their field), each as "field: why"."""
    found = []
    vault, redis, bitget = (str(settings.get(f"{name}_url") or "") for name in ("vault", "redis", "bitget"))
    if vault and not all(url.startswith("https://") for url in vault.split(",")):
        found.append("vault_url: TLS is off: must begin with https://")
    if vault and not settings.get("vault_ca_file"):
        found.append("vault_ca_file: missing: name the authority of Vault's certificate")
    if redis and urlsplit(redis).scheme == "redis":
        found.append("redis_url: TLS is off: must begin with rediss://")
    found += [f"redis_url: {name} switches verification off" for name in _unverified(redis)]
    if bitget and not bitget.startswith("https://"):
        found.append("bitget_url: TLS is off: must begin with https://")
    collector = urlsplit(str(settings.get("otlp_endpoint") or ""))
    if collector.scheme == "http" and collector.hostname not in ("127.0.0.1", "localhost"):
        found.append("otlp_endpoint: TLS is off: must begin with https://, or be on this machine")
    for name in ("console_url", "console_authorize_url", "console_token_url"):
        if str(settings.get(name) or "").startswith("http:"):
            found.append(f"{name}: TLS is off: must begin with https://")
    if settings.get("console_local_file"):
        found.append("console_local_file: signs people in without asking who they are")
    if str(settings.get("webhooks_loopback", False)) == "True":
        found.append("webhooks_loopback: delivers without TLS, to this machine")
    return found


def _unverified(url: str) -> list[str]:
    """Return the parameters of a Redis URL by which the server's certificate would not be checked."""
    asked = parse_qsl(urlsplit(url).query)
    return [name for name, value in asked if value.lower() in UNVERIFIED.get(name.lower(), ())]
