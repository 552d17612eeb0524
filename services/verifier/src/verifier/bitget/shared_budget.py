"""Own the budget that all processes share through Redis: the address, the tenants' shares of it, each endpoint.

One script call asks everything on Redis's clock, for all calls that ask at the same moment, and nothing of a call is
taken unless all of it admits. Values that nobody of ours wrote hold nobody up. Without Redis each process keeps its
own, much smaller budget.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from common import logs, metrics
from common.clock import Clock
from redis.asyncio import Redis
from redis.exceptions import RedisError

from verifier.bitget import limits
from verifier.bitget.budget import (
    ALONE,
    BURST,
    CALLS_PER_MINUTE,
    DOUBT_S,
    LATEST_S,
    PRIORITY_BURST,
    PROBE_S,
    REFUSED_S,
    SPENT_S,
    Caller,
    Held,
    LocalBudget,
    Reaches,
    Waiting,
)

UNASKED: Final = metrics.counter(
    "strongroom_budget_alone", "Times at which Redis did not answer and this process went on with its own budget"
)
PREFIX: Final = "sr:{budget}:"
SHUT: Final = PREFIX + "shut"
PROBE: Final = PREFIX + "probe"
EGRESS: Final = PREFIX + "egress"
# While trading takes all there is, this part of it stays verification's: a key that dies is still seen.
KEPT: Final = PREFIX + "kept"
KEPT_SHARE: Final = 1 / 20
# Each refused probe keeps the address shut for Bitget's penalty; without any, calls are tried again after it.
SHUT_S: Final = 300.0
# How long a probe may take; those who want to know its outcome look so often.
PROBING_S: Final = 2.5
POLL_S: Final = 0.2
REDIS_S: Final = 1.0
# How long a process leaves Redis alone after trouble with it.
AWAY_S: Final = 1.0

# A bucket is the moment, in microseconds, at which it is empty again; an endpoint's slots are a sorted set: of those
# that are taken, the moments at which they are free again. What lies further ahead than anything of ours is nobody's.
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
local function until_free(key, slots)
  if type(redis.pcall('ZREMRANGEBYSCORE', key, '-inf', now)) == 'table' then redis.call('DEL', key) end
  redis.call('ZREMRANGEBYSCORE', key, now + 120000000, '+inf')
  local over = redis.call('ZCARD', key) - slots
  if over < 0 then return 0 end
  return tonumber(redis.call('ZRANGE', key, over, over, 'WITHSCORES')[2]) - now
end
local function occupy(key, name, moment)
  redis.call('ZADD', key, moment, name)
  local ms = math.ceil((moment - now) / 1000) + 1000
  if redis.call('PTTL', key) < ms then redis.call('PEXPIRE', key, ms) end
end
local function left(key, most)
  local known = redis.call('PTTL', key)
  if known == -1 or known > most then redis.call('DEL', key) return 0 end
  return math.max(known, 0)
end
"""
# Asks for several calls, one after the other. KEYS egress, active, shut, probe, kept, then share and endpoint of each
# call. ARGV step and slack of the address, slack of trading or of verification; ms of a penalty, of the time between
# probes, of one, of a poll; the time between calls that are kept for verification, 0 for trading; then of each call the
# tenant, and of its endpoint how many slots there are, for how long a call keeps one, and how much earlier it may be
# free by an answer.
# Returns for each the wait in ms and what holds the call back; "probe": this caller is to find out if the address is
# served.
_TURNS: Final = (
    _COMMON
    + """
local step, slack, kept = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[7])
local function shut()
  local rest = left(KEYS[4], tonumber(ARGV[4]))
  if rest > 0 and redis.pcall('GET', KEYS[4]) == 'asking' then rest = math.min(rest, tonumber(ARGV[6])) end
  if rest > 0 then return {rest, 'shut'} end
  redis.call('SET', KEYS[4], 'asking', 'PX', ARGV[5])
  return {1, 'probe'}
end
local function active(tenant)
  if type(redis.pcall('ZADD', KEYS[2], now, tenant)) == 'table' then
    redis.call('DEL', KEYS[2])
    redis.call('ZADD', KEYS[2], now, tenant)
  end
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - 2000000)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now), '+inf')
  redis.call('PEXPIRE', KEYS[2], 3000)
  return redis.call('ZCARD', KEYS[2])
end
local function turn(place, sharekey, slotskey, tenant, slots, held, early)
  if left(KEYS[3], tonumber(ARGV[3])) > 0 then return shut() end
  local wait = until_free(slotskey, slots)
  wait = math.max(wait - early, math.min(wait, early / 10))
  if wait > 0 then return {math.ceil(wait / 1000), 'endpoint'} end
  local tenants, egress, share, cost = active(tenant), bucket(KEYS[1]), bucket(sharekey), step
  wait = egress - slack - now
  if kept > 0 and wait > kept then -- trading is far ahead: one call at a time, by the same shares
    wait, cost = math.max(bucket(KEYS[5]), share - slack) - now, kept
    if wait <= 0 then keep(KEYS[5], now + kept) end
  elseif egress - now > slack / 2 then wait = math.max(wait, share - slack - now) end
  if wait > 0 then return {math.ceil(wait / 1000), 'shared'} end
  keep(KEYS[1], egress + step)
  keep(sharekey, math.min(share, now + slack) + math.min(cost * tenants, 1000000))
  occupy(slotskey, string.format('%.0f.%d', now, place), now + held)
  return {0, 'shared'}
end
local answers = {}
for place = 1, (#KEYS - 5) / 2 do
  local key, value = 4 + 2 * place, 4 + 4 * place
  local slots, held, early = tonumber(ARGV[value + 1]), tonumber(ARGV[value + 2]), tonumber(ARGV[value + 3])
  answers[place] = turn(place, KEYS[key], KEYS[key + 1], ARGV[value], slots, held, early)
end
return answers
"""
)
# KEYS endpoint, probe; ARGV how many slots it has, for how long all of them are taken, whether the address is in doubt,
# ms between probes, ms of one. Returns 1 when this caller is to find out whether the address is served.
_HOLD: Final = (
    _COMMON
    + """
local slots = tonumber(ARGV[1])
if until_free(KEYS[1], slots) < tonumber(ARGV[2]) then
  for slot = 1, slots do occupy(KEYS[1], 'all.' .. slot, now + tonumber(ARGV[2])) end
end
if ARGV[3] == '0' or left(KEYS[2], tonumber(ARGV[4])) > 0 then return 0 end
redis.call('SET', KEYS[2], 'asking', 'PX', ARGV[5])
return 1
"""
)
# KEYS endpoint; ARGV for how long the exchange counts a call. Of the calls that are not known to be answered, the first
# now is: it has come there, so it is counted from now on at the latest.
_ANSWERED: Final = (
    _COMMON
    + """
local counted = now + tonumber(ARGV[1])
local first = redis.pcall('ZRANGE', KEYS[1], '(' .. string.format('%.0f', counted), '+inf', 'BYSCORE', 'LIMIT', 0, 1)[1]
if first then redis.call('ZADD', KEYS[1], counted, first) end
return 0
"""
)
# KEYS shut, probe; ARGV served, refused or unknown; ms of a penalty, ms to the next probe while there is one, and
# while there is none. Returns 1 when that is news.
_PROBED: Final = """
local shut = redis.call('EXISTS', KEYS[1])
if ARGV[1] == 'refused' then redis.call('SET', KEYS[1], '1', 'PX', ARGV[2]) end
if ARGV[1] == 'served' then redis.call('DEL', KEYS[1]) end
local now = redis.call('EXISTS', KEYS[1])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[4 - now])
return shut ~= now and 1 or 0
"""
Script = Callable[..., Awaitable[Any]]
_Asking = tuple[Caller, str, "asyncio.Future[Any]"]
# So many calls are asked for by one question.
ABREAST: Final = 64


