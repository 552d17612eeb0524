"""Bitget's request limits (docs/bitget.md 4): so many calls a second per endpoint and UID (or IP, for public calls),
and 6000 a minute per IP with five minutes' penalty. Windows that refuse are whole clock seconds and minutes; windows
that slide are only watched, for tests that ask for more. Memory is bounded: counters live for one window."""

from collections import deque
from typing import Any, Final

PER_MINUTE: Final = 6000
PENALTY_MS: Final = 5 * 60 * 1000


class Limits:
    """Counts requests; times are Unix milliseconds given by the caller."""

    def __init__(self, *, enforced: bool = True) -> None:
        self.enforced = enforced
        self.clear()

    def clear(self) -> None:
        """Forget every count and penalty, and what was watched."""
        self._second = self._minute = -1
        self._endpoint_calls: dict[tuple[str, str], int] = {}
        self._ip_calls: dict[str, int] = {}
        self._penalty_until: dict[str, int] = {}
        self.forget()

    def forget(self) -> None:
        """Forget what was watched, and keep the counts that limit."""
        self._slid: dict[tuple[str, str], deque[int]] = {}
        self._busy: dict[str, Busy] = {}
        self._refused = {"endpoint": 0, "address": 0}
        self._over_in_sliding_second = 0

    def admit_ip(self, ip: str, now_ms: int) -> bool:
        """Count one request from an address; False when over the limit or still under penalty."""
        self._busy.setdefault(ip, Busy()).count(now_ms)
        if not self.enforced:
            return True
        if self._penalty_until and now_ms < self._penalty_until.get(ip, 0):
            self._refused["address"] += 1
            return False
        if (minute := now_ms // 60_000) != self._minute:
            self._start_minute(minute, now_ms)
        calls = self._ip_calls[ip] = self._ip_calls.get(ip, 0) + 1
        if calls > PER_MINUTE:
            self._penalty_until[ip] = now_ms + PENALTY_MS
            self._refused["address"] += 1
            return False
        return True

    def remaining(self, caller: str, path: str, per_second: int, now_ms: int) -> int:
        """Count one call and return how many are left this second; negative means refused."""
        if not self.enforced:
            return per_second
        if (second := now_ms // 1000) != self._second:
            self._second, self._endpoint_calls = second, {}
            self._slid = {key: calls for key, calls in self._slid.items() if calls[-1] > now_ms - 1000}
        key = (caller, path)
        self._slide(key, per_second, now_ms)
        calls = self._endpoint_calls[key] = self._endpoint_calls.get(key, 0) + 1
        if calls > per_second:
            self._refused["endpoint"] += 1
        return per_second - calls

    def watched(self) -> dict[str, Any]:
        """Return how often a limit was met: refusals, calls over an endpoint's limit in any second however it is cut,
        and the busiest sixty seconds of each address."""
        return {
            "refused_by_endpoint": self._refused["endpoint"],
            "refused_by_address": self._refused["address"],
            "over_in_a_sliding_second": self._over_in_sliding_second,
            "busiest_minute": {ip: busy.most for ip, busy in self._busy.items()},
        }

    def _slide(self, key: tuple[str, str], per_second: int, now_ms: int) -> None:
        calls = self._slid.setdefault(key, deque())
        while calls and calls[0] <= now_ms - 1000:
            calls.popleft()
        calls.append(now_ms)
        self._over_in_sliding_second += len(calls) > per_second

    def _start_minute(self, minute: int, now_ms: int) -> None:
        self._minute, self._ip_calls = minute, {}
        self._penalty_until = {ip: until for ip, until in self._penalty_until.items() if until > now_ms}


class Busy:
    """How many requests an address made in the busiest sixty seconds, counted by the second."""

    __slots__ = ("_seconds", "_within", "most")

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()  # [second, requests], of the last sixty seconds
        self._within = 0
        self.most = 0

    def count(self, now_ms: int) -> None:
        """Count one request."""
        second = now_ms // 1000
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append([second, 0])
        while self._seconds[0][0] <= second - 60:
            self._within -= self._seconds.popleft()[1]
        self._seconds[-1][1] += 1
        self._within += 1
        self.most = max(self.most, self._within)
