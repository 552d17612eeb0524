"""Ways an exchange misbehaves on order: which faults are set, and which apply to one request. Knows nothing about
HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal[
    "latency", "clock", "time", "error", "html", "cut_json", "empty", "reset", "storm", "echo", "refuse", "long", "deep"
]
Shows = Literal["true", "absent", "zero", "text", "past", "future"]
NONSENSE: Final[dict[str, int | str | None]] = {
    "absent": None,
    "zero": 0,
    "text": "soon",
    "past": 1_000_000_000_000,
    "future": 4_102_444_800_000,
}


@dataclass(slots=True)
class Fault:
    """One misbehaviour. Empty `account` (name or API key) and `path` match everything; `times` counts down, None is
    for ever; `lasts` ends it so many seconds after it was set, 0 is for ever."""

    kind: Kind
    account: str = ""
    path: str = ""
    seconds: float = 0.0
    status: int = 0
    code: str = ""
    msg: str = ""
    shows: Shows = "true"
    times: int | None = None
    lasts: float = 0.0
    until_ms: int | None = field(default=None, compare=False)

    def matches(self, path: str, account: str, api_key: str, now_ms: int) -> bool:
        return (
            self.holds(now_ms)
            and (not self.path or self.path == path)
            and (not self.account or self.account in (account, api_key))
        )

    def holds(self, now_ms: int) -> bool:
        """Tell whether the fault is still there."""
        return self.times != 0 and (self.until_ms is None or now_ms < self.until_ms)


@dataclass(slots=True)
class Weather:
    """What the faults do to one request: a delay and a clock offset add up, of the other kinds the first one set
    wins. `shows` is what the answer says instead of its time."""

    delay: float = 0.0
    offset_ms: int = 0
    shows: Shows = "true"
    fault: Fault | None = None


CALM: Final = Weather()


@dataclass(slots=True)
class Faults:
    """The faults now set, in the order they were given. Times are Unix milliseconds given by the caller."""

    active: list[Fault] = field(default_factory=list)

    @property
    def refusing(self) -> bool:
        """Tell whether connections are to be refused."""
        return any(fault.kind == "refuse" for fault in self.active)

    def replace(self, faults: Sequence[Fault], now_ms: int = 0) -> None:
        """Drop all faults and set these."""
        self.active = []
        self.add(faults, now_ms)

    def add(self, faults: Sequence[Fault], now_ms: int) -> None:
        """Set these too, each from now on."""
        for fault in faults:
            if fault.lasts:
                fault.until_ms = now_ms + int(fault.lasts * 1000)
        self.active = [*self.active, *faults]

    def remove(self, account: str) -> None:
        """Drop the faults that are for this account alone (by the name or API key they were set with)."""
        self.active = [fault for fault in self.active if fault.account != account]

    def weather(self, path: str, account: str, api_key: str, now_ms: int = 0) -> Weather:
        """Return what applies to a request, counting down the faults that apply."""
        if not self.active:
            return CALM
        weather = Weather()
        for fault in self.active:
            if fault.matches(path, account, api_key, now_ms):
                _apply(fault, weather)
        return weather


def _apply(fault: Fault, weather: Weather) -> None:
    if fault.kind == "latency":
        weather.delay += fault.seconds
    elif fault.kind == "clock":
        weather.offset_ms += int(fault.seconds * 1000)
    elif fault.kind == "time":
        weather.shows = fault.shows
    elif weather.fault is None and fault.kind != "refuse":  # nothing that arrives was refused
        weather.fault = fault
    else:
        return
    if fault.times is not None:
        fault.times -= 1
