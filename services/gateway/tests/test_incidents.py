"""Freezing over REST: an operator's token, exact targets, and what the tenant is shown meanwhile."""

import random

import httpx
import pytest
from common import errors
from gateway import incident_schemas as schemas

FREEZES = "/v1/admin/freezes"


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
    for method, path in (("POST", FREEZES), ("GET", FREEZES), ("DELETE", f"{FREEZES}/{'0' * 32}?reason=x")):
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
