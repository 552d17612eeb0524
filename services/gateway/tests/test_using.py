"""A key used over REST: what reaches the services behind, what never does, and how it is told."""

import httpx
import pytest
from common.errors import DeadlineExceeded, PolicyRefused, Throttled, Unavailable
from gateway.limiter import BURST_SHARE
from gateway.market import EACH_PER_MINUTE

from services.gateway.tests.raw import message, problems, talk

ID = "0" * 32
PROXY = f"/v1/bindings/{ID}/proxy"
REQUESTS = f"/v1/bindings/{ID}/requests"
ORDER = "/api/v2/spot/trade/place-order"
ODD = [
    "/api/v2/../admin",
    "/%2e%2e/%2e%2e/admin",
    "/..%2fadmin",
    "/%2F%2Fevil.example/",
    "//evil.example/api/v2/x",
    "/http://evil.example/api/v2/x",
    "/api/v2/a%252e",
    "/api/v2/%00",
    "/api/v2/\\evil",
    "/api/v2/a;b=c",
    "/api/v2/a/",
    "/api/v2//a",
    "/api/v2/%61ccount",
    "/api/v2/a%0d%0aX:y",
    "/api/v2/./a",
    "/api/v1/a",
    "/API/v2/a",
    "/api/v2",
    "/",
    "/api/v2/a@evil.example",
    "/api/v2/a:80",
]
QUERIES = ["a=1&a=2", "a", "a=1&", "&a=1", "=1", "a=%zz", "a=%ff", "a=1;b=2", "a=1+2", "a=%0d%0aX:y", "a=%00", "%61=1"]


def mine(world, tenant):
    """Return what the verifier was to execute for a tenant."""
    return [request for owner, request in world.executed if owner == tenant]


def execute(client, **wanted):
    return client.post(REQUESTS, json={"method": "GET", "path": "/api/v2/spot/account/info", **wanted})


def test_a_request_comes_back_as_the_exchange_answered_it(client, world, tenant):
    world.heads[tenant], world.pieces[tenant] = (400, "ip_not_whitelisted"), [b'{"code":"40018"}']
    answer = execute(client, query={"symbol": "$A B"})
    assert (answer.status_code, answer.content) == (400, b'{"code":"40018"}')
    assert answer.headers["content-type"] == "application/json;charset=UTF-8"
    assert (answer.headers["strongroom-source"], answer.headers["strongroom-reason"]) == (
        "exchange",
        "ip_not_whitelisted",
    )
    (request,) = mine(world, tenant)
    assert (request.binding_id, request.request.method, request.request.body) == (ID, "GET", b"")
    assert [(one.name, one.value) for one in request.request.query] == [("symbol", "$A B")]


def test_a_body_is_written_once_and_absent_is_none(client, world, tenant):
    for wanted in ({}, {"body": None}, {"body": {"a": ["ü", 1, "0.10"]}}):
        assert execute(client, method="POST", path=ORDER, **wanted).status_code == 200
    sent = [one.request.body.decode() for one in mine(world, tenant)]
    assert sent == ["", "null", '{"a":["ü",1,"0.10"]}']


@pytest.mark.bar(25, 26, 28)
@pytest.mark.parametrize(
    "wanted",
    [
        {"method": "DELETE"},
        {"method": "get"},
        {"path": "/api/v2/../x"},
        {"path": "//evil.example/api/v2/x"},
        {"path": "/api/v2/x\r\nX: y"},
        {"path": "/api/v2/x\n"},
        {"path": "/api/v2/%61"},
        {"path": "/api/v2/x/"},
        {"query": {"a": ["1", "2"]}},
        {"query": {"a": "1\r\nX: y"}},
        {"query": {"a&b": "1"}},
        {"body": {}},
        {"method": "POST", "query": {"a": "1"}},
        {"method": "POST", "body": {"size": 0.1}},
        {"headers": {"ACCESS-KEY": "x"}},
    ],
)
def test_a_request_that_could_be_read_in_two_ways_is_refused_unsent(client, world, tenant, wanted):
    answer = execute(client, **wanted)
    assert answer.status_code in (400, 422)
    assert mine(world, tenant) == []


@pytest.mark.bar(28)
def test_a_name_that_comes_twice_is_refused_on_both_routes(client, world, tenant):
    twice = b'{"a":1,"a":2}'
    inside = b'{"method":"POST","path":"' + ORDER.encode() + b'","body":' + twice + b"}"
    for path, content in ((REQUESTS, inside), (PROXY + ORDER, twice)):
        answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["code"]) == (400, "duplicate_key")
    assert mine(world, tenant) == []


