"""Own the job queue: two Redis streams of ids with one consumer group each, and a sorted set of what is due later.

Jobs carry no payload, are derivable from Vault at any time, and may run twice. The streams are never trimmed: an entry
leaves one only together with its acknowledgement, after the result is stored.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from common import context, ids, tracing
from common.errors import StrongroomError
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from verifier import queue_scripts as scripts

# What somebody waits for, and what nobody waits for. The braces keep the queue's keys in one cluster slot.
ASKED: Final = "sr:{jobs}:asked"
BACKGROUND: Final = "sr:{jobs}:due"
CAUSES: Final = frozenset(("bind", "request", "retry", "schedule", "reconcile"))
SUBMITTED: Final = frozenset(("bind", "request"))
FIELDS: Final = frozenset((b"tenant", b"binding", b"cause", b"attempt"))
TRACE: Final = b"traceparent"  # of whoever asked, where that is recorded; a job without it is as good
FIELD_LIMIT: Final = 64
_ATTEMPT: Final = re.compile(r"[0-9]{1,6}")
_ORDER: Final = (b"tenant", b"binding", b"cause", b"attempt")
GROUP: Final = "workers"
STREAMS: Final = (ASKED, BACKGROUND)
DUE: Final = "sr:{jobs}:plan"
ATTEMPTS: Final = "sr:{jobs}:attempts"
# Of what is due: that for which a submitter is still waiting.
SOON: Final = "sr:{jobs}:soon"
DEAD: Final = "sr:{jobs}:dead"
REPLY: Final = "sr:{jobs}:reply:"
DEAD_KEPT: Final = 1000
DEAD_TTL_S: Final = 30 * 86_400
REPLY_TTL_S: Final = 60
WAIT_SLICE_S: Final = 1
# A job that found its binding locked comes again after this.
AGAIN_S: Final = 0.5
# So many failures in a row look like an outage. Each binding that comes out of one brings others forward, those again
# others: all are verified soon after the exchange is back, as fast as the budget allows, and not when their hour is up.
OUTAGE: Final = 3
BROUGHT_FORWARD: Final = 4


class Misfit(Exception):
    """An entry that is no job; its text says why and holds nothing of the entry."""


@dataclass(frozen=True, slots=True)
class Job:
    """One verification to make. `attempt` counts the failures in a row before it."""

    tenant: str
    binding: str
    cause: str
    attempt: int = 0
    traceparent: str | None = None

    @property
    def member(self) -> str:
        """Its name in the set of what is due."""
        return f"{self.tenant}:{self.binding}"

    @property
    def stream(self) -> str:
        """The stream it is put into."""
        return ASKED if self.cause in SUBMITTED else BACKGROUND


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One entry as its stream gave it."""

    stream: str
    entry: str
    fields: dict[bytes, bytes]

    @property
    def submitted_ms(self) -> int:
        """When it was put into the stream, by Redis's clock."""
        return int(self.entry.partition("-")[0])

    @property
    def name(self) -> str:
        """Its name among the entries of both streams; the token of the locks it takes."""
        return f"{self.stream} {self.entry}"


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


def decode(fields: dict[bytes, bytes]) -> Job:
    """Return the job of an entry; raise Misfit for anything but exactly one."""
    if fields.keys() - {TRACE} != FIELDS:
        raise Misfit("fields")
    if any(len(value) > FIELD_LIMIT for value in fields.values()):
        raise Misfit("size")
    try:
        tenant, binding, cause, attempt = (fields[name].decode("ascii") for name in _ORDER)
        traceparent = fields[TRACE].decode("ascii") if TRACE in fields else None
        ids.tenant_id(tenant)
        ids.binding_id(binding)
    except (UnicodeDecodeError, StrongroomError):
        raise Misfit("ids") from None
    traced = traceparent is None or context.TRACEPARENT.fullmatch(traceparent)
    if cause not in CAUSES or not _ATTEMPT.fullmatch(attempt) or not traced:
        raise Misfit("values")
    return Job(tenant, binding, cause, int(attempt), traceparent)


