"""Reads accounts and faults from YAML or JSON values, strictly: an unknown field or a wrong type is refused by
name. A message here never repeats a value, since values may be credentials."""

import re
from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, get_args, get_type_hints

import yaml
from cryptography.exceptions import UnsupportedAlgorithm

from simulator import values
from simulator.accounts import Account, Holding, Later, Style
from simulator.codes import ELITE_TRADER, STATES
from simulator.exchange import DEFAULT_PRICES, Exchange, Setup
from simulator.faults import NONSENSE, Fault, Kind
from simulator.signature import HmacVerifier, RsaVerifier, Verifier
from simulator.values import ConfigError

PEM_MARK: Final = "-----BEGIN"
SAMPLE: Final = Path(str(files("simulator") / "scenarios.yaml"))

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
_NUMBERS: Final = ("fresh_for", "fresh_calls")
_KEYS_OF_ACCOUNT: Final = {*_TEXTS, *_LISTS, *_CHOICES, *_NUMBERS, "demo", "style", "balances", "state", "later"}
_STATES: Final = ("", ELITE_TRADER, *STATES)
# Bitget takes IPv4 addresses only; other text in the list is shown as given and lets nobody in.
_LISTED: Final = re.compile(r"(?=.*[.:])[0-9A-Fa-f:][0-9A-Fa-f.:/*-]{0,63}")
# The C parser reads the packaged file in a tenth of the time; a build without it has only the other.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_REQUIRED: Final = ("name", "api_key", "passphrase", "uid")


def load(source: str | Path | None = None, *, limits: bool = True) -> Exchange:
    """Return an exchange set up from a YAML file or YAML text (text has a line break); without a source, from the
    packaged sample. `limits=False` turns request limits off, whatever the source says."""
    parsed = setup(read(source))
    return Exchange(parsed if limits else replace(parsed, limits_enforced=False))


def read(source: str | Path | None = None) -> Any:
    """Return the document of a source, unchecked; ConfigError for what is not YAML."""
    text = source if isinstance(source, str) and "\n" in source else Path(source or SAMPLE).read_text(encoding="utf-8")
    try:
        return yaml.load(text, _LOADER)  # noqa: S506  both loaders are the safe one
    except yaml.YAMLError as error:
        raise ConfigError("the configuration is not YAML") from error


def setup(document: Any) -> Setup:
    """Return the parsed `{accounts, faults, limits: {enforced}, prices}`; `scenarios` are read elsewhere."""
    top = values.mapping(document, "configuration", {"accounts", "faults", "limits", "prices", "scenarios"})
    accounts = tuple(account(item) for item in values.sequence(top.get("accounts", []), "accounts"))
    for unique in ("name", "api_key"):
        if len({getattr(item, unique) for item in accounts}) != len(accounts):
            raise ConfigError(f"accounts: {unique} must be unique")
    return Setup(
        accounts=accounts,
        faults=faults(top.get("faults", [])),
        limits_enforced=enforced(top.get("limits", {"enforced": True})),
        prices={**DEFAULT_PRICES, **{str(coin): values.amount(price, "prices") for coin, price in _prices(top)}},
    )


def account(value: Any) -> Account:
    """Return one account; exactly one of `secret_key` and `public_key_pem` must be given. A `secret_key` in PEM
    is an RSA private key; any other is an HMAC secret."""
    given = values.mapping(value, "account", _KEYS_OF_ACCOUNT)
    for name in _REQUIRED:
        if not given.get(name):
            raise ConfigError(f"account: {name} is required")
    known: dict[str, Any] = {name: values.text(given[name], name) for name in _TEXTS if name in given}
    known |= {name: values.texts(given[name], name) for name in _LISTS if name in given}
    known |= {name: values.choice(given[name], name, options) for name, options in _CHOICES.items() if name in given}
    if not all(known.get(name, "").isdecimal() for name in ("uid", "parent_id") if known.get(name)):
        raise ConfigError("uid and parent_id must be digits")
    _check_addresses(known)
    known |= _wallets(given.get("balances", {}))
    return Account(
        **known,
        demo=values.flag(given.get("demo", False), "demo"),
        style=_style(given.get("style", {})),
        state=values.choice(given.get("state", ""), "state", _STATES),
        fresh_for=max(0.0, values.number(given.get("fresh_for", 0.0), "fresh_for")),
        fresh_calls=values.count(given.get("fresh_calls", 0), "fresh_calls"),
        later=_later(given),
        verifier=_verifier(known.get("secret_key", ""), known.get("public_key_pem", "")),
    )


