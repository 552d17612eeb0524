"""Own the job queue: a Redis stream of ids, a consumer group, and a sorted set of what is due later.

Jobs carry no payload, are derivable from Vault at any time, and may run twice. The stream is never trimmed: an entry
leaves it only together with its acknowledgement, after the result is stored.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from common import ids
from common.errors import StrongroomError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

STREAM: Final = "sr:jobs"
GROUP: Final = "workers"
DEAD: Final = "sr:jobs:dead"
DUE: Final = "sr:due"
ATTEMPTS: Final = "sr:due:attempts"
CAUSES: Final = frozenset(("bind", "request", "retry", "schedule", "reconcile"))
FIELDS: Final = frozenset((b"tenant", b"binding", b"cause", b"attempt"))
FIELD_LIMIT: Final = 64
DEAD_KEPT: Final = 1000
DEAD_TTL_S: Final = 30 * 86_400
REPLY_TTL_S: Final = 60
WAIT_SLICE_S: Final = 1
SWEEP: Final = 200
_ATTEMPT: Final = re.compile(r"[0-9]{1,6}")

# KEYS due, attempts, jobs; ARGV now in ms, how many. Returns how many were moved.
_SWEEP: Final = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  local attempt = redis.call('HGET', KEYS[2], member) or '0'
  redis.call('ZREM', KEYS[1], member)
  redis.call('HDEL', KEYS[2], member)
  local tenant, binding = string.match(member, '^(%w+):(%w+)$')
  if tenant then
    local cause = attempt == '0' and 'schedule' or 'retry'
    redis.call('XADD', KEYS[3], '*', 'tenant', tenant, 'binding', binding, 'cause', cause, 'attempt', attempt)
  end
end
return #due
"""
# Take a binding's lock for the job ARGV[1], which may hold it already, for ARGV[2] ms; return the time in ms or 0.
# A lock that is not one of ours, or would be held for longer than any of ours, holds nobody up.
_LOCK: Final = """
local left = redis.call('PTTL', KEYS[1])
local ours = redis.call('TYPE', KEYS[1]).ok == 'string' and left >= 0 and left <= tonumber(ARGV[2])
if ours and redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
local now = redis.call('TIME')
return now[1] * 1000 + math.floor(now[2] / 1000)
"""
_UNLOCK: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
# Remove consumers without pending jobs that have been idle for ARGV[2] ms; one with pending jobs is never removed.
_TIDY: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local removed = 0
for _, item in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
  local facts = {}
  for i = 1, #item, 2 do facts[item[i]] = item[i + 1] end
  if facts['pending'] == 0 and facts['idle'] >= tonumber(ARGV[2]) then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], facts['name'])
    removed = removed + 1
  end
end
return removed
"""


class Misfit(Exception):
    """An entry that is no job; its text says why and holds nothing of the entry."""


class GroupLost(Exception):
    """Redis has lost the group, and with it perhaps jobs: make it again and reconcile."""


@dataclass(frozen=True, slots=True)
class Job:
    """One verification to make. `attempt` counts the failures in a row before it.

    `reply` is the entry on whose list the submitter waits, when that is not this job's own.
    """

    tenant: str
    binding: str
    cause: str
    attempt: int = 0
    reply: str = ""

    @property
    def member(self) -> str:
        """Its name in the set of what is due."""
        return f"{self.tenant}:{self.binding}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry as the stream gave it."""

    entry: str
    fields: dict[bytes, bytes]

    @property
    def submitted_ms(self) -> int:
        """When it was put into the stream, by Redis's clock."""
        return int(self.entry.partition("-")[0])


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended. `next_s` is the delay to the next one, None when there is to be none.

    `replace` False plans it only if nothing is due yet. `reply` False lets the submitter go on waiting for the next
    attempt. `also` names bindings of the same tenant whose verdicts are out of date by this one.
    """

    verified: bool
    next_s: float | None = None
    attempt: int = 0
    replace: bool = True
    reply: bool = True
    also: tuple[str, ...] = ()


_ORDER: Final = (b"tenant", b"binding", b"cause", b"attempt")


def decode(fields: dict[bytes, bytes]) -> Job:
    """Return the job of an entry; raise Misfit for anything but exactly one."""
    if fields.keys() != FIELDS:
        raise Misfit("fields")
    if any(len(value) > FIELD_LIMIT for value in fields.values()):
        raise Misfit("size")
    try:
        tenant, binding, cause, attempt = (fields[name].decode("ascii") for name in _ORDER)
        ids.tenant_id(tenant)
        ids.binding_id(binding)
    except (UnicodeDecodeError, StrongroomError):
        raise Misfit("ids") from None
    if cause not in CAUSES or not _ATTEMPT.fullmatch(attempt):
        raise Misfit("values")
    return Job(tenant, binding, cause, int(attempt))


def lock_key(job: Job) -> str:
    """Return the key of the lock that keeps a binding's verifications one after the other."""
    return f"sr:{{{job.tenant}}}:lock:{job.binding}"


def reply_key(entry: str) -> str:
    """Return the key of the list on which the submitter of an entry waits."""
    return f"sr:reply:{entry}"


