"""Own a key's IP list: entries as the exchange shows them, what they cover, and which of them cannot be read.

Bitget documents single IPv4 addresses only. Whatever else stands in a list is read, so that it can be told.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, Final

LIST_LIMIT: Final = 200
_SHOWN: Final = re.compile(r"[!-~][ -~]{0,63}")
_ENTRY: Final = re.compile(r"[0-9A-Fa-f.:/ -]{1,100}")
Address = IPv4Address | IPv6Address


def listed(value: Any) -> tuple[str, ...] | None:
    """Return a list given as comma text, list or null, sorted; None when its shape is unknown, () for no list.

    What is no short plain text stands as "?".
    """
    if value is None:
        return ()
    if isinstance(value, str):
        value = value.split(",")
    if not isinstance(value, list):
        return None
    texts = [item.strip() for item in value[:LIST_LIMIT] if isinstance(item, str)]
    if value and not texts:
        return None
    return tuple(sorted({text if _SHOWN.fullmatch(text) else "?" for text in texts if text}))


def readable(entries: tuple[str, ...]) -> bool:
    """Tell whether it is known what each entry covers."""
    return all(map(_span, entries))


def covers(entries: tuple[str, ...], address: str) -> bool:
    """Tell whether a list contains an address, by itself or in a network or range."""
    wanted = _address(address)
    return wanted is not None and any(_within(wanted, entry) for entry in entries)


def misused(entries: tuple[str, ...]) -> list[str]:
    """Return the entries that are no single IPv4 address."""
    return [entry for entry in entries if not isinstance(_address(entry), IPv4Address)]


def loopback(entries: tuple[str, ...]) -> bool:
    """Tell whether a list contains this very machine, as only a simulated exchange's can."""
    spans = [span for entry in entries if (span := _span(entry))]
    return any(first.is_loopback and last.is_loopback for first, last in spans)


def _within(address: Address, entry: str) -> bool:
    span = _span(entry)
    return span is not None and span[0].version == address.version and int(span[0]) <= int(address) <= int(span[1])


def _span(entry: str) -> tuple[Address, Address] | None:
    """Return the first and last address of an entry; None for what is none."""
    if not _ENTRY.fullmatch(entry):
        return None
    first, dash, last = (part.strip() for part in entry.partition("-"))
    if dash:
        low, high = _address(first), _address(last)
        return (low, high) if low and high and low.version == high.version and int(low) <= int(high) else None
    try:
        network = ip_network(entry, strict=False)
    except ValueError:
        return None
    return network.network_address, network.broadcast_address


def _address(text: str) -> Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None
