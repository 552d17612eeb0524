"""Secrets of a whole flow, searched for wherever bytes of ours come to rest or go out."""

import base64
import json
import secrets
from urllib.parse import quote

import httpx
import pytest
import redis

from tests.integration.conftest import Driver
from tests.integration.containers import Contained


def spellings(value: str) -> set[bytes]:
    """Return the ways in which a value could stand somewhere: plain, base64 (each offset), hex, URL-encoded, JSON."""
    raw = value.encode()
    found = {raw, raw.hex().encode(), quote(value, safe="").encode(), json.dumps(value)[1:-1].encode()}
    for shift in range(3):
        coded = base64.b64encode(b"\0" * shift + raw)
        found.add(coded[4 if shift else 0 : len(coded) - 4])
    return found


def dump(server: redis.Redis) -> bytes:
    """Return every value of Redis, and what its slow log kept of commands."""
    parts: list[object] = [server.slowlog_get(1000)]
    for key in server.scan_iter(count=1000):
        kind = server.type(key)
        reader = {
            b"string": server.get,
            b"hash": server.hgetall,
            b"stream": server.xrange,
            b"set": server.smembers,
            b"list": lambda name: server.lrange(name, 0, -1),
            b"zset": lambda name: server.zrange(name, 0, -1, withscores=True),
        }.get(kind)
        parts += [key, reader(key) if reader else kind]  # a key may have gone since it was listed
    return repr(parts).encode()


@pytest.mark.bar(9)
def test_no_secret_comes_to_rest_or_goes_out_anywhere(driver: Driver) -> None:
    answers: list[bytes] = []
    needles: set[bytes] = set()
    driver.faults({"kind": "echo", "times": 3})
    with redis.Redis.from_url(driver.facts["redis_url"]) as server:
        server.config_set("slowlog-log-slower-than", 0)
        for like in ("unified-trader", "classic-trader", "unified-other-ip"):
            credential = driver.account(like)
            for name in ("secret_key", "passphrase"):
                needles |= spellings(credential[name])
            answer = driver.bind(credential)
            answers += [answer.content, repr(answer.headers).encode()]
            with driver.client() as http:
                found = answer.json()["id"]
                for method, path in (("POST", "/verify"), ("GET", ""), ("GET", "/balances"), ("DELETE", "")):
                    got = http.request(method, f"/v1/bindings/{found}{path}")
                    answers += [got.content, repr(got.headers).encode()]
        wrong = {
            "api_key": "bg_" + secrets.token_hex(16),
            "secret_key": secrets.token_hex(8),
            "passphrase": "canaryPass",
        }
        needles |= spellings(wrong["secret_key"])
        answers.append(driver.bind(wrong).content)
        server.config_set("slowlog-log-slower-than", -1)
        stored = dump(server)
    metrics = httpx.get(f"http://{driver.child('gateway').health_address}/metrics", trust_env=False).content
    assert b"gateway_requests_total" in metrics
    places = {"answers": b"".join(answers), "redis": stored, "metrics": metrics, **files(driver)}
    assert_absent(needles, places)


def files(driver: Driver) -> dict[str, bytes]:
    """Return what came to rest: logs, the audit trails (ours and the server's), Redis's append-only file."""
    found, home = {}, driver.stack.home
    for path in home.rglob("*"):
        inside = path.relative_to(home).parts
        if (path.is_file() and inside[0] in ("logs", "audit", "valkey")) or path.name == "audit.log":
            found["/".join(inside)] = path.read_bytes()
    for child in driver.stack.children:
        if isinstance(child, Contained):
            found |= child.written()
    for kind in ("logs/", "audit/", "valkey"):
        assert any(name.startswith(kind) for name in found)
    return found


def assert_absent(needles: set[bytes], haystacks: dict[str, bytes]) -> None:
    hits = [name for name, content in haystacks.items() if any(needle in content for needle in needles)]
    assert hits == []


def test_the_search_would_find_a_secret_in_any_spelling() -> None:
    value = "Secret/with+odd chars"
    for text in (value, base64.b64encode(b"xy" + value.encode() + b"z").decode(), value.encode().hex()):
        assert any(needle in f"before {text} after".encode() for needle in spellings(value))


def test_the_public_port_shows_no_map_of_itself(driver: Driver) -> None:
    with httpx.Client(base_url=driver.facts["gateway_url"], trust_env=False) as http:
        for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/livez", "/readyz", "/debug"):
            assert http.get(path).status_code == 404
        assert http.request("TRACE", "/v1/bindings").status_code in (404, 405)


@pytest.mark.bar(17)
def test_a_secret_in_the_query_is_refused_and_not_logged(driver: Driver) -> None:
    with driver.client() as http:
        answer = http.get("/v1/bindings", params={"secret_key": "canaryInTheQuery"})
    assert answer.status_code == 400
    assert_absent({b"canaryInTheQuery"}, {"answer": answer.content, **files(driver)})
