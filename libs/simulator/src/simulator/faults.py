"""Ways an exchange misbehaves on order: which faults are set, and which apply to one request. Knows nothing about
HTTP."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Kind = Literal["latency", "clock", "error", "html", "cut_json", "empty", "reset", "storm", "echo"]


@dataclass(slots=True)
class Fault:
    """One misbehaviour. Empty `account` (name or API key) and `path` match everything; `times` counts down, None is
    for ever."""

    kind: Kind
    account: str = ""
    path: str = ""
    seconds: float = 0.0
    status: int = 0
    code: str = ""
    msg: str = ""
    times: int | None = None

    def matches(self, path: str, account: str, api_key: str) -> bool:
        return (
            self.times != 0
            and (not self.path or self.path == path)
            and (not self.account or self.account in (account, api_key))
        )


@dataclass(slots=True)
class Weather:
    """What the faults do to one request: a delay and a clock offset add up, of the other kinds the first one set
    wins."""

    delay: float = 0.0
    offset_ms: int = 0
    fault: Fault | None = None


CALM: Final = Weather()


@dataclass(slots=True)
class Faults:
    """The faults now set, in the order they were given."""

    active: list[Fault] = field(default_factory=list)

    def replace(self, faults: Sequence[Fault]) -> None:
        """Drop all faults and set these."""
        self.active = list(faults)

    def weather(self, path: str, account: str, api_key: str) -> Weather:
        """Return what applies to a request, counting down the faults that apply."""
        if not self.active:
            return CALM
        weather = Weather()
        for fault in self.active:
            if fault.matches(path, account, api_key):
                _apply(fault, weather)
        return weather


def _apply(fault: Fault, weather: Weather) -> None:
    if fault.kind == "latency":
        weather.delay += fault.seconds
    elif fault.kind == "clock":
        weather.offset_ms += int(fault.seconds * 1000)
    elif weather.fault is None:
        weather.fault = fault
    else:
        return
    if fault.times is not None:
        fault.times -= 1
