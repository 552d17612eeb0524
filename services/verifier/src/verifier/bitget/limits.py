"""Own how often each of Bitget's endpoints may be called: data (limits.csv), read once and refused when it is odd.

Turns a limit into slots, and for how long a call keeps one, so that it holds in every second, however they are counted.
"""

import csv
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

COLUMNS: Final = ["method", "path", "per_second", "scope"]
SCOPES: Final = frozenset(("uid", "ip"))
# A call that was let go may take longer on its way than the one after it: so long it keeps its slot at first.
SECOND_S: Final = 1.5
_PATH: Final = re.compile(r"/api/v[23](/[A-Za-z0-9_.-]+)+")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `per_second` calls in a second, of one account (uid) or of one egress address (ip)."""

    per_second: float
    scope: str

    @property
    def slots(self) -> int:
        """How many calls the exchange may count at any moment."""
        return max(1, int(self.per_second))

    @property
    def span_s(self) -> float:
        """For how long the exchange counts a call: a second, or longer where not one a second is allowed."""
        return max(1.0, 1 / self.per_second)

    @property
    def held_s(self) -> float:
        """For how long a call keeps its slot from when it is let go, as long as it is not known to be answered."""
        return SECOND_S * self.span_s


# What the sources say nothing about is called as rarely as the slowest of its kind.
UNKNOWN: Final = Limit(1, "uid")


def parse(text: str) -> dict[str, Limit]:
    """Return the limits by endpoint ("GET /api/…"); raise ValueError for a row that is not one."""
    rows = csv.DictReader(text.splitlines(), strict=True)
    if rows.fieldnames != COLUMNS:
        raise ValueError("limits: columns")
    limits: dict[str, Limit] = {}
    for row in rows:
        endpoint, limit = _row(row)
        if endpoint in limits:
            raise ValueError(f"limits: {endpoint} stands twice")
        limits[endpoint] = limit
    return limits


def _row(row: dict[str, str]) -> tuple[str, Limit]:
    endpoint = f"{row['method']} {row['path']}"
    try:
        rate = float(row["per_second"])
    except (TypeError, ValueError):
        raise ValueError(f"limits: {endpoint}: rate") from None
    known = row["method"] in ("GET", "POST") and _PATH.fullmatch(row["path"]) and row["scope"] in SCOPES
    if len(row) != len(COLUMNS) or not known or not 0.05 <= rate <= 1000:
        raise ValueError(f"limits: {endpoint}: not a limit")
    return endpoint, Limit(rate, row["scope"])


LIMITS: Final = parse(files("verifier.bitget").joinpath("limits.csv").read_text(encoding="utf-8"))


def of(endpoint: str) -> Limit:
    """Return the limit of an endpoint, the lowest for one that nobody has told."""
    return LIMITS.get(endpoint, UNKNOWN)
