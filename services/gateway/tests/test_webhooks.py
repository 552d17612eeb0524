"""Webhooks over REST: made, listed, removed by the tenant's own token; refused addresses; what became of deliveries."""

import json
import time
from typing import Any

import httpx
import pytest
from common import errors
from common.clock import timestamp
from gateway import webhook_schemas as schemas
from gateway.delivery_state import Attempt, DeliveryState, Item
from redis.asyncio import Redis
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1.verification_service_pb2 import Event

from services.gateway.tests.test_destination import SPELLINGS

WEBHOOKS = "/v1/webhooks"
URL = "https://hooks.example.com/strongroom"
MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
NOW = timestamp(1_795_866_000)


@pytest.fixture
def webhook(client):
    return client.post(WEBHOOKS, json={"url": URL}).json()["webhook"]


def test_a_webhook_is_made_listed_and_removed_and_its_secret_is_shown_once(client):
    wanted = {"url": URL, "description": "ours", "statuses": ["disconnected", "limited"]}
    made = client.post(WEBHOOKS, json=wanted, headers={"Idempotency-Key": "first"})
    assert made.status_code == 201
    shown = made.json()
    assert schemas.WebhookSecret.model_validate(shown, strict=True).model_dump() == shown
    assert {name: shown["webhook"][name] for name in wanted} == wanted
    assert shown["secret"].startswith("whsec_")
    assert made.headers["location"] == f"{WEBHOOKS}/{shown['webhook']['id']}"
    again = client.post(WEBHOOKS, json=wanted, headers={"Idempotency-Key": "first"}).json()
    assert again == {"webhook": shown["webhook"], "secret": None}
    listed = client.get(WEBHOOKS)
    assert listed.json() == {"items": [shown["webhook"]]}
    assert shown["secret"] not in listed.text
    assert client.delete(made.headers["location"]).status_code == 204
    assert client.get(WEBHOOKS).json() == {"items": []}
    assert client.delete(made.headers["location"]).status_code == 404


def test_a_new_secret_is_shown_once(client, webhook):
    made = client.post(f"{WEBHOOKS}/{webhook['id']}/secret")
    assert (made.status_code, made.json()) == (201, {"webhook": webhook, "secret": "whsec_2"})
    assert client.post(f"{WEBHOOKS}/{'0' * 32}/secret").status_code == 404


@pytest.mark.parametrize("url", SPELLINGS)
def test_an_address_inside_is_refused_however_it_is_spelled(client, url):
    refused = client.post(WEBHOOKS, json={"url": url})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert refused.json()["errors"][0]["field"] == "url"
    assert url not in refused.text
    assert client.get(WEBHOOKS).json() == {"items": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": ""}, "url"),
        ({"url": f"{URL}/{'x' * 512}"}, "url"),
        ({"url": URL, "description": "two\nlines"}, "description"),
        ({"url": URL, "statuses": ["lost"]}, "statuses.0"),
        ({"url": URL, "statuses": ["limited", "limited"]}, "statuses"),
        ({"url": URL, "secret": "mine"}, ""),
    ],
    ids=str,
)
def test_a_wrong_webhook_is_refused_by_field(client, body, field):
    refused = client.post(WEBHOOKS, json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


def test_what_is_given_of_a_webhook_is_changed_and_the_rest_stays(client, webhook):
    one = f"{WEBHOOKS}/{webhook['id']}"
    assert client.patch(one, json={"paused": True}).json() == {**webhook, "paused": True}
    wanted = {"url": f"{URL}/other", "description": "theirs", "statuses": ["limited"], "paused": False}
    assert client.patch(one, json=wanted).json() == {**webhook, **wanted}
    assert client.patch(one, json={}).json() == {**webhook, **wanted}
    emptied = client.patch(one, json={"statuses": [], "description": ""}, headers=MERGE_PATCH)
    assert emptied.json() == {**webhook, "url": f"{URL}/other", "description": "", "statuses": []}
    assert client.get(WEBHOOKS).json() == {"items": [emptied.json()]}
    assert schemas.Webhook.model_validate(emptied.json(), strict=True).model_dump() == emptied.json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "https://127.0.0.1/"}, "url"),
        ({"url": ""}, "url"),
        ({"url": None}, "url"),
        ({"description": "two\nlines"}, "description"),
        ({"statuses": ["lost"]}, "statuses.0"),
        ({"paused": "yes"}, "paused"),
        ({"secret": "mine"}, ""),
    ],
    ids=str,
)
def test_a_wrong_change_is_refused_by_field_and_changes_nothing(client, webhook, body, field):
    refused = client.patch(f"{WEBHOOKS}/{webhook['id']}", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert client.get(WEBHOOKS).json() == {"items": [webhook]}


def test_reading_and_writing_need_their_scopes(served, issuer, tenant, webhook):
    one = f"{WEBHOOKS}/{webhook['id']}"
    writes = [("POST", WEBHOOKS), ("DELETE", one), ("POST", f"{one}/secret"), ("POST", f"{one}/dead-letters/replay")]
    writes += [("PATCH", one), ("POST", f"{one}/replay")]
    reads = [("GET", WEBHOOKS), ("GET", f"{one}/attempts"), ("GET", f"{one}/dead-letters")]
    for scope, closed in (("bindings:read", writes), ("bindings:write", reads)):
        headers = {"Authorization": f"Bearer {issuer.issue(tenant, [scope])}"}
        with httpx.Client(base_url=served.url, headers=headers) as limited:
            for method, path in closed:
                body = {"url": URL} if (method, path) == ("POST", WEBHOOKS) else {}
                refused = limited.request(method, path, json=body if method in ("POST", "PATCH") else None)
                assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), path


