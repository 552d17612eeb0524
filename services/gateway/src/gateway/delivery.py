"""Own the delivery of events: each until it is answered 2xx, in order for each binding, for three days at most.

One process at a time serves an endpoint, by a lease that it holds before each attempt. A message goes out at least
once: whoever is cut off between an answer and its record sends it again, under the same id.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from common import context, logs, tracing
from common.clock import Clock
from common.errors import NotFound, StrongroomError
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import delivery_measures as measures
from gateway.delivery_client import DeliveryClient, Target
from gateway.delivery_source import Source, history_gone
from gateway.delivery_state import Attempt, DeliveryState, Item, kept_endpoints
from gateway.posting import Failed, Poster

PAUSES_S: Final = (5, 30, 120, 300, 900, 1800, 3600)  # before each next attempt, the last one again and again
GIVEN_UP_S: Final = 3 * 86_400
LEASE_MS: Final = 60_000  # longer than an attempt can take
NEW_MS: Final = 600_000  # an endpoint older than this that Redis does not know: what it knew is gone
AT_ONCE: Final = 4  # attempts at one endpoint
REFRESH_S: Final = 5.0
Jitter = Callable[[float, float], float]


class Deliveries:
    """Serve every endpoint of every tenant; `round` again and again, `close` at the end."""

    def __init__(
        self,
        redis: Redis,
        vault: DeliveryClient,
        poster: Poster,
        *,
        clock: Clock,
        jitter: Jitter,
        owner: str,
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._redis = redis
        self._vault = vault
        self._poster = poster
        self._source = Source(redis)
        self._clock = clock
        self._jitter = jitter
        self._owner = owner
        self._refresh_s = refresh_s
        self._targets: list[Target] = []
        self._looked: float | None = None
        self._serving: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def round(self) -> None:
        """Begin to serve every endpoint that is not being served or paused; raises StrongroomError, RedisError."""
        await self._look()
        for target in self._targets:
            name = (target.tenant, target.id)
            if name not in self._serving and not target.paused:
                self._serving[name] = asyncio.create_task(self._serve(target))
                self._serving[name].add_done_callback(lambda _, name=name: self._serving.pop(name))  # type: ignore[misc]

    async def settled(self) -> None:
        """Wait until what was begun has ended: nothing is due any more, or something does not answer."""
        while self._serving:
            await asyncio.wait(list(self._serving.values()))

    async def close(self) -> None:
        """End what is under way; what was not answered is sent again by the next process."""
        for task in self._serving.values():
            task.cancel()
        await self.settled()

    async def _look(self) -> None:
        """Learn which endpoints there are, and remove what is kept of those that are no more."""
        now = self._clock.monotonic()
        if self._looked is not None and now - self._looked < self._refresh_s:
            return
        found: list[Target] = []
        for tenant in await self._vault.subscribers():
            # Asked first: an endpoint that was made after this is in the list that follows.
            kept = await kept_endpoints(self._redis, tenant)
            try:
                targets = await self._vault.targets(tenant)
            except StrongroomError as error:
                if error.kind == "unavailable":  # and no tenant that is disabled, or gone
                    logs.get().warning("endpoints_not_known", tenant=tenant, reason=error.reason)
                    found += [one for one in self._targets if one.tenant == tenant]
                continue
            found += targets
            for gone in kept - {one.id for one in targets}:
                await DeliveryState(self._redis, tenant, gone).remove()
        self._targets, self._looked = found, now
        with suppress(RedisError):  # what cannot be measured is delivered all the same
            await measures.look(self._redis, found, self._now())

    async def _serve(self, target: Target) -> None:
        """Take in what is new and send what is due, until nothing is."""
        state = DeliveryState(self._redis, target.tenant, target.id)
        try:
            if not await state.lease(self._owner, LEASE_MS):
                return
            try:
                await self._take_in(target, state)
                while items := await state.due(self._now()):
                    await self._send(target, state, items)
            finally:
                await state.hold(self._owner, 0)
        except NotFound:
            self._looked = None
        except (StrongroomError, RedisError) as error:
            logs.get().warning("delivery_put_off", tenant=target.tenant, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001  one endpoint must not end the process; it is served again
            logs.get().error("delivery_broken", tenant=target.tenant, where=logs.places(error))

    async def _take_in(self, target: Target, state: DeliveryState) -> None:
        if not await state.known():
            lost = self._now() - target.created_ms > NEW_MS
            await state.take_in("", "", self._now(), [history_gone(self._now())] if lost else [])
        while True:
            cursor = await state.cursor()
            batch = await self._source.after(target, cursor, self._now())
            if batch.cursor == cursor or not await state.take_in(cursor, batch.cursor, self._now(), batch.items):
                return

    async def _send(self, target: Target, state: DeliveryState, items: list[Item]) -> None:
        """Send messages of different bindings, some at once; raise the first error that is none of the receiver's."""
        room = asyncio.Semaphore(AT_ONCE)

        async def one(item: Item) -> None:
            async with room:
                if not await state.hold(self._owner, LEASE_MS):
                    raise RedisError("the lease is another's")
                await self._attempt(target, state, item)

        ended = await asyncio.gather(*(one(item) for item in items), return_exceptions=True)
        for failure in ended:
            if isinstance(failure, BaseException):
                raise failure

    async def _attempt(self, target: Target, state: DeliveryState, item: Item) -> None:
        with tracing.serving(
            context.accept(None, None),
            "webhook deliver",
            "producer",
            tenant=target.tenant,
            binding=item.binding or None,
            attempt=item.tries + 1,
        ) as span:
            await self._send_once(target, state, item, span)

    async def _send_once(self, target: Target, state: DeliveryState, item: Item, span: tracing.Span) -> None:
        moment, body = int(self._clock.unix()), item.body.encode()
        signature = await self._vault.sign(target, item.id, moment, body)
        headers = {
            "content-type": "application/json",
            "webhook-id": item.id,
            "webhook-timestamp": str(moment),
            "webhook-signature": signature,
        }
        status, reason = 0, ""
        try:
            status = await self._poster.post(target.url, headers, body)
        except Failed as error:
            reason = error.reason
        taken = 200 <= status < 300
        reason = reason or ("" if taken else "status")
        span.set(status=status or None, reason=reason or None)
        await state.note(Attempt(moment * 1000, item.id, item.binding, item.tries + 1, status, reason))
        measures.ATTEMPTS.of("delivered" if taken else "failed").inc()
        if taken:
            await state.delivered(item, self._now())
        elif self._now() - item.queued_ms >= GIVEN_UP_S * 1000:
            logs.get().warning("delivery_given_up", tenant=target.tenant, binding=item.binding, attempts=item.tries + 1)
            measures.GIVEN_UP.inc()
            await state.died(item, self._now(), reason if reason != "status" else f"status_{status}")
        else:
            pause = PAUSES_S[min(item.tries, len(PAUSES_S) - 1)] * self._jitter(0.8, 1.2)
            await state.failed(item, self._now() + round(pause * 1000))

    def _now(self) -> int:
        return round(self._clock.unix() * 1000)
