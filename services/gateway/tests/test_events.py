"""The event streams: complete, resumable, bounded, and ended when they should be."""

import contextlib
import hashlib
import json
import random
import socket
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import httpx
import pytest
import redis
from common.clock import timestamp
from common.events import epoch_key, stream_key
from common.redis import CONNECTIONS
from gateway import event, schemas, streams
from strongroom.types.v1 import binding_pb2 as pb
from strongroom.verifier.v1 import verification_service_pb2 as verification

BINDING = "b" * 32


@pytest.fixture
def until():
    def wait(condition, seconds=10):
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.01)
        return result

    return wait


@pytest.fixture
def events(valkey):
    """Publish as the verifier does: `publish(tenant, binding_id, revision)`; `flush()` empties Redis."""
    store_client = redis.Redis.from_url(valkey.url)

    def publish(tenant, binding_id, revision, codes=("ip_list_absent",), changes=()):
        store_client.set(epoch_key(tenant), hashlib.sha256(str(time.time()).encode()).hexdigest()[:8], nx=True)
        epoch = store_client.get(epoch_key(tenant))
        event = verification.Event(
            binding_id=binding_id,
            status=pb.STATUS_CONNECTED,
            revision=revision,
            occurred_at=timestamp(1_795_000_000),
            finding_codes=codes,
            changes=changes,
        )
        entry = store_client.xadd(stream_key(tenant), {"epoch": epoch, "event": event.SerializeToString()})
        return f"{epoch.decode()}-{entry.decode()}"

    yield SimpleNamespace(publish=publish, flush=store_client.flushall)
    store_client.close()


class Reader(threading.Thread):
    """Follow one stream in the background: `lines`, parsed `events`, and whether it has ended."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer, self.text, self.ended = answer, "", False
        self.start()

    def run(self):
        try:
            for part in self.answer.iter_text():
                self.text += part
        except httpx.TransportError:
            pass
        self.ended = True

    @property
    def events(self):
        return [_parsed(block) for block in self.text.split("\n\n")[:-1] if "event:" in block]

    @property
    def revisions(self):
        return [event["data"].get("revision", "reset") for event in self.events]


def _parsed(block):
    fields = dict(line.split(": ", 1) for line in block.splitlines())
    return {**fields, "data": json.loads(fields["data"])}


def _opened(answer):
    if answer.status_code == 429:
        answer.read()
        return None
    assert answer.status_code == 200, answer.read()
    return answer


@pytest.fixture
def follow(client, until):
    """Open a stream, waiting for a place where one has just been given up; it is closed after the `with`."""

    @contextmanager
    def opened(path="/v1/events", after=None):
        headers = {} if after is None else {"Last-Event-ID": after}
        request = client.build_request("GET", path, headers=headers)
        answer = until(lambda: _opened(client.send(request, stream=True)))
        yield Reader(answer)
        answer.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    return opened


def test_an_event_has_the_fields_of_the_contract(follow, events, tenant, until):
    with follow() as reader:
        identifier = events.publish(tenant, BINDING, 3)
        (event,) = until(lambda: reader.events)
        assert reader.text.startswith("retry: 2000\n\n")
        assert reader.answer.headers["content-type"].startswith("text/event-stream")
        assert reader.answer.headers["cache-control"] == "no-store"
    assert (event["id"], event["event"]) == (identifier, "binding.status")
    assert event["data"] == {
        "id": identifier,
        "type": "binding.status",
        "binding_id": BINDING,
        "status": "connected",
        "reason": None,
        "stale": False,
        "findings": ["ip_list_absent"],
        "changes": [],
        "revision": 3,
        "occurred_at": "2026-11-18T11:06:40.000Z",
    }


CHANGES = [
    ("account.keys_bound", ["1"], ["2"], 1, 2),
    ("account.mode", [], ["unified"], None, "unified"),
    ("environment", ["live"], [], "live", None),
    ("findings", ["ip_list_absent"], [], ["ip_list_absent"], []),
    ("ip_whitelist.addresses", [], ["203.0.113.7"], [], ["203.0.113.7"]),
    ("ip_whitelist.bound", [], ["true"], None, True),
    (
        "ip_whitelist.missing",
        ["203.0.113.7", "203.0.113.8"],
        ["203.0.113.8"],
        ["203.0.113.7", "203.0.113.8"],
        ["203.0.113.8"],
    ),
    ("permissions.tokens", ["uta_trade"], ["uta_mgt", "uta_trade"], ["uta_trade"], ["uta_mgt", "uta_trade"]),
    ("permissions.withdraw", ["no"], ["yes"], "no", "yes"),
    ("permissions.read", [], ["yes"], "unknown", "yes"),
    ("reason", [], ["policy_violation"], None, "policy_violation"),
    ("stale", ["true"], ["false"], True, False),
    ("status", ["connected"], ["limited"], "connected", "limited"),
    ("strategies", ["spot_trading"], [], ["spot_trading"], []),
    ("unknown_tokens", [], ["zz"], [], ["zz"]),
    ("yet.unknown", ["a"], ["b", "c"], "a", ["b", "c"]),
]


def test_an_event_tells_each_change_as_the_resource_shows_the_field(follow, events, tenant, until):
    changes = [pb.Change(field=field, before=before, after=after) for field, before, after, *_ in CHANGES]
    changes.append(pb.Change(field="permissions.transfer", after=["unknown"]))  # which is how it was shown before
    with follow() as reader:
        events.publish(tenant, BINDING, 3, changes=changes)
        (event,) = until(lambda: reader.events)
    wanted = [
        {"field": field, "before": told_before, "after": told_after} for field, _, _, told_before, told_after in CHANGES
    ]
    assert event["data"]["changes"] == wanted
    assert schemas.StatusEvent.model_validate(event["data"], strict=True).model_dump() == event["data"]


@pytest.mark.parametrize("field", sorted(event.LISTS | event.BOOLEANS | event.NUMBERS))
def test_each_field_of_a_change_is_one_of_the_resource(client, world, tenant, field):
    replaced = pb.Rotation(state=pb.ROTATION_STATE_VERIFYING)
    shown = client.get(f"/v1/bindings/{world.put(tenant, rotation=replaced).id}").json()
    for name in field.split("."):
        shown = shown[name]


def test_an_event_after_the_answer_has_begun_is_never_missed(client, follow, events, until):
    """The tenant's very first event is the hardest: there is no stream to remember a position in."""
    for revision in range(30):
        with follow() as reader:
            events.publish(_tenant(client), BINDING, revision)
            assert until(lambda: reader.revisions) == [revision]


