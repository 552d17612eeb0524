"""Own the budget that all processes share through Redis: the address, the tenants' shares of it, each endpoint.

One script call asks everything on Redis's clock, and nothing is taken unless all of it admits. Values that nobody of
ours wrote hold nobody up. Without Redis each process keeps its own, much smaller budget.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from common import logs
from common.clock import Clock
from redis.asyncio import Redis
from redis.exceptions import RedisError

from verifier.bitget import limits
from verifier.bitget.budget import (
    ALONE,
    BURST,
    CALLS_PER_MINUTE,
    PRIORITY_BURST,
    PROBE_S,
    REFUSED_S,
    SPENT_S,
    STORM,
    Caller,
    Held,
    LocalBudget,
    Waiting,
)

PREFIX: Final = "sr:{budget}:"
SHUT: Final = PREFIX + "shut"
PROBE: Final = PREFIX + "probe"
STORM_KEY: Final = PREFIX + "storm"
EGRESS: Final = PREFIX + "egress"
SHUT_S: Final = 300.0
STORM_S: Final = 10.0
REDIS_S: Final = 1.0
# How long a process leaves Redis alone after trouble with it.
AWAY_S: Final = 1.0

# A bucket is the moment, in microseconds, at which it is empty again. One that lies further ahead than any of ours is
# nobody's. `later` is that moment once a call more is in it.
_COMMON: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local function bucket(key)
  local value = redis.pcall('GET', key)
  value = type(value) == 'string' and tonumber(value) or 0
  if value > now and value <= now + 120000000 then return value end
  return now
end
local function keep(key, moment)
  redis.call('SET', key, string.format('%.0f', moment), 'PX', math.ceil((moment - now) / 1000) + 1000)
end
local function left(key, most)
  local known = redis.call('PTTL', key)
  if known == -1 or known > most then redis.call('DEL', key) return 0 end
  return math.max(known, 0)
end
"""
# KEYS egress, active, share, endpoint, shut, probe, storm.
# ARGV step and slack of the address, slack of trading or of verification; step and slack of the endpoint; tenant,
# caller, ms of a penalty, ms of a probe. Returns the wait in ms, what holds the call back, whether there is trouble.
_TURN: Final = (
    _COMMON
    + """
local step, slack = tonumber(ARGV[1]), tonumber(ARGV[2])
local shut = left(KEYS[5], tonumber(ARGV[7]))
if shut > 0 and left(KEYS[6], tonumber(ARGV[8])) > 0 then return {shut, 'shut', 1} end
local trouble = (shut > 0 or redis.call('EXISTS', KEYS[7]) == 1) and 1 or 0
local endpoint = bucket(KEYS[4])
local wait = endpoint - tonumber(ARGV[4]) - now
if wait > 0 then return {math.ceil(wait / 1000), 'endpoint', trouble} end
if type(redis.pcall('ZADD', KEYS[2], now, ARGV[5])) == 'table' then
  redis.call('DEL', KEYS[2])
  redis.call('ZADD', KEYS[2], now, ARGV[5])
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 2000000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
redis.call('PEXPIRE', KEYS[2], 3000)
local egress, share = bucket(KEYS[1]), bucket(KEYS[3])
wait = egress - slack - now
if egress - now > slack / 2 then wait = math.max(wait, share - slack - now) end
if wait > 0 then return {math.ceil(wait / 1000), 'shared', trouble} end
keep(KEYS[1], egress + step)
keep(KEYS[3], math.min(share, now + slack) + math.min(step * redis.call('ZCARD', KEYS[2]), 1000000))
keep(KEYS[4], endpoint + tonumber(ARGV[3]))
if shut > 0 then redis.call('SET', KEYS[6], ARGV[6], 'PX', ARGV[8]) end
return {0, 'shared', trouble}
"""
)
# KEYS endpoint, storm, shut, probe; ARGV slack of the endpoint, penalty, owner, how many make a storm, its ms, ms of a
# penalty, ms of a probe. Returns 1 when the address is found to be shut out.
_REFUSED: Final = (
    _COMMON
    + """
keep(KEYS[1], math.max(bucket(KEYS[1]), now + tonumber(ARGV[1]) + tonumber(ARGV[2])))
if left(KEYS[3], tonumber(ARGV[6])) > 0 then return 0 end
if type(redis.pcall('SADD', KEYS[2], ARGV[3])) == 'table' then redis.call('DEL', KEYS[2]) end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
if redis.call('EXISTS', KEYS[2]) == 0 or redis.call('SCARD', KEYS[2]) < tonumber(ARGV[4]) then return 0 end
redis.call('DEL', KEYS[2])
redis.call('SET', KEYS[3], '1', 'PX', ARGV[6])
redis.call('SET', KEYS[4], '-', 'PX', ARGV[7])
return 1
"""
)
# KEYS endpoint, storm, shut, probe; ARGV slack of the endpoint, how long it is spent (0: it is not), caller.
# Returns 1 when this was the probe and ended the penalty.
_ANSWERED: Final = (
    _COMMON
    + """
if ARGV[2] ~= '0' then keep(KEYS[1], math.max(bucket(KEYS[1]), now + tonumber(ARGV[1]) + tonumber(ARGV[2]))) end
redis.call('DEL', KEYS[2])
if redis.pcall('GET', KEYS[4]) ~= ARGV[3] then return 0 end
return redis.call('DEL', KEYS[3], KEYS[4])
"""
)
Script = Callable[..., Awaitable[Any]]


