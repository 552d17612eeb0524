"""The control port, and what a change does to the next request."""

import base64
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from simulator import Account, Exchange, build_control

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

INFO = "/api/v3/account/info"


@pytest.fixture
async def sides(serve: Serve, make_account: Make) -> AsyncIterator[tuple[Any, httpx.AsyncClient, Account]]:
    account = make_account(balances={"spot": {"USDT": "5"}})
    exchange, caller = serve(account)
    transport = httpx.ASGITransport(build_control(exchange))
    async with httpx.AsyncClient(transport=transport, base_url="http://control.test") as control:
        yield caller, control, account


Sides = tuple[Any, httpx.AsyncClient, Account]


async def test_a_deleted_account_is_an_unknown_key(sides: Sides) -> None:
    caller, control, account = sides
    assert (await control.delete(f"/accounts/{account.api_key}")).status_code == 204
    assert await caller.code(INFO) == "40037"
    assert (await control.delete(f"/accounts/{account.api_key}")).status_code == 404


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"permissions": ["uta_trade"]}, "40014"),
        ({"ips": ["203.0.113.1"]}, "40018"),
        ({"mode": "classic"}, "40084"),
        ({"passphrase": "Another01"}, "40012"),
        ({"secret_key": "f" * 64}, "40009"),
        ({"demo": True}, "40099"),
    ],
)
async def test_a_changed_account_counts_for_the_next_request(sides: Sides, change: dict[str, Any], code: str) -> None:
    caller, control, account = sides
    assert await caller.code("/api/v3/account/assets") == "00000"
    assert (await control.put(f"/accounts/{account.api_key}", json=change)).status_code == 200
    assert await caller.code("/api/v3/account/assets") == code


async def test_a_change_keeps_the_fields_it_does_not_name(sides: Sides) -> None:
    caller, control, account = sides
    changed = await control.put(f"/accounts/{account.api_key}", json={"balances": {"spot": {"USDT": "9"}}})
    assert changed.json()["permissions"] == ["uta_mgt", "uta_trade"]
    assert (await caller.call("/api/v3/account/assets")).json()["data"]["usdtEquity"] == "9"


async def test_an_unknown_key_is_created_from_a_whole_account(sides: Sides) -> None:
    caller, control, _ = sides
    assert (await control.put("/accounts/bg_new", json={"name": "new"})).status_code == 422
    whole = {"name": "new", "passphrase": "Passphrase01", "secret_key": "a" * 64, "uid": "9"}
    assert (await control.put("/accounts/bg_new", json=whole)).status_code == 201
    assert await caller.code(INFO, {"ACCESS-KEY": "bg_new"}) == "40009"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"colour":"red"}', b'{"api_key":"bg_other"}', b'{"ips":["nowhere"]}'])
async def test_a_wrong_change_is_refused_and_changes_nothing(sides: Sides, body: bytes) -> None:
    caller, control, account = sides
    assert (await control.put(f"/accounts/{account.api_key}", content=body)).status_code == 422
    assert await caller.code(INFO) == "00000"


async def test_accounts_hide_their_credentials_unless_asked(sides: Sides) -> None:
    _, control, account = sides
    for path in ("/accounts", f"/accounts/{account.api_key}"):
        closed, opened = (await control.get(path)).text, (await control.get(path + "?credentials=1")).text
        for secret in (account.secret_key, account.passphrase):
            assert secret not in closed
            assert secret in opened


async def test_what_was_shown_can_be_written_back_without_losing_the_credentials(sides: Sides) -> None:
    caller, control, account = sides
    shown = (await control.get(f"/accounts/{account.api_key}")).json()
    assert (await control.put(f"/accounts/{account.api_key}", json=shown)).status_code == 200
    assert await caller.code(INFO) == "00000"


async def test_faults_are_set_shown_and_removed(sides: Sides) -> None:
    caller, control, _ = sides
    shown = await control.put("/faults", json={"faults": [{"kind": "storm", "path": INFO}]})
    assert shown.json() == (await control.get("/faults")).json()
    assert await caller.code(INFO) == "429"
    assert (await control.delete("/faults")).status_code == 204
    assert await caller.code(INFO) == "00000"


@pytest.mark.parametrize("body", [{}, {"faults": [{"kind": "rain"}]}, {"faults": "storm"}, {"fault": []}])
async def test_wrong_faults_are_refused(sides: Sides, body: dict[str, Any]) -> None:
    _, control, _ = sides
    assert (await control.put("/faults", json=body)).status_code == 422


async def test_the_log_tells_what_was_received_and_answered(sides: Sides) -> None:
    caller, control, account = sides
    await caller.call(INFO)
    await caller.call("/api/v3/account/settings?a=%241", {"ACCESS-PASSPHRASE": "wrong-canary", "X-Mark": "m"})
    log = (await control.get("/requests")).json()["requests"]
    assert [(item["method"], item["target"], item["status"], item["account"]) for item in log] == [
        ("GET", INFO, 200, "one"),
        ("GET", "/api/v3/account/settings?a=%241", 400, "one"),
    ]
    assert log[0]["code"] == "00000"
    assert ["x-mark", "m"] in log[1]["headers"]
    assert ["access-key", account.api_key] in log[1]["headers"]


