"""Readers of single values of the configuration: each returns the value or refuses it by its field's name, and never
repeats it, since it may be a credential."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import AddressValueError, IPv4Address
from typing import Any


class ConfigError(ValueError):
    """The configuration is wrong; the text names the field and what it must be, never a value."""


def mapping(value: Any, name: str, allowed: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping")
    if allowed is not None and (unknown := [key for key in value if key not in allowed]):
        raise ConfigError(f"{name}: unknown field {str(unknown[0])[:40]!r}")
    return value


def sequence(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{name} must be a list")
    return value


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text (put quotes around digits)")
    return value


def texts(value: Any, name: str) -> tuple[str, ...]:
    return tuple(text(item, name) for item in sequence(value, name))


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false")
    return value


def choice(value: Any, name: str, options: tuple[str, ...]) -> Any:
    if value not in options:
        raise ConfigError(f"{name} must be one of {', '.join(options)}")
    return value


def amount(value: Any, name: str) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ConfigError(f"{name}: an amount must be a decimal number") from error
    if not amount.is_finite() or amount < 0:
        raise ConfigError(f"{name}: an amount must be zero or more")
    return amount


def number(value: Any, name: str) -> float:
    """Return a number, whole or not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{name} must be a number")
    return float(value)


def count(value: Any, name: str) -> int:
    """Return a whole number of zero or more."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"{name} must be a whole number")
    return value


def ipv4(value: str, name: str) -> str:
    """Return an IPv4 address."""
    try:
        return str(IPv4Address(value))
    except AddressValueError as error:
        raise ConfigError(f"{name} must be an IPv4 address") from error