class GroupLost(Exception):
    """Redis has lost the group, and with it perhaps jobs: make it again and reconcile."""


def lock_key(job: Job) -> str:
    """Return the key of the lock that keeps a binding's verifications one after the other."""
    return f"sr:{{jobs}}:lock:{job.member}"


def waiting_key(job: Job) -> str:
    """Return the key of the list of entries whose submitters wait for a later verification of their binding."""
    return f"sr:{{jobs}}:waiting:{job.member}"


class Queue:
    """One consumer's view of the queue. `consumer` must be unique to the process."""

    def __init__(self, redis: Redis, consumer: str) -> None:
        self._redis = redis
        self._consumer = consumer
        self._lock, self._finish, self._give_back, self._sweep = map(
            redis.register_script, (scripts.LOCK, scripts.FINISH, scripts.GIVE_BACK, scripts.SWEEP)
        )

    async def prepare(self) -> None:
        """Make the streams and their groups, from the first entry on; safe to repeat."""
        for stream in STREAMS:
            try:
                await self._redis.xgroup_create(stream, GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def put(self, job: Job) -> str:
        """Queue a job and return its entry's id."""
        fields: dict[Any, Any] = {"tenant": job.tenant, "binding": job.binding, "cause": job.cause}
        fields["attempt"] = job.attempt
        with tracing.span("job queue", "producer", tenant=job.tenant, binding=job.binding, cause=job.cause) as span:
            traceparent = tracing.handed_on()
            entry: Any = await self._redis.xadd(job.stream, fields | ({TRACE: traceparent} if traceparent else {}))
            span.set(job=entry.decode())
        return str(entry.decode())

    async def read(self, stream: str, count: int, block_ms: int) -> list[Delivery]:
        """Return up to `count` new entries of a stream, waiting for the first; raise GroupLost."""
        try:
            answer: Any = await self._redis.xreadgroup(
                GROUP, self._consumer, {stream: ">"}, count=count, block=block_ms
            )
        except ResponseError as error:
            raise _lost(error) from None
        if isinstance(answer, dict):
            return _deliveries(stream, (entry for batches in answer.values() for batch in batches for entry in batch))
        return _deliveries(stream, answer[0][1]) if answer else []

    async def reclaim(self, stream: str, idle_ms: int, count: int) -> list[tuple[Delivery, int]]:
        """Take over entries whose worker has not renewed them for `idle_ms`, each with its number of deliveries."""
        try:
            answer: Any = await self._redis.xautoclaim(stream, GROUP, self._consumer, idle_ms, count=count)
            claimed = _deliveries(stream, answer[1])
            async with self._redis.pipeline(transaction=False) as batch:
                for delivery in claimed:
                    batch.xpending_range(stream, GROUP, delivery.entry, delivery.entry, 1)
                pending = await batch.execute()
        except ResponseError as error:
            raise _lost(error) from None
        counts = [int(rows[0]["times_delivered"]) if rows else 1 for rows in pending]
        return list(zip(claimed, counts, strict=True))

    async def renew(self, deliveries: Sequence[Delivery]) -> None:
        """Keep the lease of entries that are being worked on, without counting a delivery."""
        for stream in STREAMS:
            held: list[Any] = [delivery.entry for delivery in deliveries if delivery.stream == stream]
            if held:
                try:
                    await self._redis.xclaim(stream, GROUP, self._consumer, 0, held, justid=True)
                except ResponseError as error:
                    raise _lost(error) from None

    async def lock(self, job: Job, delivery: Delivery, ttl_ms: int) -> int:
        """Take the binding's lock; return Redis's time in ms, or 0 when another job holds it."""
        return int(await self._lock(keys=[lock_key(job)], args=[delivery.name, ttl_ms]))

    async def finish(self, delivery: Delivery, job: Job, outcome: Outcome, started_ms: int, now: float) -> None:
        """Acknowledge a job, plan the next, free the lock and wake those whom this verification answers, all at once.

        `started_ms` is when the verification began, by Redis's clock: it answers all who had asked before.
        """
        at = "" if outcome.next_s is None else _ms(now + outcome.next_s)
        keys = [delivery.stream, DUE, ATTEMPTS, SOON, waiting_key(job), lock_key(job)]
        values: list[Any] = [GROUP, delivery.entry, delivery.name, job.member, _ms(now), at, outcome.attempt]
        values += [int(outcome.replace), _submitter(delivery, job), int(outcome.verified), int(outcome.reply)]
        over = outcome.verified and job.attempt >= OUTAGE
        values += [started_ms, REPLY, REPLY_TTL_S, _ms(AGAIN_S), BROUGHT_FORWARD if over else 0, OUTAGE]
        await self._finish(keys=keys, args=values)

    async def give_back(self, delivery: Delivery, job: Job, now: float) -> None:
        """Put a job back for a moment whose binding is locked; its submitter, if there is one, goes on waiting."""
        keys = [delivery.stream, DUE, ATTEMPTS, SOON, waiting_key(job)]
        values: list[Any] = [GROUP, delivery.entry, job.member, job.attempt, _ms(now + AGAIN_S)]
        values += [_submitter(delivery, job), REPLY_TTL_S, int(delivery.stream == ASKED)]
        await self._give_back(keys=keys, args=values)

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Put an entry's id and the reason with the dead letters and remove it; never its content."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.xadd(DEAD, {"entry": delivery.entry, "reason": reason}, maxlen=DEAD_KEPT, approximate=True)
            batch.expire(DEAD, DEAD_TTL_S)
            batch.xack(delivery.stream, GROUP, delivery.entry)
            batch.xdel(delivery.stream, delivery.entry)
            await batch.execute()

    async def sweep(self, now: float, slots: int) -> int:
        """Move what is due at `now` (Unix seconds) into the streams, while fewer than `slots` wait in the background.

        Return how many jobs that were.
        """
        return int(await self._sweep(keys=[DUE, ATTEMPTS, SOON, ASKED, BACKGROUND], args=[_ms(now), GROUP, slots]))

    async def plan(self, plans: Iterable[tuple[Job, float]]) -> None:
        """Make each binding due at its time (Unix seconds) unless it is due before."""
        scores: dict[Any, Any] = {job.member: _ms(at) for job, at in plans}
        if scores:
            await self._redis.zadd(DUE, scores, lt=True)

    async def due(self, members: Sequence[str]) -> list[bool]:
        """Tell of each member whether it is due some time."""
        return [score is not None for score in await self._redis.zmscore(DUE, list(members))] if members else []

    async def cancel(self, job: Job) -> None:
        """Forget what is due for a binding."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.zrem(DUE, job.member)
            batch.zrem(SOON, job.member)
            batch.hdel(ATTEMPTS, job.member)
            await batch.execute()

    async def wait(self, entry: str, seconds: int) -> bool:
        """Wait for the outcome of a job and return whether it brought a verdict; False when the time is over."""
        for _ in range(0, seconds, WAIT_SLICE_S):  # a single long read would outlast the connection's own timeout
            answer: Any = await self._redis.blpop([REPLY + entry], timeout=WAIT_SLICE_S)
            if answer is not None:
                return bool(answer[1] == b"1")
        return False

    async def tidy(self, idle_ms: int) -> None:
        """Remove consumers that have gone and left nothing behind."""
        for stream in STREAMS:
            await self._redis.eval(scripts.TIDY, 1, stream, GROUP, idle_ms)


def _submitter(delivery: Delivery, job: Job) -> str:
    return delivery.entry if job.cause in SUBMITTED else ""


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _deliveries(stream: str, entries: Iterable[Any]) -> list[Delivery]:
    return [Delivery(stream, entry.decode(), fields) for entry, fields in entries if fields is not None]


def _lost(error: ResponseError) -> Exception:
    """Return GroupLost for what Redis says when the stream or its group has gone, and other errors as they are."""
    text = str(error)
    return GroupLost() if text.startswith(("NOGROUP", "UNBLOCKED")) else error