def _tenant(client):
    import base64

    payload = client.headers["authorization"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))["tenant"]


def test_a_stream_that_is_cut_at_random_loses_and_doubles_nothing(follow, events, tenant, until):
    produced, stop = 0, threading.Event()

    def produce():
        nonlocal produced
        while not stop.is_set():
            events.publish(tenant, BINDING, produced + 1)
            produced += 1
            time.sleep(random.uniform(0, 0.004))

    first = events.publish(tenant, BINDING, 0)
    producer = threading.Thread(target=produce)
    producer.start()
    seen, last = [], first
    for _ in range(50):
        with follow(after=last) as reader:
            time.sleep(random.uniform(0, 0.06))
            got = reader.events
        seen += [event["data"]["revision"] for event in got]
        last = got[-1]["id"] if got else last
    stop.set()
    producer.join()
    with follow(after=last) as reader:
        until(lambda: len(seen) + len(reader.events) >= produced)
        seen += reader.revisions
    assert seen == list(range(1, produced + 1))
    assert produced > 50


def test_readers_share_a_feed_and_each_gets_everything_once(follow, events, tenant, until):
    first = events.publish(tenant, BINDING, 0)
    with follow() as one, follow(after=first) as two:
        for revision in range(1, 200):
            events.publish(tenant, BINDING, revision)
        until(lambda: len(one.events) >= 199 and len(two.events) >= 199)
        assert one.revisions == two.revisions == list(range(1, 200))


def test_history_that_is_gone_is_told_by_a_reset(follow, events, tenant, until):
    last = events.publish(tenant, BINDING, 1)
    events.flush()
    with follow(after=last) as reader:
        until(lambda: reader.events)
        events.publish(tenant, BINDING, 2)
        until(lambda: len(reader.events) == 2)
        assert reader.events[0] == {"event": "reset", "data": {"reason": "history_gone"}}
        assert reader.revisions == ["reset", 2]


def test_emptying_redis_under_an_open_stream_is_told_by_a_reset(follow, events, tenant, until):
    events.publish(tenant, BINDING, 1)
    with follow() as reader:
        events.publish(tenant, BINDING, 2)
        until(lambda: reader.revisions == [2])
        events.flush()
        events.publish(tenant, BINDING, 3)
        assert until(lambda: len(reader.events) >= 3 and reader.revisions) == [2, "reset", 3]


def test_a_tenant_sees_its_own_events_only(follow, events, tenant, until):
    with follow() as reader:
        events.publish("x" * 26, BINDING, 1)
        events.publish(tenant, BINDING, 2)
        assert until(lambda: reader.revisions) == [2]


def test_a_foreign_event_id_gives_no_foreign_events(follow, events, tenant, until):
    foreign = events.publish("x" * 26, BINDING, 1)
    events.publish("x" * 26, BINDING, 2)
    events.publish(tenant, BINDING, 7)
    with follow(after=foreign) as reader:
        assert until(lambda: reader.revisions) == ["reset"]


