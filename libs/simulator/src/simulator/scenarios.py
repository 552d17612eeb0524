"""Reads the scenarios: account, key, what was pasted, fault, and the whole verdict expected of each. Data only: it
binds nothing. What a scenario leaves out is filled in from what the file says is usual."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from simulator import config, values
from simulator.values import ConfigError

FIELDS: Final = (  # of an expectation; `like` and `as` begin it, see _expectation
    *("status", "reason", "stale", "environment", "uid", "parent_uid", "mode", "keys_bound", "may", "unclear"),
    *("unknown_tokens", "ip", "findings", "available", "reasons", "total_usdt", "tells", "turned_away"),
)
_PLAIN: Final = ("name", "says", "tenant", "key", "paste", "others", "exchange", "alone")
Expectation = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Step:
    """What changes at the exchange after the verdict (None: nothing), and the verdict that follows, told by so many
    events."""

    says: str
    expect: Expectation
    account: Mapping[str, Any] | None = None
    faults: tuple[Mapping[str, Any], ...] | None = None
    exchange: str = ""
    events: int = 1


@dataclass(frozen=True, slots=True)
class Scenario:
    """One account and key as they are bound. `account` is in the configuration's form, without name and credentials."""

    name: str
    says: str
    account: Mapping[str, Any]
    expect: Expectation
    tenant: str = "plain"
    scopes: tuple[str, ...] = ("spot", "futures")
    key: str = "hmac"
    paste: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[Mapping[str, Any], ...] = ()
    exchange: str = ""
    alone: bool = False
    then: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Book:
    """All scenarios, and the words they are written in."""

    egress: tuple[str, ...]
    tenants: Mapping[str, Mapping[str, Any]]
    findings: Mapping[str, str]
    reasons: Mapping[str, str]
    table: tuple[Scenario, ...]


def read(source: str | Path | None = None) -> Book:
    """Return the scenarios of a configuration, by default the packaged one; ConfigError names what is wrong."""
    given = values.mapping(
        config.read(source).get("scenarios"),
        "scenarios",
        {"egress", "tenants", "findings", "reasons", "accounts", "verdicts", "table"},
    )
    usual = _Usual(given["accounts"], given["verdicts"])
    table = tuple(usual.scenario(item) for item in values.sequence(given["table"], "table"))
    if len({one.name for one in table}) != len(table):
        raise ConfigError("scenarios: name must be unique")
    if unknown := {one.tenant for one in table} - set(given["tenants"]):
        raise ConfigError(f"scenarios: unknown tenant {sorted(unknown)[0]}")
    return Book(tuple(given["egress"]), given["tenants"], given["findings"], given["reasons"], table)


class _Usual:
    """What a scenario begins with."""

    def __init__(self, accounts: Mapping[str, Any], verdicts: Mapping[str, Any]) -> None:
        self._accounts = accounts
        self._verdicts = verdicts

    def scenario(self, value: Any) -> Scenario:
        names = {"name", "says", "like", "account", "tenant", "scopes", "key", "paste", "others", "faults"}
        given = values.mapping(value, "scenario", names | {"exchange", "alone", "expect", "then"})
        base = self._accounts[given.get("like", "unified")]
        expect = self._expectation(base["expect"], given.get("expect", {}))
        plain: dict[str, Any] = {name: given[name] for name in _PLAIN if name in given}
        plain |= {name: tuple(given[name]) for name in ("scopes", "faults") if name in given}
        return Scenario(
            **plain,
            account={**base["account"], **given.get("account", {})},
            expect=expect,
            then=self._steps(expect, given.get("then", [])),
        )

    def _steps(self, expect: Expectation, items: list[Any]) -> tuple[Step, ...]:
        steps = []
        for item in items:
            given = values.mapping(item, "then", {"says", "account", "faults", "exchange", "events", "expect"})
            expect = self._expectation({**expect, "stale": False, "tells": []}, given["expect"])
            faults = None if given.get("faults") is None else tuple(given["faults"])
            plain = {name: given[name] for name in ("says", "account", "exchange", "events") if name in given}
            steps.append(Step(**plain, expect=expect, faults=faults))
        return tuple(steps)

    def _expectation(self, before: Expectation, value: Any) -> Expectation:
        """Return what is expected: `like` an account when nothing is wrong (else what was expected `before`), then
        `as` a verdict, then what differs."""
        given = values.mapping(value, "expect", {"like", "as", *FIELDS})
        start = self._accounts[given["like"]]["expect"] if "like" in given else before
        verdict = self._verdicts[given["as"]] if "as" in given else {}
        stated = {name: one for name, one in given.items() if name not in ("like", "as")}
        return {**start, **verdict, **stated}
