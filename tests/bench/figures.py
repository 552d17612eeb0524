"""Own the figures: medians, spreads and percentiles of what was measured, and the table that shows them.

It judges by ratios and goals only; a time of this machine says little about another.
"""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Row:
    """One line of the table; `met` None: there is no goal."""

    what: str
    ours: str
    floor: str
    result: str
    goal: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        """Return the line's cells."""
        verdict = "" if self.met is None else ("yes" if self.met else "**no**")
        return (self.what, self.ours, self.floor, self.result, self.goal, verdict)


HEADER = ("what", "ours", "floor", "result", "goal", "met")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, by rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float], unit: str = "", digits: int = 1) -> str:
    """Return `median unit (lowest-highest)` of the rounds' values."""
    middle = f"{statistics.median(values):,.{digits}f}{unit and ' ' + unit}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def ratio(ours: Sequence[float], floor: Sequence[float]) -> tuple[float, str]:
    """Return the median of the rounds' ratios, and it as text with its spread."""
    each = [one / other for one, other in zip(ours, floor, strict=True)]
    return statistics.median(each), spread(each, digits=2)


def markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = [HEADER, ("---",) * len(HEADER), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Return what this machine is and how busy it was just now, in one line without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"CPython {platform.python_version()}; load {load()} at the start"
    )


def load() -> str:
    """Return the load averages of one, five and fifteen minutes."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def today() -> str:
    """Return the date and time of the run, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as facts:  # noqa: PTH123  a pseudo file
            names = [line.partition(":")[2].strip() for line in facts if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor()
