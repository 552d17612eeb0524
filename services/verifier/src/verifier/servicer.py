"""Own the verifier's face: verdicts on request, what was last observed, and events.

The tenant is always that of the caller's token; every key is built from it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

from common import ids
from common.clock import Clock
from common.errors import Aborted, InvalidArgument, NotFound, PermissionDenied, StrongroomError, Unavailable
from common.events import EventHub, Reset
from common.rpc.server import ServicerContext, authorization
from common.tokens import Caller, TokenVerifier
from redis.exceptions import RedisError
from strongroom.types.v1.binding_pb2 import STATUS_PENDING, STATUS_REVOKED, Binding, Observation
from strongroom.verifier.v1 import verification_service_pb2 as messages
from strongroom.verifier.v1.verification_service_pb2_grpc import VerificationServiceServicer

from verifier.index import Incomplete, Index
from verifier.jobs import Job, Queue
from verifier.missed import Missed
from verifier.status import Known, Status
from verifier.vault_client import VaultClient

METHODS: Final = ("Submit", "Get", "List", "Page", "Watch")
SERVICE: Final = "/strongroom.verifier.v1.VerificationService/"
CALLERS: Final = {SERVICE + method: frozenset(("gateway", "client")) for method in METHODS}
READ: Final = "bindings:read"
WRITE: Final = "bindings:write"
LONGEST_WAIT_S: Final = 30
LIST_LIMIT: Final = 100
# Each wait holds a connection; beyond this many a Submit answers at once and the caller watches the events.
WAITERS: Final = 100


class VerificationServicer(VerificationServiceServicer):
    """Answer for the tenant of the caller's own token."""

    def __init__(
        self,
        *,
        tokens: TokenVerifier,
        vault: VaultClient,
        status: Status,
        index: Index,
        queue: Queue,
        events: EventHub,
        missed: Missed,
        clock: Clock,
    ) -> None:
        self._missed = missed
        self._tokens = tokens
        self._vault = vault
        self._status = status
        self._index = index
        self._queue = queue
        self._events = events
        self._clock = clock
        self._waiters = asyncio.Semaphore(WAITERS)

    async def Submit(self, request: messages.SubmitRequest, context: ServicerContext) -> messages.SubmitResponse:
        """Publish the record's present state, queue a verification, and wait for it and what it observed if asked."""
        token = authorization(context)
        caller = self._tokens.verify(token)
        if not caller.scopes & {READ, WRITE}:
            raise PermissionDenied("insufficient_scope", f"The access token lacks the scope {READ}.", scope=READ)
        binding_id = ids.binding_id(request.binding_id)
        if not 0 <= request.wait_seconds <= LONGEST_WAIT_S:
            raise InvalidArgument("wait_seconds", "Wait 0 to 30 seconds.", field="wait_seconds")
        binding = await self._vault.describe_for(token, binding_id)
        if binding.tenant_id != caller.tenant:
            raise NotFound()
        try:
            if request.only_publish:
                await self._status.recorded(binding)
                return messages.SubmitResponse()
            if not await self._submit(binding, request.wait_seconds):
                return messages.SubmitResponse()
            known = await self._status.read(binding.tenant_id, binding.id)  # describing it took the right to read
            return messages.SubmitResponse(verified=True, observation=known.observation)
        except (RedisError, OSError, Aborted):
            self._missed.note()
            raise _unavailable() from None

    async def Get(self, request: messages.GetRequest, context: ServicerContext) -> messages.GetResponse:
        """Return the last observation of one binding of the tenant, if there is one."""
        caller = self._reader(context)
        found = await self._observations(caller, [ids.binding_id(request.binding_id)])
        return messages.GetResponse(observation=found[0])

    async def List(self, request: messages.ListRequest, context: ServicerContext) -> messages.ListResponse:
        """Return the last observations of several bindings of the tenant, empty where there are none."""
        caller = self._reader(context)
        if len(request.binding_ids) > LIST_LIMIT:
            raise InvalidArgument("binding_ids", "Ask for at most 100 bindings.", field="binding_ids")
        found = await self._observations(caller, [ids.binding_id(item) for item in request.binding_ids])
        return messages.ListResponse(observations=[observation or Observation() for observation in found])

    async def Page(self, request: messages.PageRequest, context: ServicerContext) -> messages.PageResponse:
        """Return a page of the tenant's bindings by id; raise Unavailable while what is published may lack some."""
        caller = self._reader(context)
        if not 1 <= request.limit <= LIST_LIMIT:
            raise InvalidArgument("limit", "Ask for 1 to 100 bindings.", field="limit")
        after = ids.binding_id(request.after) if request.after else ""
        try:
            names, more = await self._index.page(caller.tenant, request.status, request.subject, after, request.limit)
            known = await self._status.read_many([(caller.tenant, name) for name in names])
            entries = [_entry(caller.tenant, name, item) for name, item in zip(names, known, strict=True)]
        except Incomplete:
            raise Unavailable("index_incomplete", "The list of bindings is being rebuilt.", retry_after=2) from None
        except (RedisError, OSError):
            raise _unavailable() from None
        return messages.PageResponse(entries=entries, next_after=more)

    async def Watch(
        self, request: messages.WatchRequest, context: ServicerContext
    ) -> AsyncIterator[messages.WatchResponse]:
        """Yield the tenant's events, of one binding or all, until the caller's token expires."""
        caller = self._reader(context)
        wanted = ids.binding_id(request.binding_id) if request.binding_id else ""
        items = self._events.subscribe(caller.tenant, request.after or None)
        async with aclosing(items):
            async for item in _before(items, caller.expires_at - self._clock.unix()):
                if isinstance(item, Reset):
                    yield messages.WatchResponse(reset=True)
                elif item.binding_id == wanted or not wanted:
                    yield messages.WatchResponse(event=item)

    async def _submit(self, binding: Binding, wait_seconds: int) -> bool:
        await self._status.recorded(binding)
        cause = "bind" if binding.verdict.status == STATUS_PENDING else "request"
        job = Job(binding.tenant_id, binding.id, cause)
        if binding.verdict.status == STATUS_REVOKED:
            await self._queue.cancel(job)
            return False
        entry = await self._queue.put(job)
        if not wait_seconds or self._waiters.locked():
            return False
        async with self._waiters:
            return await self._queue.wait(entry, wait_seconds)

    async def _observations(self, caller: Caller, wanted: list[str]) -> list[Observation | None]:
        try:
            known = await self._status.read_many([(caller.tenant, item) for item in wanted])
        except (RedisError, OSError):
            raise _unavailable() from None
        return [item.observation for item in known]

    def _reader(self, context: ServicerContext) -> Caller:
        caller = self._tokens.verify(authorization(context))
        caller.require(READ)
        return caller


def _entry(tenant: str, name: str, known: Known) -> messages.PageEntry:
    """Return one line of a page; raise Incomplete when what is published is not this binding."""
    if known.binding is None or (known.binding.tenant_id, known.binding.id) != (tenant, name):
        raise Incomplete
    return messages.PageEntry(binding=known.binding, observation=known.observation)


async def _before(
    items: AsyncIterator[messages.Event | Reset], seconds: float
) -> AsyncIterator[messages.Event | Reset]:
    """Yield what comes within `seconds`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        try:
            async with asyncio.timeout_at(end):
                item = await anext(items)
        except (TimeoutError, StopAsyncIteration):
            return
        yield item


def _unavailable() -> StrongroomError:
    return Unavailable("verification_unavailable", "Verification is not available at the moment.", retry_after=2)
