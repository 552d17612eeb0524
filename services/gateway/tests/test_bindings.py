"""Reading, listing, verifying and revoking bindings; and that a foreign id is told like a random one."""

import random

import httpx
import pytest
from common import errors
from common.clock import rfc3339
from gateway import resource
from strongroom.types.v1 import binding_pb2 as pb

HEX = "0123456789abcdef"


def _random_id():
    return "".join(random.choices(HEX, k=32))


def test_a_gateway_that_the_services_refuse_does_not_blame_its_caller(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["describe"] = errors.PermissionDenied("caller_not_allowed", "No.")
    assert client.get(f"/v1/bindings/{record.id}").json()["code"] == "internal"


def test_while_the_exchange_cannot_be_asked_the_status_stays_and_the_finding_says_so(client, world, tenant):
    record = world.put(tenant)
    finding = pb.Finding(code="exchange_unavailable", severity=pb.SEVERITY_WARNING, actor=pb.ACTOR_EXCHANGE)
    world.observations[record.id] = pb.Observation(stale=True, stale_finding=finding)
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert (shown["status"], shown["stale"], shown["findings"][-1]["code"]) == (
        "connected",
        True,
        "exchange_unavailable",
    )


def test_a_verifier_that_is_down_hides_observations_only(client, world, tenant):
    record = world.put(tenant)
    world.observations[record.id] = world.observation()
    world.trouble[tenant] |= {"get": errors.Unavailable(), "page": errors.Unavailable()}
    shown = client.get(f"/v1/bindings/{record.id}").json()
    assert (shown["status"], shown["stale"], shown["balances"]) == ("connected", False, None)
    assert client.get("/v1/bindings").json()["items"] == [shown]


ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/verify"),
    ("GET", "/balances"),
    ("GET", "/events"),
    ("HEAD", ""),
    ("OPTIONS", ""),
    ("PATCH", ""),
    ("PUT", "/balances"),
]
MALFORMED_IDS = ["0", "f" * 31, "F" * 32, "f" * 33, "f" * 300, "*", "+", "g" * 32, "%C3%A9", "a:b", "~", "%20", "%2a"]


def _told(client, method, path):
    answer = client.request(method, path, headers={"X-Request-Id": "same-request"})
    passing = ("date", "ratelimit")  # these two count time and requests, whatever was asked
    return answer.status_code, answer.content, {k: v for k, v in answer.headers.items() if k not in passing}


@pytest.mark.bar(1)
@pytest.mark.parametrize(("method", "suffix"), ROUTES)
def test_a_foreign_a_malformed_and_a_random_id_are_told_alike(client, world, method, suffix):
    foreign = world.put("z" * 26)
    told = _told(client, method, f"/v1/bindings/{_random_id()}{suffix}")
    without_body = 415 if method == "PATCH" else 405  # what a change needs is looked at before whose it is
    assert told[0] == (404 if method in ("GET", "DELETE", "POST") else without_body)
    for other in [foreign.id, *MALFORMED_IDS]:
        assert _told(client, method, f"/v1/bindings/{other}{suffix}") == told
    assert world.records["z" * 26, foreign.id].verdict.status == pb.STATUS_CONNECTED


PUBLISHED = {}
RECORDS = {"page": errors.Unavailable("index_incomplete")}


@pytest.fixture(params=[PUBLISHED, RECORDS], ids=["published", "records"])
def listed(request, world, tenant):
    """Have lists answered in each of the two ways: from what the verifier published, and from the records."""
    world.trouble[tenant].update(request.param)


