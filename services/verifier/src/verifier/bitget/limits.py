"""Own how often each of Bitget's endpoints may be called: data (limits.csv), read once and refused when it is odd.

Turns a limit into the spacing of calls that keeps it in every second, however the seconds are counted.
"""

import csv
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

COLUMNS: Final = ["method", "path", "per_second", "scope"]
SCOPES: Final = frozenset(("uid", "ip"))
# Spacings are drawn a little wide: a call that was let go may take longer on its way than the one after it.
SECOND_S: Final = 1.5
_PATH: Final = re.compile(r"/api/v[23](/[A-Za-z0-9_.-]+)+")


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `per_second` calls in a second, of one account (uid) or of one egress address (ip)."""

    per_second: float
    scope: str

    @property
    def burst(self) -> int:
        """How many calls may start at the same moment: a third of the limit, enough for one look at a key."""
        return max(1, int(self.per_second + 1) // 3)

    @property
    def interval_s(self) -> float:
        """The spacing of calls after a burst: a burst and what follows it within a second stay within the limit."""
        if self.per_second < 1:
            return SECOND_S / self.per_second
        return SECOND_S / (self.per_second - self.burst + 1)

    @property
    def slack_s(self) -> float:
        """How far calls may run ahead of their spacing."""
        return (self.burst - 1) * self.interval_s


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