async def test_the_log_hides_passphrase_and_signature_unless_asked(sides: Sides) -> None:
    caller, control, account = sides
    await caller.call(INFO)
    signature = caller.headers("GET", INFO)["ACCESS-SIGN"]
    closed, opened = (await control.get("/requests")).text, (await control.get("/requests?credentials=1")).json()
    assert account.passphrase not in closed
    assert signature not in closed
    values = [value for _, value in opened["requests"][0]["headers"]]
    assert account.passphrase in values
    assert signature in values


async def test_the_log_can_be_read_from_a_number_on_and_emptied(sides: Sides) -> None:
    caller, control, _ = sides
    for _ in range(3):
        await caller.call(INFO)
    later = (await control.get("/requests?after=2")).json()
    assert ([item["number"] for item in later["requests"]], later["received"]) == ([3], 3)
    assert (await control.delete("/requests")).status_code == 204
    assert (await control.get("/requests")).json() == {"requests": [], "received": 3}
    assert (await control.get("/requests?after=x")).status_code == 422


async def test_reset_returns_to_the_start(sides: Sides) -> None:
    caller, control, account = sides
    await control.delete(f"/accounts/{account.api_key}")
    await control.put("/faults", json={"faults": [{"kind": "storm"}]})
    await control.put("/limits", json={"enforced": False})
    assert (await control.post("/reset")).status_code == 204
    assert [await caller.code(INFO) for _ in range(6)] == ["00000"] * 5 + ["429"]


async def test_health_answers(sides: Sides) -> None:
    _, control, _ = sides
    assert (await control.get("/healthz")).json() == {"status": "ok"}


async def test_faults_can_be_added_and_those_of_one_account_removed(sides: Sides) -> None:
    caller, control, account = sides
    await control.put("/faults", json={"faults": [{"kind": "storm", "account": account.api_key}]})
    await control.post("/faults", json={"faults": [{"kind": "error", "account": "bg_other"}]})
    assert await caller.code(INFO) == "429"
    assert (await control.delete(f"/faults?account={account.api_key}")).status_code == 204
    assert await caller.code(INFO) == "00000"
    assert [fault["account"] for fault in (await control.get("/faults")).json()["faults"]] == ["bg_other"]


async def test_answers_are_counted_by_code_and_limits_by_breach(sides: Sides, clock: Any) -> None:
    caller, control, _ = sides
    for _ in range(6):
        await caller.call(INFO)
    await caller.call(INFO, {"ACCESS-PASSPHRASE": "wrong"})
    stats = (await control.get("/stats")).json()
    assert (stats["received"], stats["codes"]) == (7, {"00000": 5, "429": 1, "40012": 1})
    assert stats["limits"] == {
        "refused_by_endpoint": 1,
        "refused_by_address": 0,
        "over_in_a_sliding_second": 1,
        "busiest_minute": {"198.51.100.4": 7},
    }
    assert (await control.delete("/stats")).status_code == 204
    emptied = (await control.get("/stats")).json()
    assert (emptied["codes"], emptied["limits"]["busiest_minute"]) == ({}, {})


async def test_calls_around_the_turn_of_a_second_are_within_the_limit_and_seen(sides: Sides, clock: Any) -> None:
    caller, control, _ = sides
    clock.ms += 900
    codes = [await caller.code(INFO) for _ in range(4)]
    clock.ms += 200
    codes += [await caller.code(INFO) for _ in range(4)]
    assert codes == ["00000"] * 8
    assert (await control.get("/stats")).json()["limits"]["over_in_a_sliding_second"] == 3


async def test_requests_are_counted_by_method_and_path_and_their_bodies_kept_byte_for_byte(sides: Sides) -> None:
    caller, control, _ = sides
    await caller.call(INFO + "?a=1")
    await caller.call(INFO)
    await caller.post("/api/v3/account/nothing", {"text": "日本"})
    assert (await control.get("/stats")).json()["arrived"] == {f"GET {INFO}": 2, "POST /api/v3/account/nothing": 1}
    last = (await control.get("/requests")).json()["requests"][-1]
    assert base64.b64decode(last["body_base64"]) == b'{"text": "\\u65e5\\u672c"}'
    assert (await control.delete("/stats")).status_code == 204
    assert (await control.get("/stats")).json()["arrived"] == {}


async def test_balances_that_are_written_stand_whatever_was_traded_before(serve: Serve, make_account: Make) -> None:
    account = make_account(mode="classic", balances={"spot": {"USDT": "1000"}})
    exchange, caller = serve(account)
    order = {"symbol": "BTCUSDT", "side": "buy", "orderType": "market", "size": "650"}
    await caller.ask("/api/v2/spot/trade/place-order", order)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(build_control(exchange)), base_url="http://c"
    ) as control:
        shown = (await control.get(f"/accounts/{account.api_key}")).json()
        assert shown["balances"]["spot"]["BTC"]["available"] == "0.009990000"
        again = (await control.put(f"/accounts/{account.api_key}", json={"balances": shown["balances"]})).json()
    assert again == shown
    rows = await caller.ask("/api/v2/spot/account/assets")
    assert {row["coin"]: row["available"] for row in rows} == {"USDT": "350", "BTC": "0.00999"}
