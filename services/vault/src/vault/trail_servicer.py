"""Own the gRPC face of the tenant's trail: who may read it, and which fields of a line are shown."""

from collections.abc import Mapping
from typing import Any, Final

from common import ids
from common.clock import representable, rfc3339
from common.errors import InvalidArgument
from common.rpc.server import Callers, ServicerContext
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.vault.v1.trail_pb2 import ReadTrailRequest, ReadTrailResponse, TrailEntry
from strongroom.vault.v1.trail_pb2_grpc import TrailServicer

from vault.actor import Admission
from vault.history import History, Wanted

SCOPE: Final = "audit:read"
PAGE_LIMIT: Final = 100
CALLERS: Final[Callers] = {"/strongroom.vault.v1.Trail/ReadTrail": frozenset(["gateway"])}
TEXTS: Final = (
    *("action", "phase", "outcome", "service", "subject", "client", "method", "path", "rule"),
    *("request_digest", "request_id", "vault_request_id"),
)
# Facts that an action adds; what an operator wrote for operators is not among them.
DETAILS: Final = (
    *("status", "from_status", "revision", "kind", "credential_version", "clock_offset_ms"),
    *("freeze", "fields", "changed"),
)


class Trails(TrailServicer):
    """Each tenant's own lines."""

    def __init__(self, history: History, admission: Admission) -> None:
        self._history = history
        self._admission = admission

    async def ReadTrail(self, request: ReadTrailRequest, context: ServicerContext) -> ReadTrailResponse:
        """Read a page, the newest first."""
        actor, _ = await self._admission.admit(context, SCOPE)
        if not 1 <= request.limit <= PAGE_LIMIT:
            raise InvalidArgument("limit", f"The limit must be 1 to {PAGE_LIMIT}.", field="limit")
        binding = ids.binding_id(request.binding_id) if request.binding_id else ""
        wanted = Wanted(actor.tenant, binding, _moment(request, "since"), _moment(request, "until"))
        page = await self._history.page(wanted, request.cursor, request.limit)
        entries = [_entry(fields, digest) for fields, digest in page.lines]
        answer = ReadTrailResponse(entries=entries, next_cursor=page.cursor)
        if page.looked_back_to:
            answer.looked_back_to.CopyFrom(_time(page.looked_back_to))
        return answer


def _moment(request: ReadTrailRequest, name: str) -> str:
    """Return a time of the request as the trail writes it; empty when it is not there."""
    value: Timestamp = getattr(request, name)
    if not request.HasField(name):  # type: ignore[arg-type]
        return ""
    if not representable(value):
        raise InvalidArgument("time", "This is no time between 1970 and 9999.", field=name)
    return rfc3339(value)


def _entry(fields: Mapping[str, Any], digest: str) -> TrailEntry:
    texts = {name: str(fields[name]) for name in TEXTS if name in fields}
    details = {name: str(fields[name]) for name in DETAILS if name in fields}
    return TrailEntry(
        sequence=fields["sequence"],
        hash=digest,
        time=_time(fields["time"]),
        intent=fields.get("intent", 0),
        binding_id=fields["binding"],
        details=details,
        **texts,
    )


def _time(text: str) -> Timestamp:
    value = Timestamp()
    value.FromJsonString(text)
    return value
