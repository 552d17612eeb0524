"""Own by how much Bitget's clock is ahead of our signer's: every answer is a sample, and a measurement decides.

An answer's own time is never the only ground for a correction: it may be nonsense. It only leads to measuring.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from common import logs, metrics
from common.clock import Clock

OFFSET: Final = metrics.gauge(
    "strongroom_exchange_clock_offset_seconds", "By how much the exchange's clock is ahead of ours, as corrected"
)
# Bitget accepts 30 s either way (docs/bitget.md 1.5).
NOTICED_MS: Final = 1000
IGNORED_MS: Final = 500
ALARM_MS: Final = 5000
# What the vault service adds to a stamp at most.
LARGEST_MS: Final = 24 * 3_600_000 - 60_000
NOISE_S: Final = 30.0
AGAIN_S: Final = 2.0
ALARM_AGAIN_S: Final = 60.0
CALLS: Final = 3


@dataclass(frozen=True, slots=True)
class Stamp:
    """A time that was signed: the signer's own clock in ms, the offset added to it, and when that was (monotonic s)."""

    signer_ms: int
    offset_ms: int
    at: float

    @property
    def sent_ms(self) -> int:
        return self.signer_ms + self.offset_ms


@dataclass(frozen=True, slots=True)
class Reading:
    """The exchange's time in ms at a moment of our monotonic clock (s)."""

    server_ms: float
    at: float


Measure = Callable[[], Awaitable[Reading | None]]


@dataclass(frozen=True, slots=True)
class _Noise:
    """A difference that an answer told and a measurement did not find (ms); known at a moment, for some seconds."""

    ahead_ms: float = 0.0
    at: float = 0.0
    lasts_s: float = 0.0

    def covers(self, ahead_ms: float, now: float) -> bool:
        """Tell whether another answer tells the same; a clock that stands still falls back as time goes on."""
        passed = now - self.at
        return passed < self.lasts_s and abs(ahead_ms - self.ahead_ms) <= NOTICED_MS + passed * 1000


class ExchangeClock:
    """One estimate for a process: `offset_ms` is what to add to the signer's time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = asyncio.Lock()
        self._measured_at = self._again_from = self._alarm_from = float("-inf")
        self._noise = _Noise()
        self._doubted = False
        self.offset_ms = 0
        self.measured_ms: int | None = None

    @property
    def skew_s(self) -> int:
        """By how many whole seconds Bitget's clock is ahead of ours, if that is alarming; else 0."""
        return round(self.offset_ms / 1000) if abs(self.offset_ms) > ALARM_MS else 0

    async def answered(self, stamp: Stamp, told: Any, measure: Measure) -> None:
        """Take an answer to a signed request, and its own time (`requestTime`), as a sample."""
        if stamp.offset_ms == self.offset_ms:
            self._doubted = False
        if self._telling(stamp, told):
            async with self._lock:
                if self._news(stamp) and self._telling(stamp, told):
                    await self._measured(stamp, told, measure)
        self._watch()

    async def refused(self, stamp: Stamp, told: Any, measure: Measure) -> bool:
        """Take a refusal of the time; return whether the correction has changed, so that another try is worth it.

        A correction under which a time is refused is measured anew; when the next one is refused too, it is dropped.
        """
        async with self._lock:  # those who are refused together share one measurement
            if self._news(stamp):
                await self._doubt(stamp, told, measure)
        self._watch()
        return stamp.offset_ms != self.offset_ms

    def _news(self, stamp: Stamp) -> bool:
        """Tell whether a stamp was made under the present correction, after it was last measured."""
        return stamp.offset_ms == self.offset_ms and stamp.at >= self._measured_at

    def _telling(self, stamp: Stamp, told: Any) -> bool:
        """Tell whether an answer's own time is a reason to measure."""
        ahead_ms = _told_ahead(stamp, told)
        return ahead_ms is not None and not self._noise.covers(ahead_ms, self._clock.monotonic())

    async def _doubt(self, stamp: Stamp, told: Any, measure: Measure) -> None:
        now = self._clock.monotonic()
        if self.offset_ms and self._doubted:
            # What was measured is not believed again at once, whatever answers tell meanwhile.
            self._noise, self._again_from = _Noise(self.offset_ms, now, NOISE_S), now + NOISE_S
            self.offset_ms, self._doubted = 0, False
        elif now >= self._again_from or self._telling(stamp, told):
            self._doubted = True
            await self._measured(stamp, told, measure)

    async def _measured(self, stamp: Stamp, told: Any, measure: Measure) -> None:
        """Measure by the median of a few calls; what changes nothing is not asked again for the same reason soon."""
        readings: list[Reading] = []
        while len(readings) < CALLS and (reading := await measure()) is not None:
            readings.append(reading)
        self._measured_at = now = self._clock.monotonic()
        self.measured_ms = round(median(_ahead(stamp, reading) for reading in readings)) if readings else None
        if self.measured_ms is not None and self._corrected(self.measured_ms):
            self._again_from = now
            return
        self._again_from = now + AGAIN_S
        if (ahead_ms := _told_ahead(stamp, told)) is not None:
            self._noise = _Noise(ahead_ms, now, NOISE_S if readings else AGAIN_S)

    def _corrected(self, measured_ms: int) -> bool:
        """Take a measurement over and return whether that is a change."""
        if abs(measured_ms) > LARGEST_MS or abs(measured_ms - self.offset_ms) <= IGNORED_MS:
            return False
        self.offset_ms = measured_ms if abs(measured_ms) > IGNORED_MS else 0
        self._doubted = False
        logs.get().info("clock_corrected", lag=self.offset_ms / 1000)
        return True

    def _watch(self) -> None:
        """Tell the operator of a large difference, at most once a minute."""
        OFFSET.set(self.offset_ms / 1000)
        now = self._clock.monotonic()
        if abs(self.offset_ms) > ALARM_MS and now >= self._alarm_from:
            self._alarm_from = now + ALARM_AGAIN_S
            logs.get().error("clock_skew_alarm", lag=self.offset_ms / 1000)


def _ahead(stamp: Stamp, reading: Reading) -> float:
    """Return by how much the exchange's clock is ahead of the signer's; both are taken on to the same moment."""
    return reading.server_ms - (stamp.signer_ms + (reading.at - stamp.at) * 1000)


def _told_ahead(stamp: Stamp, told: Any) -> float | None:
    """Return by how many ms an answer's own time is off the stamp, if it is a time and off enough to be looked into."""
    server_ms = milliseconds(told)
    off = server_ms is not None and NOTICED_MS < abs(server_ms - stamp.sent_ms) <= LARGEST_MS
    return server_ms - stamp.sent_ms if server_ms is not None and off else None


def milliseconds(told: Any) -> int | None:
    """Return a time given as a number or digits, or None for anything else."""
    if isinstance(told, str) and told.isascii() and told.isdigit() and len(told) < 17:
        told = int(told)
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 < told < 10**16 else None
