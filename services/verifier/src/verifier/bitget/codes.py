"""Own what Bitget's codes mean. The table is data (codes.toml); a code that is not in it is unknown, never guessed."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import Finding, Reason

from verifier import findings
from verifier.findings import Template

OK: Final = "00000"
_WORDS: Final = ("title", "detail", "remedy", "actor")


class Group(StrEnum):
    """What kind of answer a code is."""

    CREDENTIAL = "credential"
    SETTING = "setting"
    ACCOUNT = "account"
    ENVIRONMENT = "environment"
    PERMISSION = "permission"
    REPROBE = "reprobe"
    CLOCK = "clock"
    THROTTLED = "throttled"
    TRANSIENT = "transient"
    OURS = "ours"
    UNKNOWN = "unknown"


DEFINITE: Final = frozenset((Group.CREDENTIAL, Group.SETTING, Group.ACCOUNT, Group.ENVIRONMENT, Group.PERMISSION))
PASSING: Final = frozenset((Group.THROTTLED, Group.TRANSIENT))


@dataclass(frozen=True, slots=True)
class Rule:
    """The meaning of a code: its group, the reason it gives (unset outside DEFINITE) and the words to tell it in."""

    group: Group
    reason: Reason.ValueType
    words: Template


class ExchangeFailure(Exception):
    """A call that gave no data: the exchange refused it, or could not be asked. Its text is the code alone.

    `message` is what the exchange said, cleared for relaying or empty; `address` is ours as the exchange saw it.
    """

    def __init__(self, rule: Rule, endpoint: str, code: str = "", message: str = "", address: str = "") -> None:
        super().__init__(code or rule.group.value)
        self.rule = rule
        self.endpoint = endpoint
        self.code = code
        self.message = message
        self.address = address
        self.skew = ""

    def finding(self, egress: str) -> Finding:
        """Return what to tell a person; `egress` lists our published addresses, if they are known."""
        facts = {
            "code": self.code,
            "address": f": {self.address}" if self.address else "",
            "egress": egress or self.address or "the addresses that this platform publishes",
            "skew": self.skew,
            "detail": "Bitget could not be reached or its answer could not be read.",
        }
        return self.rule.words.fill(findings.evidence(self.endpoint, self.code, self.message), facts)


def _load() -> dict[str, Rule]:
    table = tomllib.loads(files("verifier.bitget").joinpath("codes.toml").read_text(encoding="utf-8"))
    rules: dict[str, Rule] = {}
    for row in table["rule"]:
        rule = _rule(row)
        for code in row["codes"]:
            if code in rules:
                raise ValueError(f"code {code} has two meanings")
            rules[code] = rule
    return rules


def _rule(row: Mapping[str, Any]) -> Rule:
    reason = binding_pb2.Reason.Value(f"REASON_{row.get('reason', 'unspecified').upper()}")
    words = findings.reworded(row["finding"], {name: row[name] for name in _WORDS if name in row})
    return Rule(Group(row["group"]), reason, words)


CODES: Final = _load()
UNREACHABLE: Final = Rule(Group.TRANSIENT, binding_pb2.REASON_UNSPECIFIED, findings.TEMPLATES["exchange_unavailable"])
UNKNOWN: Final = Rule(Group.UNKNOWN, binding_pb2.REASON_UNSPECIFIED, findings.TEMPLATES["unknown_exchange_code"])


def meaning(code: str, http_status: int) -> Rule:
    """Return the rule of a code; an unknown one with a 5xx status is the exchange's own trouble."""
    return CODES.get(code) or (UNREACHABLE if http_status >= 500 else UNKNOWN)