class Queue:
    """One consumer's view of the queue. `consumer` must be unique to the process."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis = redis
        self._consumer = consumer

    async def prepare(self) -> None:
        """Make the stream and its group, from the stream's first entry on; safe to repeat."""
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    async def put(self, job: Job) -> str:
        """Queue a job and return its entry's id."""
        fields: dict[Any, Any] = {"tenant": job.tenant, "binding": job.binding, "cause": job.cause}
        entry: Any = await self._redis.xadd(STREAM, {**fields, "attempt": job.attempt})
        return str(entry.decode())

    async def read(self, count: int, block_ms: int) -> list[Delivery]:
        """Return up to `count` new entries, waiting for the first; raise GroupLost."""
        try:
            answer: Any = await self._redis.xreadgroup(
                GROUP, self._consumer, {STREAM: ">"}, count=count, block=block_ms
            )
        except ResponseError as error:
            raise _lost(error) from None
        if isinstance(answer, dict):
            return _deliveries(entry for batches in answer.values() for batch in batches for entry in batch)
        return _deliveries(answer[0][1]) if answer else []

    async def reclaim(self, idle_ms: int, count: int) -> list[tuple[Delivery, int]]:
        """Take over entries whose worker has not renewed them for `idle_ms`, each with its number of deliveries."""
        try:
            answer: Any = await self._redis.xautoclaim(STREAM, GROUP, self._consumer, idle_ms, count=count)
            claimed = _deliveries(answer[1])
            async with self._redis.pipeline(transaction=False) as batch:
                for delivery in claimed:
                    batch.xpending_range(STREAM, GROUP, delivery.entry, delivery.entry, 1)
                pending = await batch.execute()
        except ResponseError as error:
            raise _lost(error) from None
        counts = [int(rows[0]["times_delivered"]) if rows else 1 for rows in pending]
        return list(zip(claimed, counts, strict=True))

    async def renew(self, entries: Iterable[str]) -> None:
        """Keep the lease of entries that are being worked on, without counting a delivery."""
        held: list[Any] = list(entries)
        if held:
            try:
                await self._redis.xclaim(STREAM, GROUP, self._consumer, 0, held, justid=True)
            except ResponseError as error:
                raise _lost(error) from None

    async def lock(self, job: Job, entry: str, ttl_ms: int) -> int:
        """Take the binding's lock; return Redis's time in ms, or 0 when another job holds it."""
        return int(await self._redis.eval(_LOCK, 1, lock_key(job), entry, ttl_ms))

    async def finish(self, delivery: Delivery, job: Job, outcome: Outcome, now: float) -> None:
        """Acknowledge a job, plan the next, free the lock and wake its submitter, all at once."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.xack(STREAM, GROUP, delivery.entry)
            batch.xdel(STREAM, delivery.entry)
            _plan(batch, job.member, outcome, now)
            batch.eval(_UNLOCK, 1, lock_key(job), delivery.entry)
            if job.cause in ("bind", "request"):
                batch.rpush(reply_key(delivery.entry), int(outcome.verified))
                batch.expire(reply_key(delivery.entry), REPLY_TTL_S)
            await batch.execute()

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Put an entry's id and the reason with the dead letters and remove it; never its content."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.xadd(DEAD, {"entry": delivery.entry, "reason": reason}, maxlen=DEAD_KEPT, approximate=True)
            batch.expire(DEAD, DEAD_TTL_S)
            batch.xack(STREAM, GROUP, delivery.entry)
            batch.xdel(STREAM, delivery.entry)
            await batch.execute()

    async def sweep(self, now: float) -> int:
        """Move what is due at `now` (Unix seconds) into the stream; return how many jobs that were."""
        return int(await self._redis.eval(_SWEEP, 3, DUE, ATTEMPTS, STREAM, int(now * 1000), SWEEP))

    async def plan(self, job: Job, at: float) -> None:
        """Make a binding due at `at` (Unix seconds) unless it is due before."""
        await self._redis.zadd(DUE, {job.member: int(at * 1000)}, lt=True)

    async def due(self, members: Iterable[str]) -> list[bool]:
        """Tell of each member whether it is due some time."""
        return [score is not None for score in await self._redis.zmscore(DUE, list(members))]

    async def cancel(self, job: Job) -> None:
        """Forget what is due for a binding."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.zrem(DUE, job.member)
            batch.hdel(ATTEMPTS, job.member)
            await batch.execute()

    async def wait(self, entry: str, seconds: int) -> bool:
        """Wait for the outcome of a job and return whether it brought a verdict; False when the time is over."""
        for _ in range(0, seconds, WAIT_SLICE_S):  # a single long read would outlast the connection's own timeout
            answer: Any = await self._redis.blpop([reply_key(entry)], timeout=WAIT_SLICE_S)
            if answer is not None:
                return bool(answer[1] == b"1")
        return False

    async def tidy(self, idle_ms: int) -> None:
        """Remove consumers that have gone and left nothing behind."""
        await self._redis.eval(_TIDY, 1, STREAM, GROUP, idle_ms)


def _plan(batch: Any, member: str, outcome: Outcome, now: float) -> None:
    if outcome.next_s is not None:
        batch.zadd(DUE, {member: int((now + outcome.next_s) * 1000)}, nx=not outcome.replace)
    elif outcome.replace:
        batch.zrem(DUE, member)
    if outcome.attempt:
        batch.hset(ATTEMPTS, member, str(outcome.attempt))
    elif outcome.replace:
        batch.hdel(ATTEMPTS, member)


def _deliveries(entries: Iterable[Any]) -> list[Delivery]:
    return [Delivery(entry.decode(), fields) for entry, fields in entries if fields is not None]


def _lost(error: ResponseError) -> Exception:
    """Return GroupLost for what Redis says when the stream or its group has gone, and other errors as they are."""
    text = str(error)
    return GroupLost() if text.startswith(("NOGROUP", "UNBLOCKED")) else error