@pytest.mark.parametrize("place", ["Authorization", "ACCESS-KEY", "access-key"])
def test_a_client_of_the_exchange_needs_our_token_in_one_of_two_places_and_its_own_headers_end_here(
    served, issuer, world, tenant, place
):
    token = issuer.issue(tenant)
    headers = {place: f"Bearer {token}" if place == "Authorization" else token}
    headers |= {
        "ACCESS-SIGN": "canary",
        "ACCESS-PASSPHRASE": "canary",
        "ACCESS-TIMESTAMP": "1",
        "X-CHANNEL-API-CODE": "c",
    }
    content = b'{ "symbol":"BTCUSDT" ,"size":"0.10"}'
    answer = httpx.post(f"{served.url}{PROXY}{ORDER}", content=content, headers={**headers, "Idempotency-Key": "k1"})
    assert (answer.status_code, answer.json()) == (200, {"code": "00000"})
    (request,) = mine(world, tenant)
    assert (request.request.path, request.request.body, request.idempotency_key) == (ORDER, content, "k1")
    assert b"canary" not in request.SerializeToString()
    assert "canary" not in str(world.metadata[-1])
    assert world.metadata[-1]["authorization"] == f"Bearer {token}"


def test_two_different_tokens_are_refused_and_the_same_one_twice_is_not(client, issuer, tenant):
    token = client.headers["authorization"].split(" ")[1]
    path = f"{PROXY}/api/v2/spot/account/info"
    assert client.get(path, headers={"ACCESS-KEY": token}).status_code == 200
    answer = client.get(path, headers={"ACCESS-KEY": issuer.issue("b" * 26)})
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_token")


def test_a_token_without_the_scope_executes_nothing_on_either_route(served, issuer, world, tenant):
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, ['bindings:read', 'bindings:write', 'requests:sign'])}"}
    wanted = {"method": "POST", "path": ORDER}
    for path, body in ((REQUESTS, wanted), (PROXY + ORDER, {})):
        answer = httpx.post(served.url + path, json=body, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert mine(world, tenant) == []


@pytest.mark.bar(25, 26)
@pytest.mark.parametrize("path", ODD)
def test_a_path_with_two_readings_is_refused_unsent(served, issuer, world, tenant, path):
    head = message(f"GET {PROXY}{path} HTTP/1.1", "Host: a", f"ACCESS-KEY: {issuer.issue(tenant)}", "Connection: close")
    assert problems(talk(served.port, head)) == [(400, "invalid_exchange_request")]
    assert mine(world, tenant) == []


@pytest.mark.bar(25)
def test_a_target_that_names_a_host_is_refused_unsent(served, issuer, world, tenant):
    target = f"http://evil.example{PROXY}/api/v2/spot/account/info"
    head = message(f"GET {target} HTTP/1.1", "Host: a", f"ACCESS-KEY: {issuer.issue(tenant)}")
    assert problems(talk(served.port, head)) == [(400, "malformed_request")]
    assert mine(world, tenant) == []


@pytest.mark.bar(26, 28)
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_with_two_readings_is_refused_unsent(served, issuer, world, tenant, query):
    line = f"GET {PROXY}/api/v2/spot/account/info?{query} HTTP/1.1"
    head = message(line, "Host: a", f"ACCESS-KEY: {issuer.issue(tenant)}", "Connection: close")
    assert problems(talk(served.port, head)) == [(400, "invalid_exchange_request")]
    assert mine(world, tenant) == []


def test_a_query_is_decoded_once(client, world, tenant):
    assert client.get(f"{PROXY}/api/v2/spot/trade/orderInfo?clientOid=ch%231%2B2%20a:b&x=%2541").status_code == 200
    (request,) = mine(world, tenant)
    assert [(one.name, one.value) for one in request.request.query] == [("clientOid", "ch#1+2 a:b"), ("x", "%41")]


@pytest.mark.parametrize(("method", "query", "content"), [("GET", "", b"{}"), ("POST", "?a=1", b"{}")])
def test_a_get_has_no_body_and_a_post_no_query(client, world, tenant, method, query, content):
    answer = client.request(method, f"{PROXY}{ORDER}{query}", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_exchange_request")
    assert mine(world, tenant) == []


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"])
def test_another_method_reaches_nobody(client, world, tenant, method):
    answer = client.request(method, PROXY + ORDER)
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")
    assert mine(world, tenant) == []


@pytest.mark.bar(27)
@pytest.mark.parametrize(
    "headers",
    [
        ("Host: a", "Content-Length: 4", "Transfer-Encoding: chunked"),
        ("Host: a", "Host: b", "Content-Length: 2"),
        ("Host: a", "ACCESS-KEY: a.b.c", "access-key: a.b.c", "Content-Length: 2"),
        ("Host: a", "Authorization: Bearer a.b.c", "Authorization: Bearer a.b.c", "Content-Length: 2"),
    ],
)
def test_a_smuggled_request_gets_one_answer(served, headers):
    received = talk(served.port, message(f"POST {PROXY}{ORDER} HTTP/1.1", *headers, body=b"{}"))
    assert problems(received) == [(400, "malformed_request")]


def test_a_refusal_tells_its_rule_and_says_it_where_clients_of_the_exchange_look(client, world, tenant):
    world.trouble[tenant]["execute"] = PolicyRefused("policy_refused", "Withdrawals are never signed.", rule="withdraw")
    answer = client.post(f"{PROXY}/api/v2/spot/wallet/withdrawal", json={})
    told = answer.json()
    assert (answer.status_code, told["code"], told["rule"]) == (403, "policy_refused", "withdraw")
    assert (told["msg"], told["data"]) == ("Withdrawals are never signed.", None)
    assert isinstance(told["requestTime"], int)
    assert answer.headers["strongroom-source"] == "strongroom"
    plain = execute(client, method="POST", path="/api/v2/spot/wallet/withdrawal").json()
    assert plain["rule"] == "withdraw"
    assert "msg" not in plain


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Throttled("exchange_budget_spent", "Later.", retry_after=3), 429, "exchange_budget_spent"),
        (Unavailable("exchange_unavailable", "Gone."), 503, "exchange_unavailable"),
        (DeadlineExceeded("outcome_unknown", "Who knows.", client_order_ids="sr1"), 504, "outcome_unknown"),
    ],
)
def test_what_became_of_a_request_is_told(client, world, tenant, error, status, code):
    world.trouble[tenant]["execute"] = error
    for answer in (client.post(PROXY + ORDER, json={}), execute(client, method="POST", path=ORDER)):
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert ("retry-after" in answer.headers) is (status != 504)
        assert ('"exchange";r=0;t=3' in answer.headers["ratelimit"]) is (status == 429)
        if status == 504:
            assert answer.json()["client_order_ids"] == "sr1"


