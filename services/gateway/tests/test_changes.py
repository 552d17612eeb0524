"""A replaced credential and a changed binding, as the REST edge tells of them."""

import secrets
from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as pb

SECRET = "5f4dcc3b5aa765d61d8327deb882cf99aabbccddeeff00112233445566778899"


def credential(**changed: Any) -> dict[str, Any]:
    """Return a body that replaces a credential."""
    api_key = f"bg_{secrets.token_hex(16)}"
    return {"credential": {"api_key": api_key, "secret_key": SECRET, "passphrase": "Passphrase01", **changed}}


def rotate(client: Any, name: str, body: Any, key: str = "", wait: int = 0) -> Any:
    headers = {"Idempotency-Key": key or secrets.token_hex(8), **({"Prefer": f"wait={wait}"} if wait else {})}
    return client.post(f"/v1/bindings/{name}/credential", json=body, headers=headers)


def test_a_replacement_is_answered_at_once_and_the_old_credential_is_still_shown(client, world, tenant):
    record = world.put(tenant)
    answer = rotate(client, record.id, credential())
    assert answer.status_code == 202
    told = answer.json()
    assert (told["status"], told["credential"]["version"]) == ("connected", 1)
    assert told["rotation"] == {
        "state": "verifying",
        "version": 2,
        "key_type": "hmac",
        "api_key_hint": "bg_2…9f0a",
        "started_at": "2026-11-18T11:06:40.000Z",
        "reason": None,
        "findings": [],
    }
    assert (tenant, record.id, 0) in world.submitted
    noted = pb.Observation(notes=[pb.Finding(code="invalid_api_key", remedy="Wait.")])
    world.observations[record.id] = pb.Observation(rotation=noted)
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert [finding["code"] for finding in shown["rotation"]["findings"]] == ["invalid_api_key"]
    assert shown["findings"] == []


def test_a_replacement_that_is_waited_for_is_in_use_in_the_answer(client, world, tenant):
    record, body = world.put(tenant), credential()
    answer = rotate(client, record.id, body, "one", wait=5)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (200, "wait=5")
    assert (answer.json()["credential"]["version"], answer.json()["rotation"]) == (2, None)
    assert answer.headers["ETag"] == f'"{record.revision}"'
    again = rotate(client, record.id, body, "one")
    assert (again.status_code, again.json()) == (200, answer.json())
    assert world.staged[tenant].credential.secret_key == SECRET


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [("account_mismatch", 409, "account_mismatch"), ("invalid_secret", 422, "credential_rejected")],
)
def test_a_replacement_that_is_refused_says_why_and_what_to_do(client, world, tenant, reason, status, code):
    record, body = world.put(tenant), credential()
    world.refusal = reason
    try:
        first = rotate(client, record.id, body, "one", wait=5)
        again = rotate(client, record.id, body, "one")
    finally:
        world.refusal = ""
    for answer in (first, again):
        told = answer.json()
        assert (answer.status_code, told["code"], told["reason"]) == (status, code, reason)
        assert [(finding["code"], finding["remedy"]) for finding in told["findings"]] == [(reason, "Do this.")]
        assert SECRET not in answer.text
        assert body["credential"]["api_key"] not in answer.text
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert (shown["credential"]["version"], shown["rotation"]["state"], shown["rotation"]["reason"]) == (
        1,
        "failed",
        reason,
    )
    record.rotation.CopyFrom(pb.Rotation(state=pb.ROTATION_STATE_FENCING))
    record.credential.version = 3
    assert client.get(f"/v1/bindings/{record.id}").json()["rotation"]["state"] == "fencing"


def test_a_replacement_whose_predecessor_is_not_destroyed_yet_is_not_done(client, world, tenant):
    record = world.put(tenant)
    answer = rotate(client, record.id, credential(), "one", wait=5)
    assert answer.status_code == 200
    record.rotation.CopyFrom(pb.Rotation(state=pb.ROTATION_STATE_FENCING, credential=record.credential))
    assert rotate(client, record.id, credential(), "one").status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"credential": {}},
        credential(secret_key="short-canary"),
        credential(unknown="canary-value"),
        {**credential(), "label": "canary"},
        credential(key_type="canary"),
    ],
)
def test_a_malformed_replacement_is_refused_without_an_echo(client, world, tenant, body):
    record = world.put(tenant)
    answer = rotate(client, record.id, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert "canary" not in answer.text
    assert tenant not in world.staged


def test_a_replacement_of_a_revoked_or_foreign_binding_is_refused(client, world, tenant):
    record = world.put(tenant, verdict=pb.Verdict(status=pb.STATUS_REVOKED))
    assert rotate(client, record.id, credential()).json()["code"] == "binding_revoked"
    names = (world.put("f" * 26).id, "0" * 32, "malformed")
    answers = [rotate(client, name, credential()) for name in names]
    answers += [patch(client, name, {"label": "x"}) for name in names]
    assert {(answer.status_code, answer.json()["detail"]) for answer in answers} == {
        (404, "There is nothing here, or it is not yours.")
    }


def patch(client: Any, name: str, body: Any, **headers: str) -> Any:
    return client.patch(f"/v1/bindings/{name}", json=body, headers=headers)


def test_what_is_given_is_changed_and_the_rest_stays(client, world, tenant):
    record = world.put(tenant, label="Old", subject="customer-1")
    answer = patch(client, record.id, {"label": "New"})
    assert answer.status_code == 200
    assert [answer.json()[name] for name in ("label", "subject", "scopes")] == ["New", "customer-1", ["spot"]]
    assert record.id in world.published
    assert not [one for one in world.submitted if one[1] == record.id and one[2]]
    assert patch(client, record.id, {"subject": None}).json()["subject"] == ""
    merge = {"Content-Type": "application/merge-patch+json"}
    assert client.patch(f"/v1/bindings/{record.id}", content=b'{"label": "M"}', headers=merge).json()["label"] == "M"


def test_other_scopes_are_verified_anew(client, world, tenant):
    record = world.put(tenant)
    answer = patch(client, record.id, {"scopes": ["spot", "futures"]})
    assert answer.json()["scopes"] == ["spot", "futures"]
    assert record.id not in world.published
    assert (tenant, record.id, 0) in world.submitted


def test_a_change_of_what_has_changed_since_is_refused(client, world, tenant):
    record = world.put(tenant, revision=4)
    etag = client.get(f"/v1/bindings/{record.id}").headers["ETag"]
    assert patch(client, record.id, {"label": "One"}, **{"If-Match": etag}).status_code == 200
    for stale in (etag, '"0"', 'W/"5"', "5", '"x"', ""):
        answer = patch(client, record.id, {"label": "Two"}, **{"If-Match": stale})
        assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed"), stale
    assert record.label == "One"
    assert patch(client, record.id, {"label": "Three"}, **{"If-Match": "*"}).json()["label"] == "Three"


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": []},
        {"scopes": None},
        {"scopes": ["spot", "spot"]},
        {"scopes": ["margin"]},
        {"label": "x" * 65},
        {"label": 5},
        {"label": "a\nb"},
        {"status": "connected"},
        {"credential": {}},
        [],
    ],
)
def test_a_change_of_anything_else_is_refused(client, world, tenant, body):
    record = world.put(tenant)
    answer = patch(client, record.id, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert tenant not in world.updates
