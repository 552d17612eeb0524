"""Own how many requests of a tenant are let in: one rate for all gateway processes, kept in Redis by Redis's own clock.

While Redis is gone each process keeps a smaller rate of its own. Holds times only, and decides no right to anything.
"""

from dataclasses import dataclass, replace
from typing import Final

from common import logs
from common.clock import Clock
from redis.asyncio import Redis
from redis.exceptions import RedisError

MINUTE_US: Final = 60_000_000
# So much of a minute's requests may come at once: a client that pauses catches up, and nobody doubles the rate.
BURST_SHARE: Final = 6
# The part of the rate that one process lets in by itself.
ALONE_SHARE: Final = 4
PAUSE_S: Final = 1.0  # before a Redis that failed, or refused a tenant for longer, is asked again
# The generic cell rate algorithm. Returns (whether the request is let in, the time until all is restored) in µs.
# A time that is further ahead than a burst is not ours, or of a clock that was set back.
# KEYS the tenant's time; ARGV µs between requests, µs of a burst.
TAKE: Final = """
local clock = redis.call('TIME')
local now, step, burst = clock[1] * 1000000 + clock[2], tonumber(ARGV[1]), tonumber(ARGV[2])
local known = redis.pcall('GET', KEYS[1])
local full = type(known) == 'string' and tonumber(known) or now
if full < now then full = now elseif full > now + burst then full = now + burst end
if full + step > now + burst then return {0, full - now} end
redis.call('SET', KEYS[1], string.format('%.0f', full + step), 'PX', math.ceil((full + step - now) / 1000) + 1)
return {1, full + step - now}
"""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether a request is let in; how many make a burst, how many of them are left, and seconds until all are."""

    allowed: bool
    burst: int
    window_s: int
    left: int
    restored_s: float
    wait_s: float

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return RateLimit and RateLimit-Policy as an answer carries them."""
        policy = f'"tenant";q={self.burst};w={self.window_s}'
        return [
            (b"ratelimit-policy", policy.encode()),
            (b"ratelimit", f'"tenant";r={self.left};t={-int(-self.restored_s // 1)}'.encode()),
        ]


class Limiter:
    """Take requests out of the tenants' rates."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._take = redis.register_script(TAKE)
        self._failed_at = float("-inf")
        self._alone: dict[str, float] = {}  # as the tenants' times in Redis, by the monotonic clock
        self._refused: dict[str, tuple[float, Taken]] = {}  # when, and how, Redis refused a tenant

    async def take(self, tenant: str, per_minute: int) -> Taken:
        """Take one request of a tenant that may make `per_minute`; a request that is not let in takes nothing."""
        if refused := self.refused(tenant):
            return refused
        if self._clock.monotonic() >= self._failed_at + PAUSE_S:
            step, burst = _rate(per_minute)
            try:
                allowed, ahead = await self._take(keys=[f"sr:{{{tenant}}}:rate"], args=[step, burst * step])
                return self._remembered(tenant, _taken(step, burst, ahead, allowed=bool(allowed)))
            except RedisError as error:
                self._failed_at = self._clock.monotonic()
                logs.get().warning("rate_kept_alone", error=type(error).__name__)
        return self._by_itself(tenant, max(1, per_minute // ALONE_SHARE))

    def refused(self, tenant: str) -> Taken | None:
        """Return the refusal that still holds: who asks for far more than it may costs the others no turn at Redis."""
        at, taken = self._refused.get(tenant, (0.0, None))
        since = self._clock.monotonic() - at
        if taken is None or since >= min(taken.wait_s, PAUSE_S):  # its rate may have been raised meanwhile
            return None
        return replace(taken, wait_s=taken.wait_s - since)

    def _remembered(self, tenant: str, taken: Taken) -> Taken:
        if not taken.allowed:
            now = self._clock.monotonic()
            if len(self._refused) > 4096:
                self._refused = {name: one for name, one in self._refused.items() if one[0] > now - PAUSE_S}
            self._refused[tenant] = now, taken
        return taken

    def _by_itself(self, tenant: str, per_minute: int) -> Taken:
        step, burst = _rate(per_minute)
        now = self._clock.monotonic() * 1e6
        if len(self._alone) > 4096:
            self._alone = {name: full for name, full in self._alone.items() if full > now}
        full = max(now, self._alone.get(tenant, now))
        allowed = full + step <= now + burst * step
        if allowed:
            full = self._alone[tenant] = full + step
        return _taken(step, burst, full - now, allowed=allowed)


def _rate(per_minute: int) -> tuple[int, int]:
    """Return (µs between requests, requests of a burst)."""
    return max(1, MINUTE_US // per_minute), max(1, per_minute // BURST_SHARE)


def _taken(step: int, burst: int, ahead: float, *, allowed: bool) -> Taken:
    left = max(0, int((burst * step - ahead) // step))
    wait = 0.0 if allowed else max(0.0, ahead + step - burst * step) / 1e6
    return Taken(allowed, burst, max(1, round(burst * step / 1e6)), left, ahead / 1e6, wait)
