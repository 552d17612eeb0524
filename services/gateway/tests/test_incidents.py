"""Freezes and bulk revocation over REST: an operator's token, exact targets, and what the tenant is shown."""

import random

import httpx
import pytest
from common import errors
from gateway import incident_schemas as schemas

FREEZES = "/v1/admin/freezes"
REVOCATIONS = "/v1/admin/revocations"


@pytest.fixture
def operator(served, issuer, tenant):
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, ['admin'])}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=10) as made:
        yield made


def wanted(kind, **fields):
    return {"target": {"kind": kind, **fields}, "reason": "an incident"}


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "binding", "tenant": "t" * 26, "binding_id": "0" * 32},
        {"kind": "subject", "tenant": "t" * 26, "subject": "customer-1"},
        {"kind": "tenant", "tenant": "t" * 26},
        {"kind": "exchange", "exchange": "bitget"},
        {"kind": "everything"},
    ],
    ids=lambda fields: fields["kind"],
)
def test_a_freeze_of_each_kind_is_made_listed_and_lifted(operator, world, fields):
    made = operator.post(FREEZES, json=wanted(**fields) | {"allow_cancels": True})
    assert made.status_code == 201
    shown = made.json()
    assert schemas.Freeze.model_validate(shown, strict=True).model_dump() == shown
    assert {name: value for name, value in shown["target"].items() if value} == fields
    assert (shown["reason"], shown["allow_cancels"], shown["made_by"]) == ("an incident", True, "local")
    assert made.headers["location"] == f"{FREEZES}/{shown['id']}"
    assert operator.get(FREEZES).json() == {"items": [shown]}
    assert operator.delete(made.headers["location"], params={"reason": "it is over"}).status_code == 204
    assert world.lifted[-1] == "it is over"
    assert operator.get(FREEZES).json() == {"items": []}


def test_a_repeat_with_the_same_key_is_one_freeze(operator):
    keyed = {"Idempotency-Key": "incident-7"}
    answers = [operator.post(FREEZES, json=wanted("everything"), headers=keyed).json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert len(operator.get(FREEZES).json()["items"]) == 1


def test_no_scope_but_admin_opens_them(client, issuer, tenant):
    paths = [("POST", FREEZES), ("GET", FREEZES), ("DELETE", f"{FREEZES}/{'0' * 32}?reason=x")]
    for method, path in [*paths, ("POST", REVOCATIONS), ("GET", f"{REVOCATIONS}/{'0' * 32}")]:
        refused = client.request(method, path, json=wanted("everything") if method == "POST" else None)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="admin"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x"}, "target"),
        ({"target": {"kind": "everything"}}, "reason"),
        (wanted("everything") | {"reason": ""}, "reason"),
        (wanted("everything") | {"reason": "x" * 201}, "reason"),
        (wanted("everything") | {"reason": "two\nlines"}, "reason"),
        (wanted("galaxy"), "target.kind"),
        (wanted("everything") | {"allow_cancels": "yes"}, "allow_cancels"),
        (wanted("everything") | {"until": "tomorrow"}, ""),
        (wanted("exchange", exchange="binance"), "target.exchange"),
    ],
    ids=str,
)
def test_a_wrong_freeze_is_refused_by_field(operator, body, field):
    refused = operator.post(FREEZES, json=body)
    assert refused.status_code == 422
    assert [fault["field"] for fault in refused.json()["errors"]] == [field]


def test_what_the_vault_service_finds_wrong_is_named_as_in_rest(operator, world, tenant):
    for told, shown in (("target.tenant_id", "target.tenant"), ("tenant_id", "target.tenant"), ("target", "target")):
        world.trouble[tenant]["freeze"] = errors.InvalidArgument("target", "A remedy.", field=told)
        refused = operator.post(FREEZES, json=wanted("everything"))
        assert refused.json()["errors"] == [{"field": shown, "code": "target", "message": "A remedy."}]


def test_lifting_needs_a_reason_and_a_freeze_that_exists(operator):
    unknown = f"{FREEZES}/{'0' * 32}"
    assert operator.delete(unknown).json()["code"] == "invalid_parameter"
    assert operator.delete(unknown, params={"reason": ""}).json()["code"] == "invalid_parameter"
    assert operator.delete(unknown, params={"reason": "x"}).status_code == 404


def test_a_frozen_binding_keeps_its_status_and_says_so(client, world, tenant):
    record = world.put(tenant)
    before = client.get(f"/v1/bindings/{record.id}").json()
    record.frozen = True
    shown = client.get(f"/v1/bindings/{record.id}").json()
    told = shown.pop("findings")[-1]
    assert (told["code"], told["severity"], told["actor"]) == ("frozen", "info", "operator")
    assert {**shown, "findings": []} == before


