"""Tenants over REST: made once for a key, paged, changed at a revision, and opened by no scope but admin."""

import time

import httpx
import pytest
from common import errors
from gateway import tenant_schemas as schemas

TENANTS = "/v1/admin/tenants"


def until(condition):
    """Poll until `condition` is true."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def operator(served, issuer, tenant):
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, ['admin'])}"}
    with httpx.Client(base_url=served.url, headers=headers, timeout=10) as made:
        yield made


def test_a_tenant_is_made_read_changed_disabled_and_enabled(operator):
    denied = {"denied_capabilities": ["futures_trade"], "denied_calls": ["GET /api/v3/account/info"], "symbols": ["A"]}
    denied |= {"max_order_notional": "1000.5", "max_daily_notional": "9000"}
    rules = {"errors": ["transfer_enabled"], "rotation_days": 90} | denied
    made = operator.post(TENANTS, json={"name": "Desk", "rules": rules, "quotas": {"concurrency": 3, "bindings": 9}})
    assert made.status_code == 201
    shown = made.json()
    assert schemas.Tenant.model_validate(shown, strict=True).model_dump() == shown
    assert (shown["name"], shown["rules"], shown["quotas"], shown["disabled"]) == (
        "Desk",
        rules,
        {"requests_per_minute": 0, "concurrency": 3, "bindings": 9},
        False,
    )
    place = made.headers["location"]
    assert operator.get(place).json() == shown
    changed = operator.patch(place, json={"name": "Other"}, headers={"If-Match": made.headers["etag"]})
    assert changed.json() == shown | {"name": "Other"}
    late = operator.patch(place, json={"name": "Third"}, headers={"If-Match": made.headers["etag"]})
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    for _ in range(2):
        assert operator.post(f"{place}/disable").json() == shown | {"name": "Other", "disabled": True}
    assert operator.post(f"{place}/enable").json() == operator.get(place).json() == shown | {"name": "Other"}


def test_a_repeat_with_the_same_key_is_one_tenant(operator):
    keyed = {"Idempotency-Key": "desk"}
    answers = [operator.post(TENANTS, json={"name": "Desk"}, headers=keyed) for _ in range(2)]
    assert answers[0].json() == answers[1].json()


def test_pages_of_tenants_are_complete_and_end(operator):
    made = {operator.post(TENANTS, json={"name": f"Desk {number}"}).json()["id"] for number in range(5)}
    found, cursor = [], {}
    while True:
        page = operator.get(TENANTS, params={"limit": 2, **cursor}).json()
        assert schemas.TenantPage.model_validate(page, strict=True).model_dump() == page
        found += [one["id"] for one in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == sorted(set(found))
    assert made <= set(found)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": 1}, "name"),
        ({"name": "x", "rules": {"rotation_days": -1}}, "rules.rotation_days"),
        ({"name": "x", "quotas": {"concurrency": True}}, "quotas.concurrency"),
        ({"name": "x", "quotas": {"bindings": -1}}, "quotas.bindings"),
        ({"name": "x", "id": "a" * 26}, ""),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(operator, body, field):
    refused = operator.post(TENANTS, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert [one["field"] for one in refused.json()["errors"]] == [field]


def test_what_is_no_cursor_or_etag_of_ours_is_refused_and_an_unknown_tenant_not_found(operator):
    for cursor in ("x", "*", "YWJj", "é"):
        assert operator.get(TENANTS, params={"cursor": cursor}).status_code == 400
    for etag in ("1", 'W/"1"', '"x"'):
        refused = operator.patch(f"{TENANTS}/{'n' * 26}", json={}, headers={"If-Match": etag})
        assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    for name in ("n" * 26, "x", "*"):
        assert operator.get(f"{TENANTS}/{name}").status_code == 404
        assert operator.post(f"{TENANTS}/{name}/disable").status_code == 404


def test_no_scope_but_admin_opens_them(client, issuer, tenant):
    place = f"{TENANTS}/{'0' * 26}"
    everything_else = ["bindings:read", "bindings:write", "requests:execute", "requests:sign", "audit:read"]
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, everything_else)}"}
    paths = [("POST", TENANTS), ("GET", TENANTS), ("GET", place), ("PATCH", place)]
    for method, path in [*paths, ("POST", f"{place}/disable"), ("POST", f"{place}/enable")]:
        refused = client.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope"), path


ID = "0" * 32
ROUTES = [("GET", "/v1/bindings"), ("GET", f"/v1/bindings/{ID}"), ("GET", "/v1/events"), ("GET", "/v1/audit")]
ROUTES += [("POST", "/v1/bindings"), ("DELETE", f"/v1/bindings/{ID}"), ("GET", "/v1/exchanges/bitget")]


@pytest.mark.parametrize("reason", ["tenant_disabled", "not_provisioned"])
def test_a_tenant_that_may_nothing_is_refused_on_every_route_also_where_nobody_else_would_be_asked(
    client, world, tenant, reason
):
    world.trouble[tenant]["standing"] = errors.PermissionDenied(reason)
    for method, path in ROUTES:
        refused = client.request(method, path)
        assert (refused.status_code, refused.json()["code"]) == (403, reason), path
    assert world.standings[tenant] < len(ROUTES), "it is not asked for each call"


def test_a_tenant_is_let_in_again_soon_after_it_is_enabled_and_is_kept_out_soon_after_it_is_not(client, world, tenant):
    assert client.get("/v1/bindings").status_code == 200
    world.trouble[tenant]["standing"] = errors.PermissionDenied("tenant_disabled")
    until(lambda: client.get("/v1/bindings").status_code == 403)
    del world.trouble[tenant]["standing"]
    until(lambda: client.get("/v1/bindings").status_code == 200)


def test_what_was_said_last_holds_while_nobody_can_be_asked_and_who_was_never_known_is_not_let_in(
    client, world, tenant
):
    world.trouble[tenant]["standing"] = errors.Unavailable("vault_unavailable")
    refused = client.get("/v1/bindings")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    del world.trouble[tenant]["standing"]
    assert client.get("/v1/bindings").status_code == 200
    world.trouble[tenant]["standing"] = errors.Unavailable("vault_unavailable")
    asked = world.standings[tenant]
    until(lambda: client.get("/v1/bindings").status_code == 200 and world.standings[tenant] > asked)
