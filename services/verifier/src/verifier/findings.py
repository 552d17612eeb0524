"""Own the words of every finding. Texts live in findings.toml; a value of the exchange goes in only through `make`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final

from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import Evidence, Finding


@dataclass(frozen=True, slots=True)
class Template:
    """One finding's words, with {name} where facts go in."""

    code: str
    severity: str
    actor: str
    title: str
    detail: str
    remedy: str

    def fill(self, evidence: Evidence | None, facts: Mapping[str, str]) -> Finding:
        """Return the finding; KeyError when a fact that the words need is missing."""
        return Finding(
            code=self.code,
            severity=binding_pb2.Severity.Value(f"SEVERITY_{self.severity.upper()}"),
            actor=binding_pb2.Actor.Value(f"ACTOR_{self.actor.upper()}"),
            title=self.title.format_map(facts),
            detail=self.detail.format_map(facts),
            remedy=self.remedy.format_map(facts),
            evidence=evidence,
        )


def _templates(tables: Mapping[str, Any]) -> dict[str, Template]:
    return {code: Template(code=code, **words) for code, words in tables.items()}


_TABLES: Final = tomllib.loads(files("verifier").joinpath("findings.toml").read_text(encoding="utf-8"))
NOTES: Final = _templates(_TABLES.pop("note"))
TEMPLATES: Final = _templates(_TABLES)


def make(code: str, evidence: Evidence | None = None, **facts: str) -> Finding:
    """Return the finding `code` with its facts filled in."""
    return TEMPLATES[code].fill(evidence, facts)


def note(code: str, evidence: Evidence | None = None, **facts: str) -> Finding:
    """Return the note `code`: what was noticed and proves nothing about the key."""
    return NOTES[code].fill(evidence, facts)


def evidence(endpoint: str, code: str = "", message: str = "") -> Evidence:
    """Return what the exchange said as evidence; `message` must have been cleared for relaying."""
    return Evidence(endpoint=endpoint, exchange_code=code, exchange_message=message)