class SharedBudget(Waiting):
    """The budget of all processes on one Redis, which count as one egress address.

    `priority` is for trading: it may run further ahead than verification, which then waits, but for a small part.
    """

    def __init__(
        self,
        redis: Redis,
        clock: Clock,
        reaches: Reaches,
        per_minute: int = CALLS_PER_MINUTE,
        *,
        priority: bool = False,
        latest_s: float = LATEST_S,
    ) -> None:
        super().__init__(latest_s)
        self._clock = clock
        self._reaches = reaches
        self.lane = "trade" if priority else "verify"
        self._step = 60 / per_minute
        self._kept = 0.0 if priority else self._step / KEPT_SHARE
        calls = max(1.0, per_minute * (PRIORITY_BURST if priority else BURST))
        self._slack = (calls - 1) * self._step
        scripts = (_TURNS, _ANSWERED, _HOLD, _PROBED)
        self._turns, self._counted, self._hold, self._probed = map(redis.register_script, scripts)
        self._asking: list[_Asking] = []
        self._asker: asyncio.Task[None] | None = None
        self._alone = LocalBudget(clock, reaches, per_minute * ALONE)
        self._away_until = 0.0

    async def ask(self, caller: Caller, endpoint: str) -> tuple[float, Held]:
        """See `Waiting`."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._asking.append((caller, endpoint, answer))
        if self._asker is None or self._asker.done():
            self._asker = asyncio.create_task(self._ask())
        told = await answer
        if told is None:
            return await self._alone.ask(caller, endpoint)
        if told[1] == b"probe":
            await self._look()
            return await self.ask(caller, endpoint)
        return int(told[0]) / 1000, Held(told[1].decode())

    async def _ask(self) -> None:
        """Ask for all who wait, again and again until nobody does; who comes meanwhile is in the next question."""
        while self._asking:
            asking, self._asking = self._asking[:ABREAST], self._asking[ABREAST:]
            asking = [one for one in asking if not one[2].done()]  # who was cancelled waits no more
            answers = await self._call(self._turns, *self._question(asking)) if asking else []
            for (*_, answer), told in zip(asking, answers or [None] * len(asking), strict=True):
                if not answer.done():
                    answer.set_result(told)

    def _question(self, asking: Sequence[_Asking]) -> tuple[list[str], list[Any]]:
        lane = PREFIX + self.lane
        keys = [EGRESS, f"{lane}:active", SHUT, PROBE, KEPT]
        values: list[Any] = [_us(self._step), _us(self._slack), *map(_ms, (SHUT_S, PROBE_S, PROBING_S, POLL_S))]
        values.append(_us(self._kept))
        for caller, endpoint, _ in asking:
            limit = limits.of(endpoint)
            keys += [f"{lane}:share:{caller.tenant}", _slots(caller, endpoint)]
            early_s = limit.held_s - limit.span_s if self.lane == "trade" else 0.0
            values += [caller.tenant, limit.slots, _us(limit.held_s), _us(early_s)]
        return keys, values

    async def answered(self, caller: Caller, endpoint: str, remaining: int | None) -> None:
        """See `Budget`. Verification seldom comes near an endpoint's limit and leaves its slots as they are."""
        if remaining == 0:
            await self._held(caller, endpoint, SPENT_S, address=False)
        elif self.lane == "trade":
            await self._call(self._counted, [_slots(caller, endpoint)], [_us(limits.of(endpoint).span_s)])

    async def refused(self, caller: Caller, endpoint: str, *, address: bool) -> None:
        """See `Budget`."""
        answer = await self._held(caller, endpoint, REFUSED_S, address=address)
        if answer is None:
            await self._alone.refused(caller, endpoint, address=address)
        elif answer:
            await self._look()

    async def _held(self, caller: Caller, endpoint: str, seconds: float, *, address: bool) -> Any:
        """Keep an endpoint from its caller's account; return whether to look if the address is served, None unasked."""
        self._alone.hold(caller, endpoint, seconds)
        values = [limits.of(endpoint).slots, _us(seconds), int(address), _ms(PROBE_S), _ms(PROBING_S)]
        return await self._call(self._hold, [_slots(caller, endpoint), PROBE], values)

    async def _look(self) -> None:
        """Find out whether the address is served, and tell all processes."""
        served = await self._reaches()
        outcome = "unknown" if served is None else "served" if served else "refused"
        values = [outcome, _ms(SHUT_S), _ms(PROBE_S), _ms(DOUBT_S)]
        if await self._call(self._probed, [SHUT, PROBE], values):
            if served:
                logs.get().warning("address_readmitted")
            else:
                logs.get().error("address_shut_out")

    async def _call(self, script: Script, keys: list[str], values: list[Any]) -> Any:
        """Return a script's answer, None when Redis cannot be asked."""
        if self._clock.monotonic() < self._away_until:
            return None
        try:
            async with asyncio.timeout(REDIS_S):
                return await script(keys=keys, args=values)
        except (RedisError, OSError, TimeoutError) as error:
            self._away_until = self._clock.monotonic() + AWAY_S
            UNASKED.inc()
            logs.get().warning("budget_alone", error=type(error).__name__)
            return None


def _slots(caller: Caller, endpoint: str) -> str:
    owner = caller.owner if limits.of(endpoint).scope == "uid" else ""
    return f"{PREFIX}slots:{owner}:{endpoint}"


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
