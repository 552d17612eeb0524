"""Own the time. No other file asks the system for it, so that tests can."""

import time
from datetime import UTC, datetime
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

LAST_S: Final = 253_402_300_799  # the last second of the year 9999, which rounding may still reach


class Clock(Protocol):
    """Tell the time: `unix()` in seconds since 1970, `monotonic()` in seconds that never go back."""

    def unix(self) -> float: ...

    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's own clock."""

    def unix(self) -> float:
        """Return seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return time.monotonic()


def timestamp(unix: float) -> Timestamp:
    """Return the protobuf time of `unix` seconds, to the millisecond."""
    value = Timestamp()
    value.FromMilliseconds(round(unix * 1000))
    return value


def representable(value: Timestamp) -> bool:
    """Tell whether a protobuf time, which anybody may have written, is one that `rfc3339` can tell: 1970 to 9999."""
    return 0 <= value.seconds < LAST_S and 0 <= value.nanos < 1_000_000_000


def rfc3339(value: Timestamp) -> str:
    """Return a protobuf time as RFC 3339 in UTC with milliseconds, for example 2026-11-22T17:00:00.123Z."""
    moment = datetime.fromtimestamp(value.ToMilliseconds() / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
