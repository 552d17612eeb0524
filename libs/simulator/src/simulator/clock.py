"""The simulator's only source of time, so that tests can hold it still. Everything else takes a clock as an
argument."""

import time
from collections.abc import Callable

Clock = Callable[[], int]


def now_ms() -> int:
    """Return the Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
