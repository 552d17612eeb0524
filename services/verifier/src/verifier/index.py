"""Own a tenant's list of bindings in Redis: pages by id, of all or of one status or subject, and whether it is whole.

It is written with the projections, in one step (status_scripts). A list that may lack something is not shown.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import ResponseError
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, STATUS_UNSPECIFIED, Binding, Status

from verifier import status_scripts

# How many ids of one subject are looked at for one page of a status; a page may then be short, and has a next one.
SCANNED: Final = 1000
TTL_S: Final = 90 * 86_400
# Stands among the ids of all, before them, while they are whole: what is lost with them cannot say that they are there.
WHOLE: Final = ""


class Incomplete(Exception):
    """The list may lack some bindings: only the vault service can tell."""


def projection_key(tenant: str, binding: str) -> str:
    """Return the key of a binding's projection, in its tenant's cluster slot."""
    return f"sr:{{{tenant}}}:obs:{binding}"


def index_key(tenant: str, label: str | None = None) -> str:
    """Return the key of the ids of all the tenant's bindings, or of those with a label."""
    return f"sr:{{{tenant}}}:ids" if label is None else f"sr:{{{tenant}}}:ids:{label}"


def labels(binding: Binding) -> tuple[str, str]:
    """Return the labels of the two lists that a binding stands in; the second is empty without a subject."""
    return _status(binding.verdict.status), _subject(binding.subject)


def _status(status: int) -> str:
    return f"status:{status}"


def _subject(subject: str) -> str:
    return f"subject:{hashlib.sha256(subject.encode()).hexdigest()[:32]}" if subject else ""


class Index:
    """Read a tenant's list, and say that it is whole."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._make = redis.register_script(status_scripts.WHOLE)

    async def page(
        self, tenant: str, status: Status.ValueType, subject: str, after: str, limit: int
    ) -> tuple[list[str], str]:
        """Return up to `limit` ids that come after `after`, and the `after` of the next page; raise Incomplete."""
        both = status != STATUS_UNSPECIFIED and bool(subject)
        label = _subject(subject) if subject else _status(status) if status else None
        members = await self._members(tenant, label, after, SCANNED if both else limit + 1)
        names = [_id(member) for member in members]
        found = await self._with(tenant, status, names) if both and names else names
        if len(found) > limit:
            return found[:limit], found[limit - 1]
        return found, names[-1] if both and len(names) == SCANNED else ""

    async def _members(self, tenant: str, label: str | None, after: str, count: int) -> list[bytes]:
        async with self._redis.pipeline(transaction=False) as batch:
            batch.zscore(index_key(tenant), WHOLE)
            batch.zrange(index_key(tenant, label), f"({after}", "+", bylex=True, offset=0, num=count)
            whole, members = await batch.execute(raise_on_error=False)
        for answer in (whole, members):
            if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                raise answer
        if not isinstance(whole, float) or not isinstance(members, list):
            raise Incomplete
        return members

    async def _with(self, tenant: str, status: int, names: Sequence[str]) -> list[str]:
        placed = await self._scores(index_key(tenant, _status(status)), names)
        return [name for name, score in zip(names, placed, strict=True) if score is not None]

    async def known(self, tenant: str, names: Sequence[str]) -> tuple[list[bool], list[bool]]:
        """Tell of each id whether it is listed, and whether as revoked."""
        listed = await self._scores(index_key(tenant), names)
        revoked = await self._scores(index_key(tenant, _status(STATUS_REVOKED)), names)
        return [score is not None for score in listed], [score is not None for score in revoked]

    async def between(self, tenant: str, after: str, last: str) -> list[str]:
        """Return the listed ids after `after`, up to and with `last`; an empty text is the beginning, or the end."""
        high = f"[{last}" if last else "+"
        try:
            members: Any = await self._redis.zrange(index_key(tenant), f"({after}", high, bylex=True)
        except ResponseError:
            return []
        return [member.decode("ascii", "replace") for member in members]

    async def is_whole(self, tenant: str) -> bool:
        """Tell whether the tenant's list lacks nothing."""
        return (await self._scores(index_key(tenant), [WHOLE]))[0] is not None

    async def whole(self, tenant: str) -> None:
        """Say that the tenant's list is whole; one without a member is."""
        await self._make(keys=[index_key(tenant)], args=[WHOLE, TTL_S])

    async def _scores(self, key: str, names: Sequence[str]) -> list[Any]:
        """Return the scores of members, None for each that is missing and for all in a key of another type."""
        try:
            return list(await self._redis.zmscore(key, list(names))) if names else []
        except ResponseError:
            return [None] * len(names)


def _id(member: bytes) -> str:
    try:
        return member.decode("ascii")
    except UnicodeDecodeError:
        raise Incomplete from None
