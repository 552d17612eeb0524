"""Own the reading of a tenant's events for one endpoint: in batches after a cursor, and told where history is gone."""

import json
import secrets
from dataclasses import dataclass
from typing import Any, Final

from common.clock import rfc3339, timestamp
from common.errors import NotFound
from common.events import epoch_key, event_of, parse_id, stream_key
from redis.asyncio import Redis
from strongroom.verifier.v1.verification_service_pb2 import Event

from gateway import event
from gateway.delivery_client import Target
from gateway.delivery_state import Item
from gateway.resource import Json

BATCH: Final = 200
RESET: Final = "reset"  # the queue of what concerns no binding alone


@dataclass(frozen=True, slots=True)
class Batch:
    """What came after a cursor: the messages, and the cursor after them (the same one: nothing came)."""

    cursor: str
    items: list[Item]


class Source:
    """The tenants' event streams, as the verifier writes them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def after(self, target: Target, cursor: str, now_ms: int) -> Batch:
        """Return the next batch for an endpoint; raises RedisError.

        Without a cursor it begins where the endpoint was made. Where events are gone that were not read yet, the batch
        is one message that says so, and what is left comes after it.
        """
        epoch, last = parse_id(cursor) if cursor else ("", f"{target.created_ms}-0")
        present, entries, first = await self._read(target.tenant, last)
        if not present:
            return Batch(cursor, [])
        if cursor and (epoch != present or _gone(last, first)):
            return Batch(f"{present}-0-0", [history_gone(now_ms)])
        if not entries:
            return Batch(cursor, [])
        events = [found for entry in entries if (found := event_of(*entry)) is not None]
        wanted = [one for one in events if not target.statuses or one.status in target.statuses]
        items = [_item(one.binding_id, one.id, now_ms, _status(one)) for one in wanted]
        return Batch(f"{present}-{entries[-1][0].decode()}", items)

    async def since(self, target: Target, after: str, now_ms: int) -> tuple[str, int]:
        """Return (the cursor to deliver from again, how many messages come after it); raises RedisError.

        Without `after` that is everything there is; without any event the cursor is empty. Raises NotFound for an id
        that is none of the stream's, or whose events are gone.
        """
        present, entries, first = await self._read(target.tenant, "0-0")
        if not present or not entries:
            if after:
                raise NotFound()
            return "", 0
        epoch, last = parse_id(after) if after else (present, "0-0")
        newest: Any = await self._redis.xrevrange(stream_key(target.tenant), count=1)
        known = _order(first) <= _order(last) <= _order(newest[0][0].decode()) if newest else False
        if epoch != present or (after and not known):
            raise NotFound()
        cursor = start = f"{epoch}-{last}"
        count = 0
        while (batch := await self.after(target, cursor, now_ms)).cursor != cursor:
            cursor, count = batch.cursor, count + len(batch.items)
        return start, count

    async def _read(self, tenant: str, last: str) -> tuple[str, list[Any], str]:
        """Return (the epoch, the entries after `last`, the id of the first entry that is left)."""
        async with self._redis.pipeline(transaction=True) as batch:
            batch.get(epoch_key(tenant))
            batch.xrange(stream_key(tenant), min=f"({last}", count=BATCH)
            batch.xrange(stream_key(tenant), count=1)
            epoch, entries, first = await batch.execute()
        return epoch.decode() if epoch else "", entries, first[0][0].decode() if first else ""


def _gone(last: str, first: str) -> bool:
    """Tell whether entries between the last one read and the first one left may be missing."""
    return last != "0-0" and bool(first) and _order(last) < _order(first)


def _order(stream_id: str) -> tuple[int, int]:
    milliseconds, _, sequence = stream_id.partition("-")
    return int(milliseconds), int(sequence)


def _item(queue: str, message: str, now_ms: int, body: Json) -> Item:
    return Item(queue, now_ms, message, json.dumps(body, separators=(",", ":")))


def _status(sent: Event) -> Json:
    data = event.data(sent)
    return {"type": data["type"], "timestamp": data["occurred_at"], "data": data}


def history_gone(now_ms: int) -> Item:
    """Return the message that tells a receiver to read the state again."""
    body = {"type": "events.reset", "timestamp": rfc3339(timestamp(now_ms / 1000)), "data": {"reason": "history_gone"}}
    return _item(RESET, f"reset-{secrets.token_hex(16)}", now_ms, body)
