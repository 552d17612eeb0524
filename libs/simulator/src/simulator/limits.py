"""Bitget's request limits (docs/bitget.md 4): so many calls a second per endpoint and UID (or IP, for public calls),
and 6000 a minute per IP with five minutes' penalty. Memory is bounded: counters live for one second or one minute."""

from typing import Final

PER_MINUTE: Final = 6000
PENALTY_MS: Final = 5 * 60 * 1000


class Limits:
    """Counts requests; times are Unix milliseconds given by the caller. Windows are whole clock seconds and minutes."""

    def __init__(self, *, enforced: bool = True) -> None:
        self.enforced = enforced
        self.clear()

    def clear(self) -> None:
        """Forget every count and penalty."""
        self._second = self._minute = -1
        self._endpoint_calls: dict[tuple[str, str], int] = {}
        self._ip_calls: dict[str, int] = {}
        self._penalty_until: dict[str, int] = {}

    def admit_ip(self, ip: str, now_ms: int) -> bool:
        """Count one request from an address; False when over the limit or still under penalty."""
        if not self.enforced:
            return True
        if self._penalty_until and now_ms < self._penalty_until.get(ip, 0):
            return False
        if (minute := now_ms // 60_000) != self._minute:
            self._start_minute(minute, now_ms)
        calls = self._ip_calls[ip] = self._ip_calls.get(ip, 0) + 1
        if calls > PER_MINUTE:
            self._penalty_until[ip] = now_ms + PENALTY_MS
            return False
        return True

    def remaining(self, caller: str, path: str, per_second: int, now_ms: int) -> int:
        """Count one call and return how many are left this second; negative means refused."""
        if not self.enforced:
            return per_second
        if (second := now_ms // 1000) != self._second:
            self._second, self._endpoint_calls = second, {}
        key = (caller, path)
        calls = self._endpoint_calls[key] = self._endpoint_calls.get(key, 0) + 1
        return per_second - calls

    def _start_minute(self, minute: int, now_ms: int) -> None:
        self._minute, self._ip_calls = minute, {}
        self._penalty_until = {ip: until for ip, until in self._penalty_until.items() if until > now_ms}