def test_a_long_answer_is_handed_on_whole_and_a_broken_one_is_no_whole_one(client, world, tenant):
    world.pieces[tenant] = [bytes([65 + number]) * 65_536 for number in range(20)]
    assert client.get(f"{PROXY}/api/v2/spot/account/info").content == b"".join(world.pieces[tenant])
    world.pieces[tenant] = [b"[", b"1", Unavailable("exchange_unavailable")]
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(f"{PROXY}/api/v2/spot/account/info")
    world.pieces[tenant] = [b"[", Unavailable("exchange_unavailable")]
    assert client.get(f"{PROXY}/api/v2/spot/account/info").status_code == 503


MARKET = f"{PROXY}/api/v2/spot/market/tickers"


def test_market_data_needs_no_token_and_carries_none(served, world):
    before = len(world.asked)
    answer = httpx.get(f"{served.url}{MARKET}?symbol=BTCUSDT", headers={"ACCESS-SIGN": "canary"})
    assert (answer.status_code, answer.headers["strongroom-source"]) == (200, "exchange")
    ((request, metadata),) = world.asked[before:]
    assert (request.path, request.query[0].value) == ("/api/v2/spot/market/tickers", "BTCUSDT")
    assert "authorization" not in metadata
    assert httpx.post(served.url + MARKET, json={}).status_code == 401


def test_market_data_without_a_token_can_be_switched_off(serve, world):
    before = len(world.asked)
    answer = httpx.get(serve(market_data="false").url + MARKET)
    assert (answer.status_code, answer.json()["code"], len(world.asked)) == (401, "unauthenticated", before)


def test_market_data_without_a_token_has_a_rate_of_its_own_for_each_address(served, client, world):
    with httpx.Client(base_url=served.url) as stranger:
        answers = [stranger.get(MARKET)]
        while answers[-1].status_code == 200 and len(answers) < 600:  # the rate goes on to let some in meanwhile
            answers.append(stranger.get(MARKET))
    assert len(answers) > EACH_PER_MINUTE // BURST_SHARE
    assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "market_budget_spent")
    assert client.get(f"{PROXY}/api/v2/spot/account/info").status_code == 200
