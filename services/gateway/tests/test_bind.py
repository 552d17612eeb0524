"""POST /v1/bindings: what is stored, what is answered, and what a repeat means."""

import pytest
from common import errors
from strongroom.types.v1 import binding_pb2 as pb


def test_a_bind_is_answered_at_once_and_leads_to_the_binding(client, body, world, tenant):
    answer = client.post("/v1/bindings", json=body)
    assert answer.status_code == 202
    shown = answer.json()
    assert answer.headers["location"] == f"/v1/bindings/{shown['id']}"
    assert (shown["status"], shown["label"], shown["scopes"]) == ("pending", "Main", ["spot", "futures"])
    assert client.get(answer.headers["location"]).json()["id"] == shown["id"]
    assert (tenant, shown["id"], 0) in world.submitted


def test_the_vault_service_gets_the_credential_and_the_callers_own_token(client, body, world, tenant):
    identifier = client.post("/v1/bindings", json=body).json()["id"]
    stored = world.binds[tenant, identifier]
    assert stored.credential.secret_key == body["credential"]["secret_key"]
    assert stored.credential.passphrase == "Passphrase01"
    assert stored.credential.key_type == pb.KEY_TYPE_HMAC
    assert world.metadata[-1]["authorization"] == client.headers["authorization"]


def test_a_client_that_prefers_to_wait_gets_the_verdict(client, body):
    answer = client.post("/v1/bindings", json=body, headers={"Prefer": "respond-async, wait=5"})
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, "wait=5")
    assert answer.json()["status"] == "connected"
    assert answer.json()["balances"]["total_usdt"] == "1000.50"


def test_what_comes_with_the_verdict_is_not_asked_for_again(client, body, world, tenant):
    world.trouble[tenant]["get"] = errors.Unavailable()
    answer = client.post("/v1/bindings", json=body, headers={"Prefer": "wait=5"})
    assert (answer.status_code, answer.json()["balances"]["total_usdt"]) == (201, "1000.50")


def test_waiting_in_vain_is_answered_as_pending(client, body, world):
    world.verdict = False
    answer = client.post("/v1/bindings", json=body, headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")


@pytest.mark.parametrize(("asked", "granted"), [("wait=99", 30), ("wait=0", 0), ("wait=-1", 0), ("wait=x", 0), ("", 0)])
def test_the_wait_has_limits(client, body, world, tenant, asked, granted):
    answer = client.post("/v1/bindings", json=body, headers={"Prefer": asked})
    assert answer.headers.get("preference-applied") == (f"wait={granted}" if granted else None)
    assert (tenant, answer.json()["id"], granted) in world.submitted


def test_a_verifier_that_is_down_does_not_fail_a_bind(client, body, world, tenant):
    world.trouble[tenant] |= {"submit": errors.Unavailable(), "get": errors.Unavailable()}
    answer = client.post("/v1/bindings", json=body, headers={"Prefer": "wait=2"})
    assert (answer.status_code, answer.json()["balances"]) == (202, None)


def test_a_repeat_answers_the_same_binding(client, body):
    key = {"Idempotency-Key": "once"}
    first = client.post("/v1/bindings", json=body, headers=key)
    second = client.post("/v1/bindings", json=body, headers={**key, "Prefer": "wait=3"})
    third = client.post("/v1/bindings", json=body, headers=key)
    assert [one.status_code for one in (first, second, third)] == [202, 201, 201]
    assert len({one.json()["id"] for one in (first, second, third)}) == 1


def test_a_used_idempotency_key_with_another_body_is_refused(client, body):
    key = {"Idempotency-Key": "once"}
    client.post("/v1/bindings", json=body, headers=key)
    answer = client.post("/v1/bindings", json={**body, "label": "Other"}, headers=key)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_key_that_is_bound_already_names_the_binding(client, body):
    identifier = client.post("/v1/bindings", json=body).json()["id"]
    answer = client.post("/v1/bindings", json=body)
    assert (answer.status_code, answer.json()["code"]) == (409, "already_bound")
    assert answer.json()["binding_id"] == identifier


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "a\tb"])
def test_an_idempotency_key_must_be_visible_ascii(client, body, key):
    answer = client.post("/v1/bindings", json=body, headers={"Idempotency-Key": key})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Idempotency-Key")


def test_a_vault_service_that_is_down_is_told_with_a_time_to_come_back(client, body, world, tenant):
    world.trouble[tenant]["bind"] = errors.Unavailable("vault_sealed", "Sealed.", retry_after=7.2)
    answer = client.post("/v1/bindings", json=body)
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "unavailable", "8")


@pytest.mark.parametrize("where", ["ends", "inside"])
@pytest.mark.parametrize("blank", ["\u200b", "\ufeff", "\u2060", "\u00ad", "\u3164", "\ufe0f", "\x00"])
def test_invisible_characters_are_removed_wherever_they_are(client, body, world, tenant, blank, where):
    good = body["credential"]["passphrase"]
    body["credential"]["passphrase"] = blank + good + blank if where == "ends" else good[:4] + blank + good[4:]
    shown = client.post("/v1/bindings", json=body).json()
    stored = world.binds[tenant, shown["id"]]
    assert stored.credential.passphrase == good
    assert list(stored.whitespace_removed) == ["passphrase"]


@pytest.mark.parametrize("space", [" ", "\t", "\r\n", "\u00a0", "\u3000", " \u200b \u00a0"])
def test_white_space_around_a_value_is_removed_and_reported(client, body, world, tenant, space):
    credential = body["credential"]
    clean = dict(credential)
    credential |= {"api_key": space + credential["api_key"], "secret_key": credential["secret_key"] + space}
    shown = client.post("/v1/bindings", json=body).json()
    stored = world.binds[tenant, shown["id"]]
    assert (stored.credential.api_key, stored.credential.secret_key) == (clean["api_key"], clean["secret_key"])
    assert list(stored.whitespace_removed) == ["api_key", "secret_key"]
    finding = next(one for one in shown["findings"] if one["code"] == "whitespace_removed")
    assert "api_key, secret_key" in finding["detail"]


def test_nothing_is_reported_when_nothing_was_removed(client, body):
    assert client.post("/v1/bindings", json=body).json()["findings"] == []
