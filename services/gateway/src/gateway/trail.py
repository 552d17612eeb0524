"""Own the gateway's way to the tenant's trail, and which part of it is asked for."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

import grpc
from common.clock import rfc3339, timestamp
from common.rpc.client import call
from fastapi import Query
from pydantic import AwareDatetime
from strongroom.vault.v1 import trail_pb2 as messages
from strongroom.vault.v1.trail_pb2_grpc import TrailStub

from gateway.resource import Json

CALL_S: Final = 10.0
TEXTS: Final = (
    *("outcome", "binding_id", "subject", "client", "method", "path", "rule"),
    *("request_digest", "request_id", "vault_request_id"),
)


@dataclass(frozen=True)
class Part:
    """A part of the trail, by query parameters."""

    binding: Annotated[str, Query(max_length=64, description="Only lines of this binding.")] = ""
    since: Annotated[AwareDatetime | None, Query(alias="from", description="From this time on.")] = None
    until: Annotated[AwareDatetime | None, Query(alias="to", description="Before this time.")] = None
    cursor: Annotated[str, Query(max_length=128, description="The last page's `next_cursor`.")] = ""
    limit: Annotated[int, Query(ge=1, le=100)] = 50

    def message(self) -> messages.ReadTrailRequest:
        """Return what the vault service is asked."""
        wanted: dict[str, Any] = {"binding_id": self.binding, "cursor": self.cursor, "limit": self.limit}
        times = {"since": self.since, "until": self.until}
        wanted |= {name: timestamp(value.timestamp()) for name, value in times.items() if value}
        return messages.ReadTrailRequest(**wanted)


class Trail:
    """Read the trail with the caller's own token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = TrailStub(channel)

    async def page(self, authorization: str, part: Part) -> Json:
        """Return one page in the shape of the schema."""
        answer = await call(self._stub.ReadTrail, part.message(), timeout_s=CALL_S, authorization=authorization)
        back = rfc3339(answer.looked_back_to) if answer.HasField("looked_back_to") else None
        items = [_shown(one) for one in answer.entries]
        return {"items": items, "next_cursor": answer.next_cursor or None, "looked_back_to": back}


def _shown(entry: messages.TrailEntry) -> Json:
    texts = {name: getattr(entry, name) or None for name in TEXTS}
    facts = {"action": entry.action, "phase": entry.phase, "service": entry.service, "details": dict(entry.details)}
    place = {
        "sequence": entry.sequence,
        "hash": entry.hash,
        "time": rfc3339(entry.time),
        "intent": entry.intent or None,
    }
    return {**place, **facts, **texts}
