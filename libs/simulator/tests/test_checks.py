"""Codes and their order, over HTTP, as docs/bitget.md 3.1 has them."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from simulator import Account, Exchange, build_app
from simulator.accounts import Scope
from simulator.calls import MANAGE_READ, Call, Private

INFO, ASSETS = "/api/v3/account/info", "/api/v3/account/assets"
CLASSIC_INFO, FUTURES = "/api/v2/spot/account/info", "/api/v2/mix/account/accounts?productType=USDT-FUTURES"

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]


async def test_a_well_signed_request_is_answered(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account())
    reply = await caller.call(INFO)
    assert (reply.status_code, reply.json()["code"], reply.json()["msg"]) == (200, "00000", "success")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ACCESS-KEY": None}, "40006"),
        ({"ACCESS-KEY": "a b"}, "40006"),
        ({"ACCESS-KEY": "bg_ffffffffffffffffffffffffffffffff"}, "40037"),
        ({"ACCESS-TIMESTAMP": None}, "40005"),
        ({"ACCESS-TIMESTAMP": "1700000000000.0"}, "40005"),
        ({"ACCESS-TIMESTAMP": "+1700000000000"}, "40005"),
        ({"ACCESS-TIMESTAMP": "01700000000000"}, "40005"),
        ({"ACCESS-TIMESTAMP": "1_700_000_000_000"}, "40005"),
        ({"ACCESS-TIMESTAMP": "1700000000"}, "40008"),
        ({"ACCESS-SIGN": None}, "40002"),
        ({"ACCESS-SIGN": "AAAA"}, "40009"),
        ({"ACCESS-PASSPHRASE": None}, "40011"),
        ({"ACCESS-PASSPHRASE": "passphrase01"}, "40012"),
        ({"paptrading": "1"}, "40099"),
        ({"paptrading": "yes"}, "40099"),
    ],
)
async def test_each_mistake_has_its_own_code(
    serve: Serve, make_account: Make, changed: dict[str, str | None], code: str
) -> None:
    _, caller = serve(make_account())
    reply = await caller.call(INFO, changed)
    assert (reply.status_code, reply.json()["code"]) == (400, code)
    assert reply.json().keys() == {"code", "msg", "requestTime", "data"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("ACCESS-KEY", "40006"),
        ("ACCESS-SIGN", "40009"),
        ("ACCESS-TIMESTAMP", "40005"),
        ("ACCESS-PASSPHRASE", "40012"),
    ],
)
async def test_a_header_sent_twice_is_refused_even_when_both_agree(
    serve: Serve, make_account: Make, header: str, code: str
) -> None:
    exchange, caller = serve(make_account())
    signed = caller.headers("GET", INFO)
    doubled = [*signed.items(), (header, signed[header])]
    transport = httpx.ASGITransport(build_app(exchange))
    async with httpx.AsyncClient(transport=transport, base_url="http://exchange.test") as http:
        assert (await http.get(INFO, headers=doubled)).json()["code"] == code


@pytest.mark.parametrize(
    ("offset", "code"), [(-30_000, "00000"), (30_000, "00000"), (-30_001, "40008"), (30_001, "40008")]
)
async def test_the_clock_window_is_thirty_seconds_each_way(
    serve: Serve, make_account: Make, clock: Any, offset: int, code: str
) -> None:
    exchange, caller = serve(make_account())
    exchange.clock = lambda: clock.ms + offset
    assert await caller.code(INFO) == code


async def test_the_mode_gate_comes_before_any_proof_of_the_credentials(serve: Serve, make_account: Make) -> None:
    wrong = {"ACCESS-SIGN": "AAAA", "ACCESS-PASSPHRASE": "wrong", "ACCESS-TIMESTAMP": "x"}
    _, unified = serve(make_account())
    _, classic = serve(make_account(mode="classic"))
    assert await unified.code(CLASSIC_INFO, wrong) == "40085"
    assert await classic.code(INFO, wrong) == "40084"
    assert await unified.code(CLASSIC_INFO, {**wrong, "ACCESS-KEY": "bg_unknown"}) == "40037"


@pytest.mark.parametrize("mode", ["hybrid", "upgrading", "switching"])
async def test_an_account_between_modes_answers_as_unified_and_says_so(
    serve: Serve, make_account: Make, mode: str
) -> None:
    _, caller = serve(make_account(mode=mode))
    assert (await caller.call("/api/v3/account/settings")).json()["data"]["accountMode"] == mode
    assert await caller.code(CLASSIC_INFO) == "40085"


async def test_the_address_is_checked_before_the_signature_and_told_in_the_message(
    serve: Serve, make_account: Make
) -> None:
    _, caller = serve(make_account(ips=["203.0.113.7"]))
    reply = await caller.call(INFO, {"ACCESS-SIGN": "AAAA"})
    assert reply.json()["code"] == "40018"
    assert "current request ip 198.51.100.4" in reply.json()["msg"]


async def test_a_listed_address_passes_and_seen_ip_stands_in_for_the_socket(serve: Serve, make_account: Make) -> None:
    _, listed = serve(make_account(ips=["198.51.100.4"]))
    _, pretending = serve(make_account(ips=["203.0.113.7"], seen_ip="203.0.113.7"))
    assert await listed.code(INFO) == "00000"
    assert await pretending.code(INFO) == "00000"


async def test_a_forwarding_header_does_not_change_the_callers_address(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(ips=["203.0.113.7"]))
    assert await caller.code(INFO, {"X-Forwarded-For": "203.0.113.7"}) == "40018"


async def test_the_signature_is_checked_before_the_passphrase(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account())
    assert await caller.code(INFO, {"ACCESS-SIGN": "AAAA", "ACCESS-PASSPHRASE": "wrong"}) == "40009"


async def test_a_demo_key_answers_only_with_the_flag(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(demo=True))
    assert await caller.code(INFO) == "00000"
    assert await caller.code(INFO, {"paptrading": None}) == "40099"


@pytest.mark.parametrize(
    ("changed", "target", "words"),
    [
        ({"permissions": ["uta_trade"]}, ASSETS, "Incorrect permissions, need uta manage read permissions"),
        ({"permissions": ["uta_mgt"]}, "/api/v3/position/current-position?category=SPOT", "uta trade read"),
        ({"mode": "classic", "authorities": ["stor"]}, FUTURES, "future order read"),
        ({"mode": "classic", "authorities": ["coor"]}, CLASSIC_INFO, "spot order read"),
    ],
)
async def test_a_missing_right_is_named(
    serve: Serve, make_account: Make, changed: dict[str, Any], target: str, words: str
) -> None:
    _, caller = serve(make_account(**changed))
    body = (await caller.call(target)).json()
    assert body["code"] == "40014"
    assert words in body["msg"]


async def test_account_info_needs_no_right_on_a_unified_account(serve: Serve, make_account: Make) -> None:
    _, caller = serve(make_account(permissions=[]))
    assert await caller.code(INFO) == "00000"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/api/spot/v1/account/assets", 400, "30032"),
        ("GET", "/api/v3/account/nothing", 404, "40404"),
        ("GET", "/api/v3/account/info/", 404, "40404"),
        ("GET", "/api/v3/account%2Finfo", 404, "40404"),
        ("POST", INFO, 405, "405"),
        ("DELETE", INFO, 405, "405"),
        ("PUT", INFO, 405, "405"),
    ],
)
async def test_what_is_not_served_is_refused_before_anything_else(
    serve: Serve, make_account: Make, method: str, target: str, status: int, code: str
) -> None:
    exchange, _ = serve(make_account())
    transport = httpx.ASGITransport(build_app(exchange))
    async with httpx.AsyncClient(transport=transport, base_url="http://exchange.test") as http:
        reply = await http.request(method, target)
    assert (reply.status_code, reply.json()["code"]) == (status, code)


async def test_public_time_needs_no_key_in_either_mode(serve: Serve, make_account: Make, clock: Any) -> None:
    _, caller = serve(make_account())
    nothing = dict.fromkeys(("ACCESS-KEY", "ACCESS-SIGN", "ACCESS-TIMESTAMP", "ACCESS-PASSPHRASE"))
    for path in ("/api/v2/public/time", "/api/v3/market/time"):
        assert (await caller.call(path, nothing)).json()["data"] == {"serverTime": str(clock.ms)}


async def test_an_rsa_key_signs_in_with_pkcs1v15(
    serve: Serve, make_account: Make, clock: Any, vectors: dict[str, Any]
) -> None:
    account = make_account(mode="classic", public_key_pem=vectors["rsa"]["public_key_pem"])
    exchange, _ = serve(account)
    clock.ms = 1_700_000_000_012
    headers = {
        "ACCESS-KEY": account.api_key,
        "ACCESS-SIGN": vectors["rsa"]["signature_base64"],
        "ACCESS-TIMESTAMP": "1700000000012",
        "ACCESS-PASSPHRASE": account.passphrase,
    }
    async with httpx.AsyncClient(transport=httpx.ASGITransport(build_app(exchange)), base_url="http://x.test") as http:
        assert (await http.get(FUTURES, headers=headers)).json()["code"] == "00000"


@pytest.mark.parametrize("number", range(12))
async def test_the_published_requests_pass_over_http(
    serve: Serve, make_account: Make, clock: Any, vectors: dict[str, Any], number: int
) -> None:
    vector = vectors["vectors"][number]
    unified = vector["path"].startswith("/api/v3/")
    account = make_account(mode="unified" if unified else "classic")
    table = {(vector["method"], vector["path"].encode()): Private(5, None, _echo)}
    exchange, _ = serve(account)
    clock.ms = int(vector["timestamp"])
    target = vector["path"] + ("?" + vector["query_wire"] if vector["query_wire"] else "")
    headers = {
        "ACCESS-KEY": account.api_key,
        "ACCESS-SIGN": vector["signature"],
        "ACCESS-TIMESTAMP": vector["timestamp"],
        "ACCESS-PASSPHRASE": account.passphrase,
        "Content-Type": "application/json",
    }
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(exchange, table)), base_url="http://x.test"
    ) as http:
        reply = await http.request(vector["method"], target, headers=headers, content=vector["body"].encode())
    assert reply.json()["code"] == "00000"
    assert reply.json()["data"] == {"params": dict(_pairs(vector["query_raw"])), "body": vector["body"]}


async def test_a_post_needs_json_and_signs_its_query(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    table = {("POST", b"/api/v3/account/new"): Private(5, MANAGE_READ, _echo)}
    signed = caller.headers("POST", "/api/v3/account/new", "{}")
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_app(exchange, table)), base_url="http://x.test"
    ) as http:
        plain = await http.post("/api/v3/account/new", headers=signed, content=b"{}")
        as_json = {**signed, "Content-Type": "application/json; charset=utf-8"}
        good = await http.post("/api/v3/account/new", headers=as_json, content=b"{}")
        queried = await http.post("/api/v3/account/new?a=1", headers=as_json, content=b"{}")
        large = await http.post("/api/v3/account/new", headers=as_json, content=b" " * (1024 * 1024 + 1))
    codes = [reply.json()["code"] for reply in (plain, good, queried, large)]
    assert codes == ["40007", "00000", "40009", "413"]


async def test_a_read_only_unified_key_may_not_write(serve: Serve, make_account: Make) -> None:
    table = {
        ("GET", b"/api/v3/account/new"): Private(
            5, Scope("uta manage write", frozenset(("uta_mgt",)), write=True), _echo
        )
    }
    _, reader = serve(make_account(perm_type="read_only"), endpoints=table)
    _, writer = serve(make_account(), endpoints=table)
    assert await reader.code("/api/v3/account/new") == "40014"
    assert await writer.code("/api/v3/account/new") == "00000"


def _echo(call: Call) -> dict[str, Any]:
    return {"params": dict(call.params), "body": call.body.decode()}


def _pairs(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (pair.partition("=") for pair in query.split("&") if pair)]
