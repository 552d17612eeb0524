"""Own what Redis knows of a binding: one projection, and exactly one event for each change of state.

A projection never goes back to an older revision. Everything here can be lost and is rebuilt from the record in Vault.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from common import logs
from common.clock import Clock, rfc3339, timestamp
from common.events import epoch_key, stream_key
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding, Observation
from strongroom.verifier.v1.verification_service_pb2 import Event

TTL_S: Final = 90 * 86_400
EVENTS_KEPT: Final = 10_000

# Returns 1 when an event was written. An empty observation leaves the stored one and its staleness as they are.
# A key of another type than ours holds nothing: it is made anew.
# KEYS projection, events, epoch; ARGV revision, stale, observation, event, fresh epoch, ttl, events kept, started.
_PUBLISH: Final = """
for i, kind in ipairs({'hash', 'stream', 'string'}) do
  if redis.call('TYPE', KEYS[i]).ok ~= kind then redis.call('DEL', KEYS[i]) end
end
local revision, known = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'revision') or '-1') or -1
if revision < known then return 0 end
local stale = redis.call('HGET', KEYS[1], 'stale') or '0'
redis.call('HSET', KEYS[1], 'revision', ARGV[1], 'stale', ARGV[2], 'state', ARGV[4])
if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'observation', ARGV[3], 'started', ARGV[8]) end
redis.call('EXPIRE', KEYS[1], ARGV[6])
if revision == known and stale == ARGV[2] then return 0 end
if redis.call('SET', KEYS[3], ARGV[5], 'NX', 'EX', ARGV[6]) == false then redis.call('EXPIRE', KEYS[3], ARGV[6]) end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[7], '*', 'epoch', redis.call('GET', KEYS[3]), 'event', ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return 1
"""


def projection_key(tenant: str, binding: str) -> str:
    """Return the key of a binding's projection, in its tenant's cluster slot."""
    return f"sr:{{{tenant}}}:obs:{binding}"


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of one binding; `revision` is -1 and `observation` None where nothing is."""

    revision: int = -1
    stale: bool = False
    observation: Observation | None = None
    started_ms: int = 0


class Status:
    """Read and publish projections."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock

    async def read(self, tenant: str, binding: str) -> Known:
        """Return what is stored of one binding."""
        return (await self.read_many([(tenant, binding)]))[0]

    async def read_many(self, wanted: Sequence[tuple[str, str]]) -> list[Known]:
        """Return what is stored of several bindings, in their order."""
        async with self._redis.pipeline(transaction=False) as batch:
            for tenant, binding in wanted:
                batch.hmget(projection_key(tenant, binding), ["revision", "stale", "observation", "started"])
            return [_known(fields) for fields in await batch.execute(raise_on_error=False)]

    async def observed(self, binding: Binding, observation: Observation, started_ms: int) -> bool:
        """Publish the outcome of a verification that began at `started_ms`; return whether it was a change."""
        return await self._publish(binding, observation, observation.stale, started_ms)

    async def recorded(self, binding: Binding) -> bool:
        """Publish a record's state as it is, keeping what was observed; return whether it was a change.

        Of a revoked binding only the revision stays, so that its last event is not written twice.
        """
        if binding.verdict.status == STATUS_REVOKED:
            changed = await self._publish(binding, None, stale=False, started_ms=0)
            await self._redis.hdel(projection_key(binding.tenant_id, binding.id), "observation", "started")
            return changed
        known = await self.read(binding.tenant_id, binding.id)
        return await self._publish(binding, None, known.stale, started_ms=0)

    async def forget(self, tenant: str, binding: str) -> None:
        """Remove the projection of a binding that has no record."""
        await self._redis.delete(projection_key(tenant, binding))

    async def _publish(self, binding: Binding, observation: Observation | None, stale: bool, started_ms: int) -> bool:
        tenant = binding.tenant_id
        event = _event(binding, observation, stale, self._clock.unix())
        keys = [projection_key(tenant, binding.id), stream_key(tenant), epoch_key(tenant)]
        observed = observation.SerializeToString() if observation is not None else b""
        values: list[Any] = [binding.revision, int(stale), observed, event.SerializeToString()]
        values += [secrets.token_hex(4), TTL_S, EVENTS_KEPT, started_ms]
        return bool(await self._redis.eval(_PUBLISH, len(keys), *keys, *values))


def _event(binding: Binding, observation: Observation | None, stale: bool, now: float) -> Event:
    verdict = binding.verdict
    codes = [finding.code for finding in verdict.findings]
    if observation is not None and observation.HasField("stale_finding"):
        codes.append(observation.stale_finding.code)
    return Event(
        binding_id=binding.id,
        status=verdict.status,
        reason=verdict.reason,
        stale=stale,
        finding_codes=codes,
        occurred_at=timestamp(now),
        revision=binding.revision,
    )


def _known(answer: list[bytes | None] | Exception) -> Known:
    """Return what a projection says. One that nobody of ours wrote says nothing: it must not stop those beside it."""
    if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
        raise answer
    try:
        return _parsed(*answer) if isinstance(answer, list) else Known()
    except (ValueError, OverflowError, DecodeError):
        logs.get().warning("projection_malformed")
        return Known()


def _parsed(revision: bytes | None, stale: bytes | None, observation: bytes | None, started: bytes | None) -> Known:
    seen = Observation.FromString(observation) if observation else None
    if seen is not None:
        for moment in (seen.last_verified_at, seen.next_verification_at, seen.balances.as_of):
            rfc3339(moment)
    return Known(
        revision=int(revision) if revision is not None else -1,
        stale=stale == b"1",
        observation=seen,
        started_ms=int(started or 0),
    )
