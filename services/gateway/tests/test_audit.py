"""The tenant's trail over REST: its own scope, its shape, its filters, its cursors."""

import pytest
from common import errors
from common.clock import timestamp
from gateway import trail_schemas as schemas

AUDIT = "/v1/audit"


def test_a_page_has_the_documented_shape_and_its_cursor_leads_on(client, tenant):
    first = client.get(AUDIT, params={"limit": 2})
    assert first.status_code == 200
    shown = first.json()
    assert schemas.AuditPage.model_validate(shown, strict=True).model_dump() == shown
    assert [one["sequence"] for one in shown["items"]] == [13, 12]
    assert [one["outcome"] for one in shown["items"]] == ["done", None]
    assert shown["items"][0]["request_id"] == tenant
    second = client.get(AUDIT, params={"limit": 2, "cursor": shown["next_cursor"]}).json()
    assert ([one["sequence"] for one in second["items"]], second["next_cursor"]) == ([11], None)


def test_filters_are_handed_on(client, world):
    times = {"from": "2026-11-28T01:00:00Z", "to": "2026-11-28T03:00:00.5+01:00"}
    assert client.get(AUDIT, params={"binding": "b" * 32, **times}).status_code == 200
    asked = world.trail_asked[-1]
    assert (asked.binding_id, asked.limit, asked.cursor) == ("b" * 32, 50, "")
    assert (asked.since, asked.until) == (timestamp(1_795_827_600), timestamp(1_795_831_200.5))


def test_no_scope_but_its_own_opens_it(client, issuer, tenant):
    token = issuer.issue(tenant, ["bindings:read", "bindings:write", "admin"])
    refused = client.get(AUDIT, headers={"Authorization": f"Bearer {token}"})
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")
    assert 'scope="audit:read"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize(
    "query",
    [{"from": "yesterday"}, {"from": "2026-11-28T01:00:00"}, {"limit": "0"}, {"limit": "101"}, {"tenant": "t" * 26}],
    ids=str,
)
def test_a_wrong_parameter_is_named_and_not_repeated(client, query):
    refused = client.get(AUDIT, params=query)
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_parameter")
    assert "yesterday" not in refused.text


def test_an_error_behind_it_is_told_as_everywhere(client, world, tenant):
    world.trouble[tenant]["trail"] = errors.InvalidArgument("cursor", "Begin anew.", field="cursor")
    refused = client.get(AUDIT, params={"cursor": "x"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "cursor")
    world.trouble[tenant]["trail"] = errors.Unavailable("audit_unavailable")
    assert client.get(AUDIT).status_code == 503