@pytest.mark.usefixtures("listed")
def test_a_list_shows_the_tenants_bindings_only_page_by_page(client, world, tenant):
    mine = sorted(world.put(tenant, subject="a").id for _ in range(7))
    for _ in range(20):
        world.put("y" * 26)
    found, cursor = [], None
    while True:
        page = client.get("/v1/bindings", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        found += [one["id"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == mine


@pytest.mark.usefixtures("listed")
def test_a_list_is_filtered_by_status_and_subject(client, world, tenant):
    wanted = world.put(tenant, subject="kim", verdict=pb.Verdict(status=pb.STATUS_REJECTED))
    world.put(tenant, subject="kim")
    world.put(tenant, subject="lee", verdict=pb.Verdict(status=pb.STATUS_REJECTED))
    page = client.get("/v1/bindings", params={"status": "rejected", "subject": "kim"}).json()
    assert [one["id"] for one in page["items"]] == [wanted.id]


@pytest.mark.usefixtures("listed")
def test_a_list_shows_what_was_observed_of_each_and_of_one_never_seen_nothing(client, world, tenant):
    seen, unseen = sorted((world.put(tenant), world.put(tenant)), key=lambda record: record.id)
    world.observations[seen.id] = world.observation()
    shown = client.get("/v1/bindings").json()["items"]
    assert shown == [client.get(f"/v1/bindings/{one.id}").json() for one in (seen, unseen)]
    assert [one["balances"] is None for one in shown] == [False, True]


def test_a_published_page_costs_one_call_and_none_of_the_vault_service(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant] |= {"list": errors.Unavailable(), "get": errors.Unavailable()}
    assert [one["id"] for one in client.get("/v1/bindings").json()["items"]] == [record.id]


@pytest.mark.parametrize(
    "trouble",
    [
        errors.Unavailable("index_incomplete"),
        errors.Unavailable("verification_unavailable", retry_after=2),
        errors.DeadlineExceeded(),
        NotImplementedError(),
    ],
    ids=["incomplete", "no Redis", "late", "not implemented"],
)
def test_a_cursor_made_one_way_goes_on_in_the_other(client, world, tenant, trouble):
    mine = sorted(world.put(tenant, subject="kim").id for _ in range(6))
    found, cursor = [], None
    for broken in (False, True, False, True, False, True):
        world.trouble[tenant] = {"page": trouble} if broken else {}
        page = client.get(
            "/v1/bindings", params={"subject": "kim", "limit": 1} | ({"cursor": cursor} if cursor else {})
        )
        found += [one["id"] for one in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert (found, cursor) == (mine, None)


def test_a_list_that_nobody_can_tell_is_unavailable(client, world, tenant):
    world.trouble[tenant] = {"page": errors.Unavailable(), "list": errors.Unavailable(retry_after=7)}
    answer = client.get("/v1/bindings")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")


@pytest.mark.usefixtures("listed")
def test_a_cursor_belongs_to_its_filter(client, world, tenant):
    for _ in range(3):
        world.put(tenant, subject="kim")
    cursor = client.get("/v1/bindings", params={"subject": "kim", "limit": 1}).json()["next_cursor"]
    assert client.get("/v1/bindings", params={"subject": "kim", "cursor": cursor}).status_code == 200
    answer = client.get("/v1/bindings", params={"subject": "lee", "cursor": cursor})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "cursor")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=x", "limit"),
        ("status=unspecified", "status"),
        ("status=Connected", "status"),
        ("subject=" + "x" * 129, "subject"),
        ("cursor=x", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=" + "A" * 32, "cursor"),
        ("cursor=..%2f..%2fetc", "cursor"),
        ("page=2", "query"),
        ("limit=1&limit=2", "query"),
        ("canary=canary", "query"),
    ],
)
def test_a_wrong_query_is_refused_with_the_name_of_the_parameter(client, query, field):
    answer = client.get(f"/v1/bindings?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_parameter")
    assert answer.json()["errors"][0]["field"] == field
    assert "canary" not in answer.text


def test_routes_without_parameters_know_none(client, world, tenant):
    record = world.put(tenant)
    assert client.get(f"/v1/bindings/{record.id}?expand=1").status_code == 400


def test_a_verification_is_queued(client, world, tenant):
    record = world.put(tenant)
    answer = client.post(f"/v1/bindings/{record.id}/verify")
    assert (answer.status_code, answer.json()["id"]) == (202, record.id)
    assert (tenant, record.id, 0) in world.submitted


def test_a_verification_that_is_waited_for_shows_the_fresh_verdict(client, world, tenant):
    record = world.put(tenant, verdict=pb.Verdict(status=pb.STATUS_DISCONNECTED))
    answer = client.post(f"/v1/bindings/{record.id}/verify", headers={"Prefer": "wait=2"})
    assert (answer.status_code, answer.json()["status"]) == (200, "connected")


def test_a_verification_needs_the_verifier(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["submit"] = errors.Unavailable()
    answer = client.post(f"/v1/bindings/{record.id}/verify")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")


def test_a_revoked_binding_stays_as_a_tombstone(client, world, tenant):
    record = world.put(tenant)
    first, second = client.delete(f"/v1/bindings/{record.id}"), client.delete(f"/v1/bindings/{record.id}")
    assert [(one.status_code, one.content) for one in (first, second)] == [(204, b"")] * 2
    assert client.get(f"/v1/bindings/{record.id}").json()["status"] == "revoked"
    assert (tenant, record.id, 0) in world.submitted
    for method, suffix in (("POST", "/verify"), ("GET", "/balances")):
        answer = client.request(method, f"/v1/bindings/{record.id}{suffix}")
        assert (answer.status_code, answer.json()["code"]) == (409, "binding_revoked")


def test_a_revocation_does_not_need_the_verifier(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["submit"] = errors.Unavailable()
    assert client.delete(f"/v1/bindings/{record.id}").status_code == 204


def test_a_revocation_of_unknown_effect_is_no_success(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["revoke"] = errors.DeadlineExceeded()
    assert client.delete(f"/v1/bindings/{record.id}").json()["code"] == "deadline_exceeded"


def test_fresh_balances_are_answered_from_what_is_known(client, world, tenant):
    record = world.put(tenant)
    world.observations[record.id] = world.observation(age=20)
    answer = client.get(f"/v1/bindings/{record.id}/balances")
    assert (answer.status_code, answer.json()["total_usdt"]) == (200, "1000.50")
    assert not [one for one in world.submitted if one[0] == tenant]


def test_old_balances_are_asked_for_again(client, world, tenant):
    record = world.put(tenant)
    world.observations[record.id] = old = world.observation(age=31)
    answer = client.get(f"/v1/bindings/{record.id}/balances")
    assert answer.status_code == 200
    assert answer.json()["as_of"] != rfc3339(old.balances.as_of)


def test_balances_that_cannot_be_had_are_not_invented(client, world, tenant):
    world.verdict = False
    record = world.put(tenant)
    world.observations[record.id] = pb.Observation(stale=True, balances=world.observation(age=60).balances)
    answer = client.get(f"/v1/bindings/{record.id}/balances")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (
        503,
        "balances_unavailable",
        "10",
    )


def test_a_binding_that_does_not_work_has_no_balances(client, world, tenant):
    world.verdict = False
    record = world.put(tenant, verdict=pb.Verdict(status=pb.STATUS_REJECTED))
    world.observations[record.id] = pb.Observation()
    answer = client.get(f"/v1/bindings/{record.id}/balances")
    assert (answer.status_code, answer.json()["code"]) == (409, "binding_not_connected")


def test_the_text_of_an_unknown_failure_stays_behind(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["describe"] = RuntimeError("canary")
    answer = client.get(f"/v1/bindings/{record.id}")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "canary" not in answer.text


def test_a_policy_that_refuses_names_its_rule(client, world, tenant):
    record = world.put(tenant)
    world.trouble[tenant]["describe"] = errors.PolicyRefused(detail="No.", rule="frozen")
    answer = client.get(f"/v1/bindings/{record.id}")
    assert (answer.status_code, answer.json()["code"], answer.json()["rule"]) == (403, "policy_refused", "frozen")


def test_the_guide_has_the_eight_steps_and_our_addresses(client):
    guide = client.get("/v1/exchanges/bitget").json()
    assert len(guide["steps"]) == 8
    assert guide["egress_addresses"] == ["203.0.113.7", "203.0.113.8"]
    assert guide["limits"]["keys_per_account"] == 10
    assert (guide["limits"]["addresses_per_key"], guide["limits"]["new_key_delay_s"]) == (30, 30)
    assert set(guide["permissions"]) == {"spot", "futures"}
    assert {"Withdraw", "Transfer"} <= set(guide["unneeded"])


def test_the_guide_says_at_which_steps_an_rsa_key_is_different(client):
    steps = client.get("/v1/exchanges/bitget").json()["steps"]
    different = {one["id"]: one["rsa"] for one in steps if one["rsa"]}
    assert set(different) == {"create_key", "confirm", "bind"}
    assert "public key" in different["create_key"]
    assert "private key" in different["bind"]


def test_the_guide_has_a_remedy_for_every_reason_a_binding_can_fail_for(client):
    told = [reason for error in client.get("/v1/exchanges/bitget").json()["errors"] for reason in error["reasons"]]
    assert sorted(told) == sorted(resource.word(pb.Reason, value) for value in pb.Reason.values() if value)


def test_the_request_id_of_the_caller_goes_through_to_the_services(client, world, tenant):
    record = world.put(tenant)
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    answer = client.get(f"/v1/bindings/{record.id}", headers={"X-Request-Id": "my-request-1", "traceparent": trace})
    assert answer.headers["x-request-id"] == "my-request-1"
    assert (world.metadata[-1]["x-request-id"], world.metadata[-1]["traceparent"]) == ("my-request-1", trace)


def test_many_at_once_are_answered_each_with_its_own(served, issuer, world):
    from concurrent.futures import ThreadPoolExecutor

    tenants = ["".join(random.choices("abcdef", k=26)) for _ in range(20)]
    records = {tenant: world.put(tenant) for tenant in tenants}
    tokens = {tenant: issuer.issue(tenant) for tenant in tenants}

    def ask(tenant):
        headers = {"Authorization": f"Bearer {tokens[tenant]}"}
        return [one["id"] for one in httpx.get(f"{served.url}/v1/bindings", headers=headers).json()["items"]]

    with ThreadPoolExecutor(8) as pool:
        for tenant, found in zip(tenants * 5, pool.map(ask, tenants * 5), strict=True):
            assert found == [records[tenant].id]