class SharedBudget(Waiting):
    """The budget of all processes on one Redis, which count as one egress address.

    `priority` is for trading: it may run further ahead than verification, which then waits.
    """

    def __init__(
        self, redis: Redis, clock: Clock, per_minute: int = CALLS_PER_MINUTE, *, priority: bool = False
    ) -> None:
        super().__init__()
        self._clock = clock
        self._lane = "trade" if priority else "verify"
        self._step = 60 / per_minute
        calls = max(1.0, per_minute * (PRIORITY_BURST if priority else BURST))
        self._slack = (calls - 1) * self._step
        self._turn, self._refused, self._answered = map(redis.register_script, (_TURN, _REFUSED, _ANSWERED))
        self._alone = LocalBudget(clock, per_minute * ALONE)
        self._away_until = 0.0
        self._trouble = False

    async def _ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        limit = limits.of(endpoint)
        lane = PREFIX + self._lane
        keys = [EGRESS, f"{lane}:active", f"{lane}:share:{caller.tenant}", _bucket(caller, endpoint)]
        values = [_us(self._step), _us(self._slack), _us(limit.interval_s), _us(limit.slack_s), caller.tenant]
        values += [_name(caller, endpoint), _ms(SHUT_S), _ms(PROBE_S)]
        answer = await self._call(self._turn, [*keys, SHUT, PROBE, STORM_KEY], values)
        if answer is None:
            return self._alone.ask(caller, endpoint)
        self._trouble = bool(answer[2])
        return int(answer[0]) / 1000, Held(answer[1].decode())

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """See `Budget`."""
        await self._alone.answered(caller, endpoint, remaining)
        if remaining != 0 and not self._trouble:
            return
        spent = _us(SPENT_S) if remaining == 0 else 0
        values = [_us(limits.of(endpoint).slack_s), spent, _name(caller, endpoint)]
        if await self._call(self._answered, self._keys(caller, endpoint), values):
            logs.get().warning("address_readmitted")

    async def refused(self, caller: Caller, endpoint: str) -> None:
        """See `Budget`."""
        await self._alone.refused(caller, endpoint)
        self._trouble = True
        values = [_us(limits.of(endpoint).slack_s), _us(REFUSED_S), caller.owner, STORM]
        values += [_ms(STORM_S), _ms(SHUT_S), _ms(PROBE_S)]
        if await self._call(self._refused, self._keys(caller, endpoint), values):
            logs.get().error("address_shut_out")

    def _keys(self, caller: Caller, endpoint: str) -> list[str]:
        return [_bucket(caller, endpoint), STORM_KEY, SHUT, PROBE]

    async def _call(self, script: Script, keys: list[str], values: list[Any]) -> Any:
        """Return a script's answer, None when Redis cannot be asked."""
        if self._clock.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                return await script(keys=keys, args=values)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = self._clock.monotonic() + AWAY_S
            logs.get().warning("budget_alone", error=type(error).__name__)
            return None


def _bucket(caller: Caller, endpoint: str) -> str:
    owner = caller.owner if limits.of(endpoint).scope == "uid" else ""
    return f"{PREFIX}calls:{owner}:{endpoint}"


def _name(caller: Caller, endpoint: str) -> str:
    return f"{caller.owner} {endpoint}"


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