def test_a_bind_that_a_freeze_stops_names_the_rule_and_the_freeze(client, world, tenant, body):
    freeze = "".join(random.choices("0123456789abcdef", k=32))
    world.trouble[tenant]["bind"] = errors.PolicyRefused("frozen", "Frozen.", rule="frozen", freeze_id=freeze)
    refused = client.post("/v1/bindings", json=body)
    told = refused.json()
    assert (refused.status_code, told["code"], told["rule"], told["freeze_id"]) == (
        403,
        "policy_refused",
        "frozen",
        freeze,
    )


def test_a_bind_beyond_the_limit_of_bindings_names_the_rule_and_the_remedy(client, world, tenant, body):
    told = "This tenant may have 2 living bindings and has them. Revoke one."
    world.trouble[tenant]["bind"] = errors.PolicyRefused("bindings_limit", told, rule="bindings_limit")
    refused = client.post("/v1/bindings", json=body)
    shown = refused.json()
    assert (refused.status_code, shown["code"], shown["rule"], shown["detail"]) == (
        403,
        "policy_refused",
        "bindings_limit",
        told,
    )


def order(**selector):
    return {"selector": selector, "reason": "an incident"}


WINDOW = {"bound_after": "2026-11-01T00:00:00Z", "bound_before": "2026-11-02T00:00:00+02:00"}


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({}, {}),
        ({"subject": "customer-1", "label": "Main"}, {"subject": "customer-1", "label": "Main"}),
        ({"subject": ""}, {"subject": ""}),
        (WINDOW, {"bound_after": "2026-11-01T00:00:00.000Z", "bound_before": "2026-11-01T22:00:00.000Z"}),
    ],
    ids=str,
)
def test_many_bindings_are_revoked_by_a_selector_and_the_report_says_how_far_it_is(operator, fields, shown):
    taken = operator.post(REVOCATIONS, json=order(tenant="t" * 26, **fields))
    assert taken.status_code == 202
    told = taken.json()
    assert schemas.Revocation.model_validate(told, strict=True).model_dump() == told
    nothing = dict.fromkeys(("subject", "label", "bound_after", "bound_before"))
    assert told["selector"] == {"tenant": "t" * 26, **nothing, **shown}
    assert (told["state"], told["matched"], told["revoked"], told["finished_at"]) == ("matching", 0, 0, None)
    report = operator.get(taken.headers["location"]).json()
    assert schemas.Revocation.model_validate(report, strict=True).model_dump() == report
    assert (report["state"], report["matched"], report["revoked"]) == ("done", 3, 2)
    assert report["failed"] == [{"binding_id": "1" * 32, "reason": "vault_unavailable"}]
    assert len(report["binding_ids"]) == 3
    assert "delete the key" in report["remedy"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"reason": "x"}, "selector"),
        (order(), "selector.tenant"),
        (order(subject="customer-1"), "selector.tenant"),
        (order(tenant="t" * 26, everything=True), "selector"),
        (order(tenant="t" * 26, label="two\nlines"), "selector.label"),
        (order(tenant="t" * 26, bound_after="yesterday"), "selector.bound_after"),
        (order(tenant="t" * 26, bound_after="2026-11-01"), "selector.bound_after"),
        (order(tenant="t" * 26, bound_before="2026-11-01T00:00:00"), "selector.bound_before"),
        ({"selector": {"tenant": "t" * 26}}, "reason"),
    ],
    ids=str,
)
def test_a_selector_must_be_explicit(operator, world, body, field):
    before = len(world.revocations)
    refused = operator.post(REVOCATIONS, json=body)
    assert refused.status_code == 422
    assert [fault["field"] for fault in refused.json()["errors"]] == [field]
    assert len(world.revocations) == before


def test_a_revocation_that_was_never_asked_for_is_not_found(operator):
    assert operator.get(f"{REVOCATIONS}/{'0' * 32}").status_code == 404


def test_a_revoked_binding_says_that_the_key_is_to_be_deleted_at_the_exchange(client, world, tenant):
    record = world.put(tenant)
    assert "delete_key_at_exchange" not in str(client.get(f"/v1/bindings/{record.id}").json())
    assert client.delete(f"/v1/bindings/{record.id}").status_code == 204
    shown = client.get(f"/v1/bindings/{record.id}").json()
    [told] = [one for one in shown["findings"] if one["code"] == "delete_key_at_exchange"]
    assert (shown["status"], told["severity"], told["actor"]) == ("revoked", "info", "customer")
    assert record.credential.api_key_hint in told["remedy"]
    [listed] = client.get("/v1/bindings?status=revoked").json()["items"]
    assert told in listed["findings"]
