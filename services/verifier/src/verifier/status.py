"""Own what Redis knows of a binding: one projection, its place in the tenant's indexes, one event for each change.

A projection never goes back to an older revision by itself. Everything here can be lost and is rebuilt from Vault.
"""

import asyncio
import re
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from common import logs, tracing
from common.clock import Clock, representable, timestamp
from common.errors import Aborted
from common.events import epoch_key, stream_key
from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from strongroom.types.v1.binding_pb2 import STATUS_PENDING, STATUS_REVOKED, Binding, Change, Observation
from strongroom.verifier.v1.verification_service_pb2 import Event

from verifier import changes, measures, status_scripts
from verifier.index import index_key, labels, projection_key
from verifier.rotation import under_way

TTL_S: Final = 90 * 86_400
EVENTS_KEPT: Final = 10_000
# How often a publication is made anew because another one came between, each time after up to so long.
TRIES: Final = 8
PAUSE_S: Final = 0.02
# So many projections are read by one question.
ABREAST: Final = 200
_VERSION: Final = re.compile(rb"[0-9a-f]{8}")
FIELDS: Final = ("revision", "stale", "observation", "started", "binding", "version")


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored of one binding; `revision` is -1, `observation` and `binding` None where nothing is."""

    revision: int = -1
    stale: bool = False
    observation: Observation | None = None
    started_ms: int = 0
    binding: Binding | None = None
    version: str = ""

    @property
    def pending(self) -> bool:
        """Whether the binding is known and has no verdict yet, or its replacement has none."""
        if self.binding is None:
            return False
        return self.binding.verdict.status == STATUS_PENDING or under_way(self.binding)


NOTHING: Final = Known()


@dataclass(frozen=True, slots=True)
class Outline:
    """The little that a comparison with the record needs; `revision` is -1 where nothing is stored."""

    revision: int = -1
    stale: bool = False
    observed: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """What to publish of a binding; an `observation` of None keeps the stored one.

    `tell` False writes no event, for what was told long ago; `back` lets an older revision take the place of a newer.
    """

    binding: Binding
    observation: Observation | None = None
    started_ms: int = 0
    tell: bool = True
    back: bool = False


class Status:
    """Read and publish projections."""

    def __init__(self, redis: Redis, clock: Clock) -> None:
        self._redis = redis
        self._clock = clock
        self._read = redis.register_script(status_scripts.READ)
        self._write = redis.register_script(status_scripts.PUBLISH)
        self._forget = redis.register_script(status_scripts.FORGET)

    async def read(self, tenant: str, binding: str) -> Known:
        """Return what is stored of one binding."""
        return (await self.read_many([(tenant, binding)]))[0]

    async def read_many(self, wanted: Sequence[tuple[str, str]]) -> list[Known]:
        """Return what is stored of several bindings, in their order."""
        return [_known(fields) for fields in await self._fields(wanted, FIELDS)]

    async def outlines(self, tenant: str, bindings: Sequence[str]) -> list[Outline]:
        """Return the outlines of several bindings of one tenant, in their order."""
        found = await self._fields([(tenant, binding) for binding in bindings], ("revision", "stale", "started"))
        return [_outline(fields) for fields in found]

    async def observed(
        self, binding: Binding, observation: Observation, started_ms: int, known: Known = NOTHING
    ) -> bool:
        """Publish the outcome of a verification that began at `started_ms`; return whether it was a change.

        `known` is what was published then, which mostly still is.
        """
        return (await self.publish([Draft(binding, observation, started_ms)], [known] if known.version else None))[0]

    async def recorded(self, binding: Binding) -> bool:
        """Publish a record's state as it is, keeping what was observed; return whether it was a change.

        Nothing observed is kept of a revoked binding.
        """
        return (await self.publish([Draft(binding)]))[0]

    async def publish(self, drafts: Sequence[Draft], known: Sequence[Known] | None = None) -> list[bool]:
        """Publish several bindings and return of each whether it was a change; raise Aborted when it cannot settle.

        Each is compared with what was published before, and written only if that still stands. `known` is what was
        read of them already: at first it is not read again.
        """
        with tracing.span("events publish", "producer", count=len(drafts)):
            return await self._publish(drafts, known)

    async def _publish(self, drafts: Sequence[Draft], known: Sequence[Known] | None) -> list[bool]:
        told, left = [False] * len(drafts), list(range(len(drafts)))
        for tries in range(TRIES):
            await asyncio.sleep(tries * PAUSE_S * secrets.randbelow(100) / 100)
            answers = await self._attempt([drafts[place] for place in left], None if tries else known)
            for place, answer in zip(left, answers, strict=True):
                told[place] = answer == 1
            left = [place for place, answer in zip(left, answers, strict=True) if answer < 0]
            if not left:
                return told
        raise Aborted()

    async def begin(self, tenant: str) -> None:
        """Give a tenant's events an epoch if they have none: those who watched one that was lost get a reset."""
        await self._redis.set(epoch_key(tenant), secrets.token_hex(4), nx=True, ex=TTL_S)

    async def forget(self, tenant: str, binding: str) -> None:
        """Remove the projection of a binding that has no record, and its places in the indexes."""
        keys = [projection_key(tenant, binding), index_key(tenant)]
        await self._forget(keys=keys, args=[binding, index_key(tenant, "")])

    async def _attempt(self, drafts: Sequence[Draft], known: Sequence[Known] | None) -> list[int]:
        known = known or await self.read_many([(draft.binding.tenant_id, draft.binding.id) for draft in drafts])
        async with self._redis.pipeline(transaction=False) as batch:
            for draft, before in zip(drafts, known, strict=True):
                keys, values = self._command(draft, before)
                await self._write(keys=keys, args=values, client=batch)
            answers = [int(answer) for answer in await batch.execute()]
        for draft, before, answer in zip(drafts, known, answers, strict=True):
            if answer == 1 and draft.binding.revision != before.revision:
                changed = draft.binding.updated_at.ToMilliseconds() / 1000
                measures.EVENT_LAG.observe(max(0.0, self._clock.unix() - changed))
        return answers

    def _command(self, draft: Draft, before: Known) -> tuple[list[str], list[Any]]:
        binding, tenant = draft.binding, draft.binding.tenant_id
        revoked = binding.verdict.status == STATUS_REVOKED
        shown = None if revoked else draft.observation or before.observation
        changed = changes.between(_facts(before), changes.facts(binding, shown)) if before.binding else []
        tell = draft.tell and (before.binding is None or binding.revision != before.revision or bool(changed))
        event = self._event(binding, shown, changed).SerializeToString() if tell else b""
        stale = shown is not None and shown.stale
        seen = draft.observation.SerializeToString() if draft.observation is not None and not revoked else b""
        status, subject = labels(binding)
        keys = [projection_key(tenant, binding.id), stream_key(tenant), epoch_key(tenant), index_key(tenant)]
        values: list[Any] = [before.version, secrets.token_hex(4), binding.revision, int(stale)]
        values += [binding.SerializeToString(), seen, draft.started_ms, event, secrets.token_hex(4), TTL_S]
        values += [EVENTS_KEPT, index_key(tenant, ""), binding.id, status, subject, int(revoked), int(draft.back)]
        return keys, values

    def _event(self, binding: Binding, shown: Observation | None, changed: Iterable[Change]) -> Event:
        verdict = binding.verdict
        return Event(
            binding_id=binding.id,
            status=verdict.status,
            reason=verdict.reason,
            stale=shown is not None and shown.stale,
            finding_codes=changes.codes(verdict, shown),
            occurred_at=timestamp(self._clock.unix()),
            revision=binding.revision,
            changes=changed,
        )

    async def _fields(self, wanted: Sequence[tuple[str, str]], names: Sequence[str]) -> list[list[bytes | None]]:
        """Return the fields of projections, an empty list for a key of another type; one question a tenant."""
        found: list[list[bytes | None]] = []
        for _, group in groupby(wanted, key=itemgetter(0)):
            keys = [projection_key(tenant, binding) for tenant, binding in group]
            for start in range(0, len(keys), ABREAST):
                found += await self._read(keys=keys[start : start + ABREAST], args=list(names))
        return found