def test_the_stream_of_a_binding_has_only_its_events(follow, events, tenant, world, until):
    record = world.put(tenant)
    with follow(f"/v1/bindings/{record.id}/events") as reader:
        events.publish(tenant, BINDING, 1)
        events.publish(tenant, record.id, 2)
        assert until(lambda: reader.revisions) == [2]


@pytest.mark.parametrize("after", ["x", "0-0", "00000000-1", "00000000-1-1x", "*", "a" * 500, "ffffffff-$-1"])
def test_a_malformed_last_event_id_is_refused(client, after):
    answer = client.get("/v1/events", headers={"Last-Event-ID": after})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "Last-Event-ID")


def test_a_tenant_has_a_limited_number_of_streams_and_gets_them_back(client, follow, served, until):
    with follow(), follow(), follow():
        answer = client.get("/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_streams")
        assert answer.headers["retry-after"] == "10"
    with follow() as reader:
        assert reader.answer.status_code == 200


def test_all_tenants_together_have_a_limited_number_of_streams(serve, issuer):
    few = serve(streams="2")
    with contextlib.ExitStack() as opened:
        told = []
        for name in "pqr":
            headers = {"Authorization": f"Bearer {issuer.issue(name * 26, ['bindings:read'])}"}
            answer = opened.enter_context(httpx.stream("GET", f"{few.url}/v1/events", headers=headers, timeout=10))
            told.append(answer.status_code)
        assert told == [200, 200, 503]
        assert (json.loads(answer.read())["code"], answer.headers["retry-after"]) == ("events_unavailable", "10")


def test_streams_of_very_many_tenants_leave_redis_to_all_other_calls(served, issuer, client):
    """Each tenant with a stream keeps a connection to Redis busy."""
    with contextlib.ExitStack() as opened:
        crowd = opened.enter_context(httpx.Client(base_url=served.url, timeout=20, limits=httpx.Limits()))
        for number in range(CONNECTIONS + 10):
            headers = {"Authorization": f"Bearer {issuer.issue(f'crowd{number:021}', ['bindings:read'])}"}
            answer = opened.enter_context(crowd.stream("GET", "/v1/events", headers=headers))
            assert answer.status_code == 200
        assert served.gateway._streams.count >= CONNECTIONS + 10
        assert client.get("/v1/bindings").headers["ratelimit-policy"]


def test_clients_that_vanish_leave_no_stream_behind(client, served, until):
    until(lambda: served.gateway._streams.count == 0)
    request = f"GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: {client.headers['authorization']}\r\n\r\n".encode()
    for _ in range(40):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(request)
    until(lambda: served.gateway._streams.count == 0)


def test_a_client_that_does_not_read_loses_its_stream(monkeypatch, client, served, events, tenant, until):
    monkeypatch.setattr(streams, "SEND_S", 0.3)
    request = f"GET /v1/events HTTP/1.1\r\nHost: a\r\nAuthorization: {client.headers['authorization']}\r\n\r\n".encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(request)
        until(lambda: served.gateway._streams.count == 1)
        for revision in range(400):
            events.publish(tenant, BINDING, revision, codes=["x" * 100] * 300)
        until(lambda: served.gateway._streams.count == 0)


def test_a_stream_ends_when_its_token_does(served, issuer, tenant):
    headers = {"Authorization": f"Bearer {issuer.issue(tenant, ttl=2)}"}
    started = time.monotonic()
    answer = httpx.get(f"{served.url}/v1/events", headers=headers, timeout=10)
    assert answer.text == "retry: 2000\n\nretry: 2000\n\n"
    assert time.monotonic() - started < 4


def test_without_redis_events_are_unavailable_and_the_rest_goes_on(serve, issuer, tenant, body):
    alone = serve(redis_url="redis://127.0.0.1:1/0")
    with httpx.Client(base_url=alone.url, headers={"Authorization": f"Bearer {issuer.issue(tenant)}"}) as client:
        for _ in range(2):
            answer = client.get("/v1/events")
            assert (answer.status_code, answer.json()["code"]) == (503, "events_unavailable")
            assert answer.headers["retry-after"] == "2"
        assert client.post("/v1/bindings", json=body).status_code == 202
    assert httpx.get(f"{alone.ops_url}/readyz").json()["dependencies"]["redis"] == "unreachable"


def test_a_silent_stream_has_a_heartbeat(monkeypatch, follow, until):
    assert streams.HEARTBEAT_S == 15
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.1)
    with follow() as reader:
        until(lambda: reader.text.count(":\n\n") >= 2)
