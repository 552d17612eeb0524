"""Own where a webhook may be sent: which addresses a tenant may name, and which of the network's are called at all.

A URL names a host that only DNS can answer for, so no spelling of an address gets by. A name is resolved once for each
delivery; every answer must be public, and the connection goes to one of those answers and to nothing else.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Final

PORTS: Final = (443, 8443)
# A label of digits alone, or of 0x and digits, never ends a public name; so no spelling of an IPv4 address is one.
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)+(?:[a-z]{{2,63}}|xn--[a-z0-9-]{{1,58}}[a-z0-9])")
_TARGET: Final = r"(?P<target>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
_URL: Final = re.compile(rf"https://(?P<host>[a-z0-9.-]{{1,253}})(?::(?P<port>[0-9]{{1,5}}))?{_TARGET}")
_LOOPBACK: Final = re.compile(rf"http://127\.0\.0\.1:(?P<port>[0-9]{{1,5}}){_TARGET}")
_INSIDE: Final = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "onion", "invalid")
_CLOSED_V4: Final = tuple(
    map(
        IPv4Network,
        (
            *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
            *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        ),
    )
)
# Of IPv6 only global unicast is open, and of it nothing that leads to an IPv4 address or is set apart: Teredo, ORCHID
# and others of 2001::/23, documentation, 6to4. IPv4-mapped, -compatible and NAT64 addresses lie outside of it.
_OPEN_V6: Final = IPv6Network("2000::/3")
_CLOSED_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))

Resolve = Callable[[str], Awaitable[list[str]]]


class Refused(Exception):
    """The address may not be called; `reason` is a word of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart: what to connect to, and the target of the request line."""

    host: str
    port: int
    target: str
    tls: bool = True


def parse(url: str, *, loopback: bool = False) -> Destination:
    """Return a URL's parts; raise Refused for what no endpoint may have.

    With `loopback`, which production refuses, `http://127.0.0.1:port` is taken as well.
    """
    if loopback and (match := _LOOPBACK.fullmatch(url)) and 0 < int(match["port"]) < 65536:
        return Destination("127.0.0.1", int(match["port"]), match["target"] or "/", tls=False)
    match = _URL.fullmatch(url)
    if match is None or not _HOST.fullmatch(match["host"]):
        raise Refused("malformed")
    if match["host"].rpartition(".")[2] in _INSIDE:
        raise Refused("not_public")
    port = int(match["port"] or 443)
    if port not in PORTS:
        raise Refused("port")
    target = match["target"] or "/"
    return Destination(match["host"], port, target if target.startswith("/") else f"/{target}")


def public(address: str) -> bool:
    """Tell whether an IP address is one of the public network, and not one that leads to another address."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return not any(found in network for network in _CLOSED_V4)
    return found in _OPEN_V6 and not found.scope_id and not any(found in network for network in _CLOSED_V6)


async def ask_dns(host: str) -> list[str]:
    """Return the addresses of a name; raises OSError. The dot at its end keeps the machine's own domains out."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(f"{host}.", None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def pinned(destination: Destination, resolve: Resolve = ask_dns) -> str:
    """Return the one address to connect to; raise Refused unless every answer for the name is public, OSError."""
    if not destination.tls:  # only a URL of loopback has none
        return destination.host
    addresses = await resolve(destination.host)
    if not addresses or not all(public(address) for address in addresses):
        raise Refused("not_public")
    return addresses[0]
