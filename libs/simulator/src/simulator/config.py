"""Reads accounts and faults from YAML or JSON values, strictly: an unknown field or a wrong type is refused by
name. A message here never repeats a value, since values may be credentials."""

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import yaml
from cryptography.exceptions import UnsupportedAlgorithm

from simulator.accounts import Account, Holding, Style
from simulator.exchange import DEFAULT_PRICES, Exchange, Setup
from simulator.faults import Fault, Kind
from simulator.signature import HmacVerifier, RsaVerifier, Verifier

PEM_MARK: Final = "-----BEGIN"
SAMPLE: Final = Path(str(files("simulator") / "sample.yaml"))

_TEXTS: Final = (
    "name",
    "api_key",
    "passphrase",
    "uid",
    "secret_key",
    "public_key_pem",
    "parent_id",
    "seen_ip",
    "expect",
)
_LISTS: Final = ("authorities", "permissions", "ips")
_CHOICES: Final = {
    name: get_args(hint) for name, hint in get_type_hints(Account).items() if name in ("mode", "perm_type")
}
_STYLES: Final = {name: get_args(hint) for name, hint in get_type_hints(Style).items()}
_WALLETS: Final = ("spot", "futures", "funding")
_KEYS_OF_ACCOUNT: Final = {*_TEXTS, *_LISTS, *_CHOICES, "demo", "style", "balances"}
_REQUIRED: Final = ("name", "api_key", "passphrase", "uid")


class ConfigError(ValueError):
    """The configuration is wrong; the text names the field and what it must be, never a value."""


