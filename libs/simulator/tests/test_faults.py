"""Faults as a caller meets them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from simulator import Account, Exchange, Fault

Make = Callable[..., Account]
Serve = Callable[..., tuple[Exchange, Any]]

INFO = "/api/v3/account/info"


async def test_an_error_has_the_status_code_and_text_that_were_asked_for(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("error")])
    plain = await caller.call(INFO)
    exchange.faults.replace([Fault("error", status=400, code="40013", msg="User status is abnormal")])
    chosen = await caller.call(INFO)
    assert (plain.status_code, plain.json()["code"]) == (500, "40725")
    assert (chosen.status_code, chosen.json()["code"], chosen.json()["msg"]) == (
        400,
        "40013",
        "User status is abnormal",
    )


async def test_html_comes_with_a_gateway_status(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("html", status=503)])
    reply = await caller.call(INFO)
    assert (reply.status_code, reply.headers["content-type"]) == (503, "text/html")
    assert reply.text.startswith("<html>")


async def test_cut_json_keeps_the_status_and_does_not_parse(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("cut_json")])
    reply = await caller.call(INFO)
    assert reply.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        reply.json()


async def test_an_empty_body_comes_with_200(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("empty")])
    reply = await caller.call(INFO, {"ACCESS-SIGN": "AAAA"})
    assert (reply.status_code, reply.content) == (200, b"")


async def test_an_answer_can_be_very_long_or_very_deep(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("long", times=1), Fault("deep")])
    assert len((await caller.call(INFO)).content) > 64 << 20
    assert (await caller.call(INFO)).text.count("[") == 10_000


async def test_a_storm_answers_429_to_everything(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("storm")])
    reply = await caller.call(INFO)
    assert (reply.status_code, reply.json()["code"]) == (429, "429")


async def test_an_evil_exchange_repeats_the_credentials_it_was_sent(serve: Serve, make_account: Make) -> None:
    account = make_account()
    exchange, caller = serve(account)
    exchange.faults.replace([Fault("echo", code="40014")])
    body = (await caller.call(INFO)).json()
    signed = caller.headers("GET", INFO)
    assert body["code"] == "40014"
    assert all(text in body["msg"] for text in (account.api_key, account.passphrase, signed["ACCESS-SIGN"]))


@pytest.mark.parametrize(("seconds", "code"), [(29, "00000"), (-29, "00000"), (31, "40008"), (-31, "40008")])
async def test_a_skewed_clock_moves_the_window_and_the_time_told(
    serve: Serve, make_account: Make, clock: Any, seconds: int, code: str
) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("clock", seconds=seconds)])
    skewed = clock.ms + seconds * 1000
    told = (await caller.call("/api/v2/public/time")).json()
    assert (told["data"]["serverTime"], told["requestTime"]) == (str(skewed), skewed)
    assert await caller.code(INFO) == code


async def test_a_fault_can_be_for_one_account_or_one_path(serve: Serve, make_account: Make) -> None:
    other = make_account(name="two", api_key="bg_two")
    exchange, caller = serve(make_account(), other)
    exchange.faults.replace([Fault("storm", account="two"), Fault("error", path="/api/v3/account/settings")])
    assert await caller.code(INFO) == "00000"
    assert await caller.code(INFO, {"ACCESS-KEY": "bg_two"}) == "429"
    assert await caller.code("/api/v3/account/settings?x=1") == "40725"
    exchange.faults.replace([Fault("storm", account="bg_two")])
    assert await caller.code(INFO, {"ACCESS-KEY": "bg_two"}) == "429"


async def test_a_counted_fault_ends_by_itself(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("error", times=2)])
    assert [await caller.code(INFO) for _ in range(3)] == ["40725", "40725", "00000"]


async def test_latency_adds_up_and_leaves_the_answer_alone(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("latency", seconds=0.02), Fault("latency", seconds=0.03), Fault("storm")])
    weather = exchange.faults.weather(INFO, "one", "bg_one")
    assert (round(weather.delay, 3), weather.fault and weather.fault.kind) == (0.05, "storm")
    assert await caller.code(INFO) == "429"


async def test_a_key_deleted_while_its_request_is_delayed_is_unknown(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("latency", seconds=0.05, times=1)])
    waiting = asyncio.create_task(caller.code(INFO))
    while exchange.faults.active[0].times:
        await asyncio.sleep(0)
    exchange.accounts.clear()
    assert await waiting == "40037"


async def test_under_a_foreign_server_a_reset_is_a_connection_error(serve: Serve, make_account: Make) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("reset")])
    with pytest.raises(ConnectionResetError):
        await caller.call(INFO)
    assert (exchange.log[-1].status, exchange.log[-1].code) == (0, "reset")


@pytest.mark.parametrize(
    ("shows", "told"),
    [("absent", None), ("zero", 0), ("text", "soon"), ("past", 1_000_000_000_000), ("future", 4_102_444_800_000)],
)
async def test_the_time_told_can_be_nonsense_and_the_window_stays(
    serve: Serve, make_account: Make, shows: Any, told: Any
) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("time", shows=shows)])
    assert (await caller.call(INFO)).json()["requestTime"] == told
    assert (await caller.call(INFO)).json()["code"] == "00000"
    data = (await caller.call("/api/v2/public/time")).json()["data"]
    assert data == {"serverTime": None if told is None else str(told)}


async def test_a_fault_can_last_for_a_while(serve: Serve, make_account: Make, clock: Any) -> None:
    exchange, caller = serve(make_account())
    exchange.faults.replace([Fault("storm", lasts=300)], clock.ms)
    clock.ms += 299_999
    assert await caller.code(INFO) == "429"
    clock.ms += 1
    assert await caller.code(INFO) == "00000"
