"""Traces of the whole stack: one request is one tree across every process, and no secret stands in any span."""

import base64
import json
import re
import secrets
from collections.abc import Iterator

import httpx
import pytest
from cli.processes import free_port
from cli.settings import LaunchSettings
from cli.stack import Stack
from common.ids import BINDING_ID, REQUEST_ID, TENANT_ID
from common.tracing import ATTRIBUTES

from tests.collector import Collector, Seen, whole
from tests.integration.conftest import TENANTS, Driver, eventually
from tests.integration.test_canary import assert_absent, spellings
from tests.integration.test_using_a_key import ORDER
from tests.integration.test_webhooks import Receiver, receiver

__all__ = ["receiver"]
OUTSIDE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
IDS = {"strongroom.tenant": TENANT_ID, "strongroom.binding": BINDING_ID, "strongroom.request_id": REQUEST_ID}
UNSAMPLED = "00-5bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, collector: Collector) -> Iterator[Driver]:
    """Give this file a stack of its own, which sends its spans to the collector."""
    home = tmp_path_factory.mktemp("traced")
    (home / "tenants.json").write_text(json.dumps(TENANTS))
    settings = LaunchSettings(home, free_port(), None, "127.0.0.1", log_level="debug", otlp_endpoint=collector.endpoint)
    with Stack(settings, lambda _: None) as stack:
        stack.start()
        yield Driver(stack)


def tree(collector: Collector, answer: httpx.Response, *wanted: tuple[str, str]) -> list[Seen]:
    """Return the whole trace of a request once it is one tree, from REST on, and holds each span (service, name)."""

    def found() -> list[Seen] | None:
        trace = collector.trace(answer.headers["x-request-id"])
        there = {(one.service, one.name) for one in trace}
        rest = any(one.service == "gateway" and one.kind == "server" for one in trace)
        return trace if rest and whole(trace) and there.issuperset(wanted) else None

    try:
        trace: list[Seen] = eventually(found)
    except pytest.fail.Exception:
        print(*collector.trace(answer.headers["x-request-id"]), sep="\n")
        raise
    return trace


def path(trace: list[Seen], service: str, name: str) -> list[str]:
    """Return what lies above the first span of this name, from the root on, as service:kind."""
    by_id = {one.id: one for one in trace}
    one = next(one for one in trace if (one.name, one.service) == (name, service))
    above = [f"{one.service}:{one.kind}"]
    while one.parent in by_id:
        one = by_id[one.parent]
        above.insert(0, f"{one.service}:{one.kind}")
    return above


def test_a_bind_with_its_verification_is_one_tree_across_all_processes(driver: Driver, collector: Collector) -> None:
    answer = driver.bind(driver.account())
    assert answer.json()["status"] == "connected"
    asked, signed = ("worker", "exchange GET /api/v3/account/info"), ("vault", "strongroom.vault.v1.Signer/Sign")
    imported, verify = ("vault", "vault import"), ("worker", "job verify")
    trace = tree(collector, answer, asked, signed, imported, verify, ("worker", "events publish"))
    assert {one.service for one in trace} == {"gateway", "vault", "verifier", "worker"}
    (root,) = (one for one in trace if not one.parent)
    assert (root.service, root.name, root.kind) == ("gateway", "POST /v1/bindings", "server")
    assert root.attributes["http.response.status_code"] == 201
    verified = ["gateway:server", "gateway:client", "verifier:server", "verifier:producer", "worker:consumer"]
    assert path(trace, *verify) == verified
    assert path(trace, *asked) == [*verified, "worker:client"]
    assert path(trace, *signed) == [*verified, "worker:client", "vault:server"]
    assert path(trace, *imported) == ["gateway:server", "gateway:client", "vault:server", "vault:client"]
    (job,) = (one for one in trace if one.name == "job verify")
    assert job.attributes["strongroom.binding"] == answer.json()["id"]
    assert {one.attributes["strongroom.exchange_code"] for one in trace if one.name == asked[1]} == {"00000"}


def test_an_execution_is_one_tree_down_to_the_exchange(driver: Driver, collector: Collector) -> None:
    bound = driver.bind(driver.account()).json()["id"]
    with driver.client() as rest:
        answer = rest.post(
            f"/v1/bindings/{bound}/requests",
            json={"method": "POST", "path": "/api/v3/trade/place-order", "body": ORDER},
        )
    assert answer.status_code == 200, answer.text
    placed, signed = ("verifier", "exchange POST /api/v3/trade/place-order"), ("vault", "vault sign")
    trace = tree(collector, answer, placed, signed)
    executed = ["gateway:server", "gateway:client", "verifier:server", "verifier:client"]
    assert path(trace, *placed) == executed
    assert path(trace, *signed) == [*executed, "vault:server", "vault:client"]
    (root,) = (one for one in trace if not one.parent)
    assert (root.attributes["http.route"], root.attributes["strongroom.binding"]) == (
        "/v1/bindings/{binding_id}/requests",
        bound,
    )