def document(known: Account) -> dict[str, Any]:
    """Return an account as `account` reads it; `account(document(a)) == a` but for the verifier."""
    plain = {name: getattr(known, name) for name in (*_TEXTS, *_CHOICES, "demo") if getattr(known, name) != ""}
    wallets = {name: getattr(known, name) for name in _WALLETS}
    return {
        **plain,
        **{name: list(getattr(known, name)) for name in _LISTS},
        **{name: getattr(known, name) for name in (*_NUMBERS, "state") if getattr(known, name)},
        **({"later": _steps(known)} if known.later else {}),
        "style": {name: getattr(known.style, name) for name in _STYLES},
        "balances": {
            name: {coin: {"available": str(h.available), "frozen": str(h.frozen)} for coin, h in wallet.items()}
            for name, wallet in wallets.items()
        },
    }


def faults(value: Any) -> tuple[Fault, ...]:
    """Return the faults of a list."""
    return tuple(_fault(item) for item in values.sequence(value, "faults"))


def enforced(value: Any) -> bool:
    """Return the flag of `{enforced: bool}`."""
    return values.flag(values.mapping(value, "limits", {"enforced"}).get("enforced"), "enforced")


def _fault(value: Any) -> Fault:
    given = values.mapping(value, "fault", {item.name for item in fields(Fault)} - {"until_ms"})
    known: dict[str, Any] = {"kind": values.choice(given.get("kind"), "kind", get_args(Kind))}
    known |= {name: values.text(given[name], name) for name in ("account", "path", "code", "msg") if name in given}
    status, times, lasts = given.get("status", 0), given.get("times"), given.get("lasts", 0.0)
    seconds = values.number(given.get("seconds", 0.0), "seconds")
    if known["kind"] == "latency" and seconds < 0:
        raise ConfigError("seconds must not be negative for latency")
    if known["kind"] == "time":
        known["shows"] = values.choice(given.get("shows"), "shows", tuple(NONSENSE))
    if values.count(status, "status") and not 200 <= status <= 599:
        raise ConfigError("status must be an HTTP status")
    if times is not None and not values.count(times, "times"):
        raise ConfigError("times must be a positive number")
    return Fault(**known, seconds=seconds, status=status, times=times, lasts=values.number(lasts, "lasts"))


def _later(given: Mapping[str, Any]) -> Later | None:
    """Return the first of the changes in `later`; the others are those of the account that it makes."""
    steps = values.sequence(given.get("later", []), "later")
    if not steps:
        return None
    step = values.mapping(steps[0], "later", {"calls", "seconds", "set"})
    change = values.mapping(step.get("set"), "set", _KEYS_OF_ACCOUNT - {"later", "api_key"})
    becomes = account({**given, **change, "later": steps[1:]})
    calls, seconds = values.count(step.get("calls", 0), "calls"), values.number(step.get("seconds", 0.0), "seconds")
    return Later(becomes, change, calls, seconds)


def _steps(known: Account) -> list[dict[str, Any]]:
    steps, later = [], known.later
    while later is not None:
        steps.append({"calls": later.calls, "seconds": later.seconds, "set": dict(later.change)})
        later = later.becomes.later
    return steps


def _check_addresses(known: Mapping[str, Any]) -> None:
    if known.get("seen_ip"):
        values.ipv4(known["seen_ip"], "seen_ip")
    if not all(_LISTED.fullmatch(item) for item in known.get("ips", ())):
        raise ConfigError("ips must be addresses")


def _verifier(secret_key: str, public_key_pem: str) -> Verifier:
    if bool(secret_key) == bool(public_key_pem):
        raise ConfigError("account: give one of secret_key and public_key_pem")
    try:
        pem = secret_key if secret_key.startswith(PEM_MARK) else public_key_pem
        return RsaVerifier(pem) if pem else HmacVerifier(secret_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        name = "secret_key in PEM" if secret_key else "public_key_pem"
        raise ConfigError(f"{name} must be an RSA key of 2048, 3072 or 4096 bits") from None


def _wallets(value: Any) -> dict[str, dict[str, Holding]]:
    given = values.mapping(value, "balances", set(_WALLETS))
    return {
        name: {str(coin): _holding(held, name) for coin, held in values.mapping(wallet, name, None).items()}
        for name, wallet in given.items()
    }


def _holding(value: Any, name: str) -> Holding:
    if not isinstance(value, Mapping):
        return Holding(values.amount(value, name), Decimal(0))
    given = values.mapping(value, name, {"available", "frozen"})
    return Holding(values.amount(given.get("available", 0), name), values.amount(given.get("frozen", 0), name))


def _style(value: Any) -> Style:
    given = values.mapping(value, "style", set(_STYLES))
    return Style(**{name: values.choice(one, name, _STYLES[name]) for name, one in given.items()})


def _prices(top: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(values.mapping(top.get("prices", {}), "prices", None).items())
