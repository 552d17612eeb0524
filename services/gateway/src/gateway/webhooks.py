"""Own the gateway's way to a tenant's webhooks: endpoints at the vault service, what became of deliveries in Redis.

A signing secret is handed on once, into the answer to whoever had it made, and kept nowhere.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
from common import logs
from common.clock import Clock, rfc3339, timestamp
from common.errors import NotFound, Unavailable
from common.rpc.client import call
from redis.asyncio import Redis
from redis.exceptions import RedisError
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.vault.v1 import webhooks_pb2 as messages
from strongroom.vault.v1.webhooks_pb2_grpc import WebhooksStub

from gateway import destination
from gateway.delivery_client import Target
from gateway.delivery_source import RESET, Source
from gateway.delivery_state import DeliveryState
from gateway.problems import FieldFault, Problem
from gateway.resource import Json, number, word
from gateway.webhook_schemas import WebhookChange, WebhookRequest

T = TypeVar("T")
CALL_S: Final = 10.0
_REFUSED: Final = {
    "malformed": "This must be https:// and a host name in lower case that DNS can answer for, without a user, an "
    "address in digits or a fragment.",
    "not_public": "This host name is never public.",
    "port": "Only the ports 443 and 8443 are called.",
}
_GONE: Final = FieldFault(
    field="after",
    code="gone",
    message="Events after this one are not kept any more, or it is none of this tenant's: leave `after` out for what "
    "is left, and read the bindings again.",
)


class Webhooks:
    """Endpoints and their deliveries; every method raises our error family and answers plain JSON values."""

    def __init__(self, channel: grpc.aio.Channel, redis: Redis, clock: Clock, *, loopback: bool) -> None:
        self._stub = WebhooksStub(channel)
        self._redis = redis
        self._clock = clock
        self._loopback = loopback

    async def create(self, authorization: str, idempotency_key: str, wanted: WebhookRequest) -> Json:
        """Add an endpoint; raise Problem for an address that may not be called."""
        self._check(wanted.url)
        request = messages.CreateEndpointRequest(
            idempotency_key=idempotency_key,
            url=wanted.url,
            description=wanted.description,
            statuses=[number(pb.Status, one) for one in wanted.statuses],
        )
        answer = await call(self._stub.CreateEndpoint, request, timeout_s=CALL_S, authorization=authorization)
        return {"webhook": _shown(answer.endpoint), "secret": answer.secret or None}

    async def every(self, authorization: str) -> Json:
        """Return every endpoint."""
        return {"items": [_shown(one) for one in await self._endpoints(authorization)]}

    async def update(self, authorization: str, name: str, wanted: WebhookChange) -> Json:
        """Change what is given of an endpoint; raise Problem for an address that may not be called."""
        given = wanted.model_fields_set
        request = messages.UpdateEndpointRequest(endpoint_id=name)
        if "url" in given:
            self._check(wanted.url)
            request.url = wanted.url
        if "description" in given:
            request.description = wanted.description
        if "statuses" in given:
            statuses = [number(pb.Status, one) for one in wanted.statuses]
            request.statuses.CopyFrom(messages.StatusFilter(statuses=statuses))
        if "paused" in given:
            request.paused = wanted.paused
        answer = await call(self._stub.UpdateEndpoint, request, timeout_s=CALL_S, authorization=authorization)
        return _shown(answer.endpoint)

    async def remove(self, authorization: str, name: str) -> None:
        """Remove an endpoint; nothing is delivered to it any more once its last attempt has ended."""
        request = messages.RemoveEndpointRequest(endpoint_id=name)
        await call(self._stub.RemoveEndpoint, request, timeout_s=CALL_S, authorization=authorization)

    async def rotate(self, authorization: str, name: str) -> Json:
        """Make a new secret; the ones before sign too for a day."""
        request = messages.RotateSecretRequest(endpoint_id=name)
        answer = await call(self._stub.RotateSecret, request, timeout_s=CALL_S, authorization=authorization)
        return {"webhook": _shown(answer.endpoint), "secret": answer.secret}

    async def attempts(self, authorization: str, tenant: str, name: str) -> Json:
        """Return the last attempts."""
        found = await self._asked(authorization, tenant, name, lambda state, _: state.attempts())
        return {
            "items": [
                {
                    "at": _time(one.at_ms),
                    "message_id": one.message_id,
                    "binding_id": _binding(one.binding_id),
                    "attempt": one.attempt,
                    "status": one.status or None,
                    "delivered": not one.reason,
                    "reason": one.reason or None,
                }
                for one in found
            ]
        }

    async def letters(self, authorization: str, tenant: str, name: str) -> Json:
        """Return the dead letters."""
        found = await self._asked(authorization, tenant, name, lambda state, _: state.letters())
        return {
            "items": [
                {
                    "message_id": one.message_id,
                    "binding_id": _binding(one.binding_id),
                    "given_up_at": _time(one.died_ms),
                    "reason": one.reason,
                }
                for one in found
            ]
        }

    async def replay(self, authorization: str, tenant: str, name: str) -> Json:
        """Have every dead letter delivered again, for three days more, before what waits."""
        now = self._now()
        return {"replayed": await self._asked(authorization, tenant, name, lambda state, _: state.replay(now))}

    async def rewind(self, authorization: str, tenant: str, name: str, after: str) -> Json:
        """Have every event after the id `after` delivered again; raise Problem when those are gone."""

        async def back(state: DeliveryState, endpoint: messages.Endpoint) -> int:
            target = Target(tenant, name, endpoint.url, frozenset(endpoint.statuses), 0)
            try:
                cursor, count = await Source(self._redis).since(target, after, self._now())
            except NotFound:
                raise Problem("invalid_request", errors=[_GONE]) from None
            if cursor:
                await state.rewind(cursor)
            return count

        return {"replayed": await self._asked(authorization, tenant, name, back)}

    def _check(self, url: str) -> None:
        try:
            destination.parse(url, loopback=self._loopback)
        except destination.Refused as error:
            fault = FieldFault(field="url", code=error.reason, message=_REFUSED[error.reason])
            raise Problem("invalid_request", errors=[fault]) from None

    def _now(self) -> int:
        return round(self._clock.unix() * 1000)

    async def _asked(
        self,
        authorization: str,
        tenant: str,
        name: str,
        ask: Callable[[DeliveryState, messages.Endpoint], Awaitable[T]],
    ) -> T:
        """Ask Redis about an endpoint that is the tenant's; raise NotFound for any other, Unavailable."""
        found = [one for one in await self._endpoints(authorization) if one.id == name]
        if not found:
            raise NotFound()
        try:
            return await ask(DeliveryState(self._redis, tenant, name), found[0])
        except RedisError as error:
            logs.get().warning("redis_unavailable", error=type(error).__name__)
            raise Unavailable("events_unavailable", "Deliveries cannot be looked up now.", retry_after=2) from None

    async def _endpoints(self, authorization: str) -> Any:
        request = messages.ListEndpointsRequest()
        answer = await call(self._stub.ListEndpoints, request, timeout_s=CALL_S, authorization=authorization)
        return answer.endpoints


def _shown(one: messages.Endpoint) -> Json:
    return {
        "id": one.id,
        "url": one.url,
        "description": one.description,
        "statuses": [word(pb.Status, status) for status in one.statuses],
        "paused": one.paused,
        "created_at": rfc3339(one.created_at),
        "secret_made_at": rfc3339(one.secret_made_at),
    }


def _binding(queue: str) -> str | None:
    return None if queue == RESET else queue


def _time(milliseconds: int) -> str:
    return rfc3339(timestamp(milliseconds / 1000))