def test_a_trace_from_outside_goes_on_if_it_is_well_formed_and_recorded_if_it_says_so(
    driver: Driver, collector: Collector
) -> None:
    asked = {}
    for sent in (OUTSIDE, UNSAMPLED, OUTSIDE.upper(), "00-" + "0" * 32 + OUTSIDE[35:]):
        with driver.client(traceparent=sent) as rest:
            asked[sent] = rest.get("/v1/bindings")
    odd = [tree(collector, asked[sent]) for sent in list(asked)[2:]]
    own = tree(collector, asked[OUTSIDE])
    assert [one.parent for one in own if one.name == "GET /v1/bindings"] == [OUTSIDE.split("-")[2]]
    assert {one.trace for one in own} == {OUTSIDE.split("-")[1]}
    assert all(sum(not one.parent for one in trace) == 1 for trace in odd)
    assert collector.trace(asked[UNSAMPLED].headers["x-request-id"]) == []
    assert UNSAMPLED.split("-")[1] not in {one.trace for one in collector.spans()}


@pytest.mark.bar(9)
def test_no_secret_stands_in_any_span_of_a_session(driver: Driver, collector: Collector, receiver: Receiver) -> None:
    """Bind, fail, use, be refused, rotate, deliver, revoke; then look for everything that must stay inside."""
    uid = str(secrets.randbelow(10**9))
    first, second = driver.account(uid=uid), driver.account(uid=uid)
    wrong = {**driver.account(), "secret_key": secrets.token_hex(32)}
    hidden = [*first.values(), *second.values(), *wrong.values()]
    hidden += [tenant["token"] for tenant in driver.facts["tenants"]] + [driver.facts["admin_token"]]
    query, text = "canary-" + secrets.token_hex(8), "canary-" + secrets.token_hex(8)
    with driver.client() as rest:
        hook = rest.post("/v1/webhooks", json={"url": f"http://127.0.0.1:{receiver.server_port}/{text}"}).json()
        hidden += [hook["secret"], query, text]
        driver.faults({"kind": "echo", "times": 2})
        bound = driver.bind(first, label=text, subject=text).json()["id"]
        assert driver.bind(wrong).json()["status"] == "rejected"
        base = f"/v1/bindings/{bound}"
        driver.settled(bound)
        signed = rest.post(
            f"{base}/requests", json={"method": "GET", "path": "/api/v3/account/assets", "query": {"coin": query}}
        )
        refused = rest.post(f"{base}/requests", json={"method": "GET", "path": f"/api/v2/spot/{query}"})
        missing = rest.get(f"/v1/{text}", params={"coin": query})
        rotated = rest.post(
            f"{base}/credential", headers={"Prefer": "wait=30", "Idempotency-Key": text}, json={"credential": second}
        )
        assert (refused.status_code, missing.status_code, rotated.status_code) == (403, 404, 200), rotated.text
        eventually(lambda: receiver.statuses(bound, hook["secret"]))
        hidden += [headers["webhook-signature"].split(",")[1] for headers, _ in receiver.got]
        last = rest.delete(base)
        assert last.status_code == 204
    for answer in (signed, refused, missing, rotated, last):
        tree(collector, answer)
    eventually(lambda: any(one.name == "webhook deliver" for one in collector.spans()))
    needles: set[bytes] = set().union(*(spellings(value) for value in hidden))
    assert_absent(needles, {str(number): raw for number, raw in enumerate(collector.raw)})
    assert_bare(collector.spans())


def assert_bare(spans: list[Seen]) -> None:
    """Fail for an attribute beyond the list, for free text, and for what looks like a query, a key or a signature."""
    assert {name for one in spans for name in one.attributes} <= set(ATTRIBUTES.values())
    assert {one.words for one in spans} == {""}
    for one in spans:
        for name, value in [("name", one.name), *one.attributes.items()]:
            if name in IDS:
                assert IDS[name].fullmatch(value), name
            elif isinstance(value, str):
                assert not re.search(r"[?=&]|[A-Za-z0-9+]{25,}", value), value


def test_the_search_would_find_a_secret_in_a_span() -> None:
    value = secrets.token_hex(32)
    bare = Seen("vault", "vault login", "client", "", "", "", {"strongroom.operation": "login"}, failed=False, words="")
    assert_bare([bare])
    for name, attributes, words in (
        (f"GET /{value}", {}, ""),
        ("x", {"error.type": base64.b64encode(value.encode()).decode()}, ""),
        ("x", {"url.full": "/v1"}, ""),
        ("x", {}, "an exception's text"),
    ):
        with pytest.raises(AssertionError):
            assert_bare([Seen("vault", name, "client", "", "", "", attributes, failed=False, words=words)])