def _facts(known: Known) -> changes.Facts:
    return changes.facts(known.binding or Binding(), known.observation)


def _known(answer: list[bytes | None]) -> Known:
    """Return what a projection says. One that nobody of ours wrote says nothing: it must not stop those beside it."""
    try:
        return _parsed(*answer) if answer else NOTHING
    except (ValueError, OverflowError, DecodeError):
        logs.get().warning("projection_malformed")
        return Known(version=_version(answer[-1]))


def _outline(answer: list[bytes | None]) -> Outline:
    try:
        revision, stale, started = answer or (None, None, None)
        return Outline(int(revision) if revision is not None else -1, stale == b"1", started is not None)
    except ValueError:
        return Outline()


def _parsed(  # noqa: PLR0917  the fields of a projection, in their order
    revision: bytes | None,
    stale: bytes | None,
    observation: bytes | None,
    started: bytes | None,
    binding: bytes | None,
    version: bytes | None,
) -> Known:
    seen = Observation.FromString(observation) if observation else None
    record = Binding.FromString(binding) if binding else None
    moments = [seen.last_verified_at, seen.next_verification_at, seen.balances.as_of] if seen else []
    if record is not None:
        moments += [record.created_at, record.updated_at, record.credential.stored_at, record.credential.rotate_by]
    if not all(map(representable, moments)):
        raise ValueError("a time that cannot be told")
    return Known(
        revision=int(revision) if revision is not None else -1,
        stale=stale == b"1",
        observation=seen,
        started_ms=int(started or 0),
        binding=record,
        version=_version(version),
    )


def _version(value: bytes | None) -> str:
    return value.decode() if value and _VERSION.fullmatch(value) else ""