def load(source: str | Path | None = None, *, limits: bool = True) -> Exchange:
    """Return an exchange set up from a YAML file or YAML text (text has a line break); without a source, from the
    packaged sample. `limits=False` turns request limits off, whatever the source says."""
    text = source if isinstance(source, str) and "\n" in source else Path(source or SAMPLE).read_text(encoding="utf-8")
    try:
        parsed = setup(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise ConfigError("the configuration is not YAML") from error
    return Exchange(parsed if limits else replace(parsed, limits_enforced=False))


def setup(document: Any) -> Setup:
    """Return the parsed `{accounts, faults, limits: {enforced}, prices}`."""
    top = _mapping(document, "configuration", {"accounts", "faults", "limits", "prices"})
    accounts = tuple(account(item) for item in _sequence(top.get("accounts", []), "accounts"))
    for unique in ("name", "api_key"):
        if len({getattr(item, unique) for item in accounts}) != len(accounts):
            raise ConfigError(f"accounts: {unique} must be unique")
    return Setup(
        accounts=accounts,
        faults=faults(top.get("faults", [])),
        limits_enforced=enforced(top.get("limits", {"enforced": True})),
        prices={**DEFAULT_PRICES, **{str(coin): _amount(price, "prices") for coin, price in _prices(top)}},
    )


def account(value: Any) -> Account:
    """Return one account; exactly one of `secret_key` and `public_key_pem` must be given. A `secret_key` in PEM
    is an RSA private key; any other is an HMAC secret."""
    given = _mapping(value, "account", _KEYS_OF_ACCOUNT)
    for name in _REQUIRED:
        if not given.get(name):
            raise ConfigError(f"account: {name} is required")
    known: dict[str, Any] = {name: _text(given[name], name) for name in _TEXTS if name in given}
    known |= {name: _texts(given[name], name) for name in _LISTS if name in given}
    known |= {name: _choice(given[name], name, options) for name, options in _CHOICES.items() if name in given}
    if not all(known.get(name, "").isdecimal() for name in ("uid", "parent_id") if known.get(name)):
        raise ConfigError("uid and parent_id must be digits")
    _check_addresses((*known.get("ips", ()), *filter(None, [known.get("seen_ip")])))
    known |= _wallets(given.get("balances", {}))
    return Account(
        **known,
        demo=_flag(given.get("demo", False), "demo"),
        style=_style(given.get("style", {})),
        verifier=_verifier(known.get("secret_key", ""), known.get("public_key_pem", "")),
    )


def document(known: Account) -> dict[str, Any]:
    """Return an account as `account` reads it; `account(document(a)) == a` but for the verifier."""
    plain = {name: getattr(known, name) for name in (*_TEXTS, *_CHOICES, "demo") if getattr(known, name) != ""}
    wallets = {name: getattr(known, name) for name in _WALLETS}
    return {
        **plain,
        **{name: list(getattr(known, name)) for name in _LISTS},
        "style": {name: getattr(known.style, name) for name in _STYLES},
        "balances": {
            name: {coin: {"available": str(h.available), "frozen": str(h.frozen)} for coin, h in wallet.items()}
            for name, wallet in wallets.items()
        },
    }


def faults(value: Any) -> tuple[Fault, ...]:
    """Return the faults of a list."""
    return tuple(_fault(item) for item in _sequence(value, "faults"))


def enforced(value: Any) -> bool:
    """Return the flag of `{enforced: bool}`."""
    return _flag(_mapping(value, "limits", {"enforced"}).get("enforced"), "enforced")


def _fault(value: Any) -> Fault:
    given = _mapping(value, "fault", {item.name for item in fields(Fault)})
    known: dict[str, Any] = {"kind": _choice(given.get("kind"), "kind", get_args(Kind))}
    known |= {name: _text(given[name], name) for name in ("account", "path", "code", "msg") if name in given}
    seconds, status, times = given.get("seconds", 0.0), given.get("status", 0), given.get("times")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise ConfigError("seconds must be a number")
    if known["kind"] == "latency" and seconds < 0:
        raise ConfigError("seconds must not be negative for latency")
    if isinstance(status, bool) or not isinstance(status, int) or not (status == 0 or 200 <= status <= 599):
        raise ConfigError("status must be an HTTP status")
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise ConfigError("times must be a positive number")
    return Fault(**known, seconds=float(seconds), status=status, times=times)


def _verifier(secret_key: str, public_key_pem: str) -> Verifier:
    if bool(secret_key) == bool(public_key_pem):
        raise ConfigError("account: give one of secret_key and public_key_pem")
    try:
        pem = secret_key if secret_key.startswith(PEM_MARK) else public_key_pem
        return RsaVerifier(pem) if pem else HmacVerifier(secret_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        name = "secret_key in PEM" if secret_key else "public_key_pem"
        raise ConfigError(f"{name} must be an RSA key of 2048 or 4096 bits") from None


def _wallets(value: Any) -> dict[str, dict[str, Holding]]:
    given = _mapping(value, "balances", set(_WALLETS))
    return {
        name: {str(coin): _holding(amount, name) for coin, amount in _mapping(wallet, name, None).items()}
        for name, wallet in given.items()
    }


def _holding(value: Any, name: str) -> Holding:
    if not isinstance(value, Mapping):
        return Holding(_amount(value, name), Decimal(0))
    given = _mapping(value, name, {"available", "frozen"})
    return Holding(_amount(given.get("available", 0), name), _amount(given.get("frozen", 0), name))


def _style(value: Any) -> Style:
    given = _mapping(value, "style", set(_STYLES))
    return Style(**{name: _choice(choice, name, _STYLES[name]) for name, choice in given.items()})


def _prices(top: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(_mapping(top.get("prices", {}), "prices", None).items())


def _amount(value: Any, name: str) -> Decimal:
    try:
        amount = Decimal(str(value))
    except InvalidOperation as error:
        raise ConfigError(f"{name}: an amount must be a decimal number") from error
    if not amount.is_finite() or amount < 0:
        raise ConfigError(f"{name}: an amount must be zero or more")
    return amount


def _check_addresses(addresses: tuple[str, ...]) -> None:
    try:
        for address in addresses:
            IPv4Address(address)
    except AddressValueError as error:
        raise ConfigError("ips and seen_ip must be IPv4 addresses") from error


def _mapping(value: Any, name: str, allowed: set[str] | None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} must be a mapping")
    if allowed is not None and (unknown := [key for key in value if key not in allowed]):
        raise ConfigError(f"{name}: unknown field {str(unknown[0])[:40]!r}")
    return value


def _sequence(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise ConfigError(f"{name} must be a list")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{name} must be text (put quotes around digits)")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    return tuple(_text(item, name) for item in _sequence(value, name))


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false")
    return value


def _choice(value: Any, name: str, options: tuple[str, ...]) -> Any:
    if value not in options:
        raise ConfigError(f"{name} must be one of {', '.join(options)}")
    return value
