"""Own what Bitget's codes mean. The table is data (codes.toml); a code that is not in it is unknown, never guessed."""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import Finding, Reason

from verifier import findings
from verifier.bitget import addresses
from verifier.findings import Template

OK: Final = "00000"
_WORDS: Final = ("title", "detail", "remedy", "actor")
_RIGHT: Final = re.compile(r"need ([A-Za-z0-9 _/,{}-]{1,80}?) permissions?", re.IGNORECASE)
_ADDRESS: Final = re.compile(r"\b(?:[0-9]{1,3}\.){3}[0-9]{1,3}\b")
UNPUBLISHED: Final = "unpublished_address"


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


class Retry(StrEnum):
    """When the call is worth another try; see codes.toml."""

    CONFIRM = "confirm"
    SETTLED = "settled"
    SWITCH = "switch"
    MEASURE = "measure"
    SECOND = "second"
    SOON = "soon"
    LATER = "later"


DEFINITE: Final = frozenset((Group.CREDENTIAL, Group.SETTING, Group.ACCOUNT, Group.ENVIRONMENT, Group.PERMISSION))
PASSING: Final = frozenset((Group.THROTTLED, Group.TRANSIENT))


@dataclass(frozen=True, slots=True)
class Rule:
    """The meaning of a code: its group, the reason it gives (unset outside DEFINITE) and the words to tell it in."""

    group: Group
    retry: Retry
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

    def finding(self, egress: Collection[str] = (), clues: Collection[str] = ()) -> Finding:
        """Return what to tell a person.

        `egress` are our published addresses, if they are known; `clues` what the credential suggests (codes.toml).
        """
        published = ", ".join(egress)
        facts = {
            "code": self.code,
            "address": f": {self.address}" if self.address else "",
            "egress": published or self.address or "the addresses that this platform publishes",
            "skew": self.skew,
            "right": f" Bitget names what it needs: {right}." if (right := named_right(self.message)) else "",
            "detail": "Bitget could not be reached or its answer could not be read.",
        }
        known = {*clues, UNPUBLISHED} if self.unpublished(egress) else set(clues)
        words = self.rule.words
        because = next((row for row in BECAUSE if row.finding == words.code and row.clue in known), None)
        words = replace(words, **because.words) if because else words
        return words.fill(findings.evidence(self.endpoint, self.code, self.message), facts)

    def as_told(self, told: Iterable[Finding]) -> "ExchangeFailure":
        """Return the same refusal as it was told before, if it was: Bitget's words for one thing vary."""
        same = [finding.evidence for finding in told if finding.evidence.exchange_code == self.code]
        if not same or not self.code:
            return self
        said = next((evidence for evidence in same if evidence.endpoint == self.endpoint), same[0])
        message = said.exchange_message
        return ExchangeFailure(self.rule, said.endpoint, self.code, message, address_in(message))

    def unpublished(self, egress: Collection[str]) -> bool:
        """Tell whether the exchange saw us come from an address that customers cannot know of."""
        if not self.address or not egress or addresses.loopback((self.address,)):
            return False
        return self.address not in egress


def address_in(message: str) -> str:
    """Return the address that a refusal names, or nothing."""
    found = _ADDRESS.search(message)
    return found[0] if found else ""


def named_right(message: str) -> str:
    """Return the right that a refusal names, in the exchange's words, or nothing."""
    found = _RIGHT.search(message)
    return found[1].strip("{} ") if found else ""


@dataclass(frozen=True, slots=True)
class Because:
    """Better words for a finding where a clue explains it."""

    finding: str
    clue: str
    words: Mapping[str, str]


def _table() -> dict[str, Any]:
    return tomllib.loads(files("verifier.bitget").joinpath("codes.toml").read_text(encoding="utf-8"))


def _load() -> dict[str, Rule]:
    rules: dict[str, Rule] = {}
    for row in _TABLE["rule"]:
        rule = _rule(row)
        for code in row["codes"]:
            if code in rules:
                raise ValueError(f"code {code} has two meanings")
            rules[code] = rule
    return rules


def _rule(row: Mapping[str, Any]) -> Rule:
    reason = binding_pb2.Reason.Value(f"REASON_{row.get('reason', 'unspecified').upper()}")
    words = replace(findings.TEMPLATES[row["finding"]], **_words(row))
    return Rule(Group(row["group"]), Retry(row["retry"]), reason, words)


def _words(row: Mapping[str, Any]) -> dict[str, str]:
    return {name: row[name] for name in _WORDS if name in row}


_TABLE: Final = _table()
CODES: Final = _load()
BECAUSE: Final = tuple(Because(row["finding"], row["clue"], _words(row)) for row in _TABLE["because"])
_NONE: Final = binding_pb2.REASON_UNSPECIFIED
UNREACHABLE: Final = Rule(Group.TRANSIENT, Retry.SOON, _NONE, findings.TEMPLATES["exchange_unavailable"])
UNKNOWN: Final = Rule(Group.UNKNOWN, Retry.LATER, _NONE, findings.TEMPLATES["unknown_exchange_code"])


def meaning(code: str, http_status: int) -> Rule:
    """Return the rule of a code; an unknown one with a 5xx status is the exchange's own trouble."""
    return CODES.get(code) or (UNREACHABLE if http_status >= 500 else UNKNOWN)
