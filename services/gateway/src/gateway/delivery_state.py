"""Own what is kept of deliveries in Redis: for each endpoint a cursor, a queue for each binding, dead letters, a log.

All of it is public state and can be lost: an endpoint then begins anew with the events that are still there. Whoever
delivers removes the keys of an endpoint that is no more.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from redis.asyncio import Redis

from gateway.delivery_scripts import END, LEASE, REPLAY, REWIND, TAKE_IN

LOG: Final = 100
LETTERS: Final = 1000
SOME: Final = 64  # due bindings that are looked at in one go


@dataclass(frozen=True, slots=True)
class Item:
    """One message of a binding's queue: since when it waits (Unix ms), its id, its body, how often it was tried."""

    binding: str
    queued_ms: int
    id: str
    body: str
    tries: int = 0

    @property
    def text(self) -> str:
        """What stands in the queue."""
        return f"{self.queued_ms}\n{self.id}\n{self.body}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt: when (Unix ms), which message, the status of the answer (0: none), and why it was not taken."""

    at_ms: int
    message_id: str
    binding_id: str
    attempt: int
    status: int
    reason: str


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that was given up, and why the last attempt failed."""

    message_id: str
    binding_id: str
    died_ms: int
    reason: str


class DeliveryState:
    """The deliveries of one endpoint. Every method raises RedisError when Redis cannot be asked."""

    def __init__(self, redis: Redis, tenant: str, endpoint: str) -> None:
        self._redis = redis
        self._endpoint = endpoint
        self._all = endpoints_key(tenant)
        self._prefix = f"sr:{{{tenant}}}:hook:{endpoint}:"

    def _key(self, name: str) -> str:
        return self._prefix + name

    async def cursor(self) -> str:
        """Return the event id up to which everything is in the queues; empty before the first."""
        found: Any = await self._redis.get(self._key("cursor"))
        return found.decode() if found else ""

    async def known(self) -> bool:
        """Tell whether anything was ever queued or looked for here, as far as Redis remembers."""
        found: Any = await self._redis.sismember(self._all, self._endpoint)
        return bool(found)

    async def take_in(self, expected: str, cursor: str, now_ms: int, items: Sequence[Item]) -> bool:
        """Queue what came after the cursor `expected`; False if another process did."""
        pairs = [part for item in items for part in (item.binding, item.text)]
        keys = (self._key("cursor"), self._key("due"), self._all)
        queues = self._key("queue:")
        return bool(await self._script(TAKE_IN, keys, expected, cursor, now_ms, queues, self._endpoint, *pairs))

    async def due(self, now_ms: int) -> list[Item]:
        """Return the first message of each binding that is due, those that wait longest first."""
        names: Any = await self._redis.zrangebyscore(self._key("due"), "-inf", now_ms, start=0, num=SOME)
        if not names:
            return []
        async with self._redis.pipeline(transaction=False) as batch:
            batch.hmget(self._key("tries"), names)
            for name in names:
                batch.lindex(self._key(f"queue:{name.decode()}"), 0)
            tries, *heads = await batch.execute()
        found = zip(names, heads, tries, strict=True)
        return [_item(name.decode(), head.decode(), int(count or 0)) for name, head, count in found if head]

    async def delivered(self, item: Item, now_ms: int) -> None:
        """Take a message out of its queue."""
        await self._end(item, now_ms, "")

    async def died(self, item: Item, now_ms: int, reason: str) -> None:
        """Take a message out of its queue and keep it as a dead letter."""
        letter = {"binding": item.binding, "message": f"{item.id}\n{item.body}", "at_ms": now_ms, "reason": reason}
        await self._end(item, now_ms, json.dumps(letter))

    async def failed(self, item: Item, due_ms: int) -> None:
        """Have a message tried again at `due_ms`."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.hset(self._key("tries"), item.binding, str(item.tries + 1))
            batch.zadd(self._key("due"), {item.binding: due_ms}, xx=True)
            batch.set(self._key("failing"), "1")
            await batch.execute()

    async def note(self, attempt: Attempt) -> None:
        """Keep an attempt in the log."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.lpush(self._key("log"), json.dumps(asdict(attempt)))
            batch.ltrim(self._key("log"), 0, LOG - 1)
            await batch.execute()

    async def attempts(self) -> list[Attempt]:
        """Return the last attempts, the newest first."""
        found: Any = await self._redis.lrange(self._key("log"), 0, -1)
        return [Attempt(**json.loads(one)) for one in found]

    async def letters(self) -> list[Letter]:
        """Return the dead letters, the oldest first."""
        found: Any = await self._redis.lrange(self._key("dead"), 0, -1)
        read = [json.loads(one) for one in found]
        return [Letter(one["message"].split("\n", 1)[0], one["binding"], one["at_ms"], one["reason"]) for one in read]

    async def replay(self, now_ms: int) -> int:
        """Queue every dead letter again, in front of what waits; return how many."""
        keys = (self._key("dead"), self._key("due"), self._key("tries"))
        return int(await self._script(REPLAY, keys, now_ms, self._key("queue:")))

    async def rewind(self, cursor: str) -> None:
        """Have everything after the event id `cursor` taken in again, in place of what waits of it."""
        keys = (self._key("cursor"), self._key("due"), self._key("tries"), self._all)
        await self._script(REWIND, keys, self._key("queue:"), self._endpoint, *cursor.split("-"))

    async def lease(self, owner: str, milliseconds: int) -> bool:
        """Be the one who delivers to this endpoint for a while; False while another is."""
        return bool(await self._redis.set(self._key("lease"), owner, nx=True, px=milliseconds))

    async def hold(self, owner: str, milliseconds: int) -> bool:
        """Hold a lease longer, or with 0 give it back; False if it is not ours any more."""
        return bool(await self._script(LEASE, (self._key("lease"),), owner, milliseconds))

    async def remove(self) -> None:
        """Remove every key of the endpoint."""
        bindings: Any = await self._redis.zrange(self._key("due"), 0, -1)
        names = ["cursor", "due", "tries", "failing", "dead", "log", "lease"]
        names += [f"queue:{one.decode()}" for one in bindings]
        async with self._redis.pipeline(transaction=True) as batch:
            batch.delete(*map(self._key, names))
            batch.srem(self._all, self._endpoint)
            await batch.execute()

    async def _end(self, item: Item, now_ms: int, letter: str) -> None:
        names = (f"queue:{item.binding}", "due", "tries", "failing", "dead")
        await self._script(END, [self._key(name) for name in names], item.text, item.binding, now_ms, letter, LETTERS)

    async def _script(self, script: str, keys: Sequence[str], *arguments: str | int) -> Any:
        return await self._redis.eval(script, len(keys), *keys, *arguments)


def endpoints_key(tenant: str) -> str:
    """Return the key of the set of the tenant's endpoints that have keys of their own."""
    return f"sr:{{{tenant}}}:hooks"


def keys_to_watch(tenant: str, endpoint: str) -> tuple[str, str]:
    """Return the keys of what is due, a sorted set by time (Unix ms) of bindings, and of the list of dead letters."""
    prefix = f"sr:{{{tenant}}}:hook:{endpoint}:"
    return prefix + "due", prefix + "dead"


async def kept_endpoints(redis: Redis, tenant: str) -> set[str]:
    """Return the endpoints of a tenant that have keys; raises RedisError."""
    members: Any = await redis.smembers(endpoints_key(tenant))
    return {one.decode() for one in members}


def _item(binding: str, text: str, tries: int) -> Item:
    queued, name, body = text.split("\n", 2)
    return Item(binding, int(queued), name, body, tries)
