"""Webhook endpoints are a tenant's own; a secret is shown once, and signs as the reference implementation checks."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from common.errors import IdempotencyMismatch, InvalidArgument, NotFound
from standardwebhooks.webhooks import Webhook
from strongroom.types.v1.binding_pb2 import STATUS_CONNECTED, STATUS_DISCONNECTED
from strongroom.vault.v1.webhooks_pb2 import CreateEndpointRequest, StatusFilter, UpdateEndpointRequest
from vault.actor import Actor
from vault.webhooks import MOST, OVERLAP_S, Webhooks

URL = "https://hooks.example.com/strongroom"


@pytest.fixture
def webhooks(parts: Any, clock: Any) -> Webhooks:
    return Webhooks(parts.documents, parts.audit, clock)


def wanted(key: str = "first", url: str = URL) -> CreateEndpointRequest:
    return CreateEndpointRequest(idempotency_key=key, url=url, description="ours", statuses=[STATUS_DISCONNECTED])


async def made(webhooks: Webhooks, actor: Actor, key: str = "first") -> tuple[Any, str]:
    endpoint, secret = await webhooks.create(actor, wanted(key))
    assert secret is not None
    return endpoint, secret.reveal()


async def test_an_endpoint_is_made_listed_and_removed_and_its_secret_is_told_once(
    webhooks: Webhooks, actor: Actor, parts: Any, told: Any
) -> None:
    endpoint, secret = await made(webhooks, actor)
    assert (endpoint.url, endpoint.description, list(endpoint.statuses)) == (URL, "ours", [STATUS_DISCONNECTED])
    assert secret.startswith("whsec_")
    assert await webhooks.endpoints(actor.tenant) == [endpoint]
    assert await webhooks.create(actor, wanted()) == (endpoint, None)
    await webhooks.remove(actor, endpoint.id)
    assert await webhooks.endpoints(actor.tenant) == []
    with pytest.raises(NotFound):
        await webhooks.remove(actor, endpoint.id)
    lines = told(parts.audit_file.parent)
    assert [line["action"] for line in lines if line["phase"] == "intent"] == ["webhook_create", "webhook_remove"]
    assert secret not in json.dumps(lines)
    assert URL not in json.dumps(lines)


async def test_a_removed_or_replaced_secret_is_in_no_version_of_the_document(
    webhooks: Webhooks, actor: Actor, server: Any, clock: Any
) -> None:
    first, _ = await made(webhooks, actor)
    await made(webhooks, actor, "second")
    await webhooks.rotate(actor, first.id)
    await webhooks.remove(actor, first.id)
    path = f"strongroom/metadata/webhooks/{actor.tenant}/endpoints"
    versions = server.admin.read(path)["data"]["versions"]
    assert [number for number, one in sorted(versions.items(), key=lambda item: int(item[0])) if one["destroyed"]] == [
        "1",
        "2",
        "3",
    ]
    kept = server.admin.read(f"strongroom/data/webhooks/{actor.tenant}/endpoints")["data"]["data"]
    assert first.id not in json.dumps(kept)


async def test_a_delivery_is_signed_as_the_reference_implementation_checks_it(
    webhooks: Webhooks, actor: Actor, clock: Any
) -> None:
    endpoint, secret = await made(webhooks, actor)
    moment, body = round(clock.unix()), b'{"type":"binding.status"}'
    signature = await webhooks.sign(actor.tenant, endpoint.id, "an-event", moment, body)
    headers = {"webhook-id": "an-event", "webhook-timestamp": str(moment), "webhook-signature": signature}
    assert Webhook(secret).verify(body, headers) == {"type": "binding.status"}
    with pytest.raises(Exception, match="No matching signature"):
        Webhook(secret).verify(body.replace(b"status", b"statue"), headers)


async def test_both_secrets_sign_for_a_day_after_a_rotation_and_then_the_new_one_alone(
    webhooks: Webhooks, actor: Actor, clock: Any
) -> None:
    endpoint, old = await made(webhooks, actor)
    _, secret = await webhooks.rotate(actor, endpoint.id)
    new, at = secret.reveal(), datetime(2026, 11, 28, tzinfo=UTC)
    asked = (actor.tenant, endpoint.id, "an-event", int(at.timestamp()), b"{}")
    by_new, by_old = (Webhook(one).sign("an-event", at, "{}") for one in (new, old))
    assert await webhooks.sign(*asked) == f"{by_new} {by_old}"
    clock.ahead = OVERLAP_S + 1
    assert await webhooks.sign(*asked) == by_new


async def test_what_is_given_of_an_endpoint_is_changed_and_the_rest_stays_its_secret_too(
    webhooks: Webhooks, actor: Actor, parts: Any, told: Any, clock: Any
) -> None:
    endpoint, secret = await made(webhooks, actor)
    other = f"{URL}/other"
    moved = await webhooks.update(actor, UpdateEndpointRequest(endpoint_id=endpoint.id, url=other, paused=True))
    assert (moved.url, moved.paused) == (other, True)
    with pytest.raises(NotFound):
        await webhooks.sign(actor.tenant, endpoint.id, "an-event", round(clock.unix()), b"{}")
    moved.url, moved.paused = endpoint.url, False
    assert moved == endpoint
    everything = UpdateEndpointRequest(endpoint_id=endpoint.id, description="", statuses=StatusFilter(), paused=False)
    changed = await webhooks.update(actor, everything)
    assert (changed.url, changed.description, list(changed.statuses), changed.paused) == (other, "", [], False)
    assert await webhooks.update(actor, UpdateEndpointRequest(endpoint_id=endpoint.id)) == changed
    assert await webhooks.endpoints(actor.tenant) == [changed]
    signature = await webhooks.sign(actor.tenant, endpoint.id, "an-event", round(clock.unix()), b"{}")
    assert signature == Webhook(secret).sign("an-event", datetime.fromtimestamp(round(clock.unix()), UTC), "{}")
    lines = [line for line in told(parts.audit_file.parent) if line["action"] == "webhook_change"]
    assert [line["changes"] for line in lines if line["phase"] == "intent"] == [
        "url paused",
        "description statuses paused",
    ]
    assert other not in json.dumps(lines)


async def test_an_endpoint_of_another_tenant_is_as_one_that_does_not_exist(
    webhooks: Webhooks, actor: Actor, server: Any
) -> None:
    endpoint, _ = await made(webhooks, actor)
    stranger = Actor(server.tenant(), "gateway", "somebody", "a-client")
    for name in (endpoint.id, "0" * 32, "../x"):
        with pytest.raises(NotFound):
            await webhooks.remove(stranger, name)
        with pytest.raises(NotFound):
            await webhooks.rotate(stranger, name)
        with pytest.raises(NotFound):
            await webhooks.update(stranger, UpdateEndpointRequest(endpoint_id=name, paused=True))
        with pytest.raises(NotFound):
            await webhooks.sign(stranger.tenant, name, "an-event", 1, b"{}")
    assert await webhooks.endpoints(stranger.tenant) == []
    assert await webhooks.endpoints(actor.tenant) == [endpoint]


async def test_ten_endpoints_are_the_most_and_a_key_names_one_wish(webhooks: Webhooks, actor: Actor) -> None:
    for number in range(MOST):
        await made(webhooks, actor, f"key-{number}")
    with pytest.raises(InvalidArgument, match="too_many"):
        await webhooks.create(actor, wanted("one-more"))
    with pytest.raises(IdempotencyMismatch):
        await webhooks.create(actor, wanted("key-0", f"{URL}/other"))


@pytest.mark.parametrize("change", [{"url": ""}, {"url": "x" * 513}, {"description": "a\nb"}, {"statuses": [99]}])
async def test_what_no_endpoint_can_be_is_refused(webhooks: Webhooks, actor: Actor, change: dict[str, Any]) -> None:
    fields = {"idempotency_key": "k", "url": URL, "description": "", "statuses": [STATUS_CONNECTED], **change}
    with pytest.raises(InvalidArgument):
        await webhooks.create(actor, CreateEndpointRequest(**fields))
    endpoint, _ = await made(webhooks, actor)
    given = {**change, **({"statuses": StatusFilter(statuses=change["statuses"])} if "statuses" in change else {})}
    with pytest.raises(InvalidArgument):
        await webhooks.update(actor, UpdateEndpointRequest(endpoint_id=endpoint.id, **given))
    assert await webhooks.endpoints(actor.tenant) == [endpoint]


async def test_the_names_of_subscribers_are_told_and_nothing_else(webhooks: Webhooks, actor: Actor, parts: Any) -> None:
    assert actor.tenant not in await parts.directory.subscribers()
    await made(webhooks, actor)
    assert actor.tenant in await parts.directory.subscribers()
