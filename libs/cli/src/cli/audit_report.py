"""What an audit trail tells of who did what: one row for each action, made of its intent and its outcome."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from common.trail_check import Line

from cli.processes import LaunchError

COLUMNS = (("time", 24), ("action", 10), ("outcome", 16), ("who", 28), ("what", 44), ("tenant / binding", 61))
FACTS = ("rule", "status", "revision", "credential_version", "fields", "changed", "kind", "freeze", "reason")
NO_OUTCOME = "unknown"  # the process ended in between, or its disk was full: the action may have been done


@dataclass(frozen=True)
class Wanted:
    """Which actions: empty texts let everything pass; times are from `since` to before `until`."""

    binding: str = ""
    tenant: str = ""
    action: str = ""
    since: str = ""
    until: str = ""

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is asked for."""
        named = ((self.binding, "binding"), (self.tenant, "tenant"), (self.action, "action"))
        if any(value and row.get(name) != value for value, name in named):
            return False
        return row["time"] >= self.since and (not self.until or row["time"] < self.until)


def rows(lines: Iterable[Line], wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Yield what was done in the order of the outcomes, then what has none."""
    open_intents: dict[tuple[str, int], dict[str, Any]] = {}
    for line in lines:
        fields = dict(line.fields)
        phase, instance = fields.get("phase"), str(fields.get("instance"))
        if phase == "intent":
            open_intents[instance, fields["sequence"]] = fields
            continue
        if phase == "outcome":
            intent = open_intents.pop((instance, fields.get("intent", 0)), None)
            fields["begun"] = intent["time"] if intent else None
        elif phase == "refused":
            fields["outcome"] = "refused"
        else:
            continue
        if wanted.fits(fields):
            yield fields
    for fields in open_intents.values():
        if wanted.fits(fields):
            yield {**fields, "outcome": NO_OUTCOME}


def moment(text: str) -> str:
    """Return a time that somebody wrote as the trail writes it; raise LaunchError for what is none."""
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise LaunchError(f"{text} is no time: write it as 2026-11-28T17:00:00Z, or as a date.") from None
    read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    return read.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def heading() -> str:
    """Return the first line of the table."""
    return "  ".join(name.upper().ljust(width) for name, width in COLUMNS) + "  VAULT REQUEST"


def shown(row: Mapping[str, Any]) -> str:
    """Return a row as a line of the table; what a terminal would obey is replaced."""
    caller = [str(row[name]) for name in ("subject", "client") if row.get(name)]
    requests = row.get("vault_request_id") or ", ".join(row.get("vault_request_ids", ()))
    cells = {
        "time": row["time"],
        "action": row.get("action", ""),
        "outcome": row["outcome"],
        "who": " ".join([str(row.get("service", "")), *dict.fromkeys(caller)]),
        "what": _what(row),
        "tenant / binding": f"{row.get('tenant', '')} / {row.get('binding', '')}",
    }
    line = "  ".join(str(cells[name]).ljust(width) for name, width in COLUMNS) + f"  {requests}"
    return "".join(one if one.isprintable() else "?" for one in line)


def _what(row: Mapping[str, Any]) -> str:
    if "path" in row:
        return f"{row.get('method', '')} {row['path']}"
    told = [f"{name}={row[name]}" for name in FACTS if name in row]
    return " ".join(told)