def test_a_foreign_webhook_answers_as_one_that_does_not_exist(served, issuer, webhook):
    stranger = {"Authorization": f"Bearer {issuer.issue('9' * 26, ['bindings:read', 'bindings:write'])}"}
    paths = ["", "", "/secret", "/attempts", "/dead-letters", "/dead-letters/replay", "/replay"]
    methods = ["DELETE", "PATCH", "POST", "GET", "GET", "POST", "POST"]
    with httpx.Client(base_url=served.url, headers=stranger) as other:
        for method, path in zip(methods, paths, strict=True):
            body = {} if path == "/replay" or method == "PATCH" else None
            answers = [
                other.request(method, f"{WEBHOOKS}/{name}{path}", json=body) for name in (webhook["id"], "0" * 32)
            ]
            assert [answer.status_code for answer in answers] == [404, 404]
            bodies = [{**answer.json(), "request_id": ""} for answer in answers]
            assert bodies[0] == bodies[1]


def test_the_log_and_the_dead_letters_are_shown_and_can_be_replayed(client, tenant, webhook, background, valkey):
    async def fill() -> Any:
        redis = Redis.from_url(valkey.address, password=valkey.password_file.read_text())
        state, item = DeliveryState(redis, tenant, webhook["id"]), Item("a" * 32, 1, "an-event", json.dumps({"a": "ü"}))
        await state.take_in("", "00000000-1-0", 1, [item])
        await state.note(Attempt(1_000, "an-event", item.binding, 1, 503, "status"))
        await state.note(Attempt(2_000, "reset-1", "reset", 2, 0, "timed_out"))
        await state.died(item, 3_000, "status_503")
        return redis, state, item

    redis, state, item = background.run(fill())
    one = f"{WEBHOOKS}/{webhook['id']}"
    log = client.get(f"{one}/attempts").json()
    assert schemas.WebhookAttempts.model_validate(log, strict=True).model_dump() == log
    assert [(entry["status"], entry["reason"], entry["binding_id"]) for entry in log["items"]] == [
        (None, "timed_out", None),
        (503, "status", "a" * 32),
    ]
    letters = client.get(f"{one}/dead-letters").json()
    assert schemas.WebhookDeadLetters.model_validate(letters, strict=True).model_dump() == letters
    assert [(letter["message_id"], letter["reason"]) for letter in letters["items"]] == [("an-event", "status_503")]
    assert client.post(f"{one}/dead-letters/replay").json() == {"replayed": 1}
    assert client.get(f"{one}/dead-letters").json() == {"items": []}
    [due] = background.run(state.due(round(time.time() * 1000) + 1))
    assert (due.id, due.body, due.tries) == ("an-event", item.body, 0)
    background.run(state.remove())
    background.run(redis.aclose())


def test_events_can_be_replayed_after_one_of_them_and_what_is_gone_is_said(client, tenant, webhook, background, valkey):
    one = f"{WEBHOOKS}/{webhook['id']}/replay"
    assert client.post(one, json={}).json() == {"replayed": 0}

    async def fill() -> list[str]:
        async with Redis.from_url(valkey.address, password=valkey.password_file.read_text()) as redis:
            await redis.set(f"sr:{{{tenant}}}:epoch", "0123abcd")
            ids = []
            for revision in range(3):
                event = Event(binding_id="a" * 32, status=pb.STATUS_CONNECTED, revision=revision, occurred_at=NOW)
                fields = {"epoch": "0123abcd", "event": event.SerializeToString()}
                ids.append(f"0123abcd-{(await redis.xadd(f'sr:{{{tenant}}}:events', fields)).decode()}")
            return ids

    ids = background.run(fill())
    assert client.post(one, json={}).json() == {"replayed": 3}
    assert client.post(one, json={"after": ids[0]}).json() == {"replayed": 2}
    assert client.post(one, json={"after": ids[2]}).json() == {"replayed": 0}
    for after in ("0123abcd-1-0", "ffffffff-1-0", f"0123abcd-{9 * 10**15}-0", "the last", "0123abcd-1"):
        refused = client.post(one, json={"after": after})
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "after")


def test_without_the_vault_service_it_is_unavailable(client, world, tenant):
    world.trouble[tenant]["webhook"] = errors.Unavailable()
    assert client.get(WEBHOOKS).status_code == 503
