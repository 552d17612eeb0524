"""What changes at the exchange shows up as one event with the values before and after, and as nothing twice."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from tests.integration.conftest import Driver, eventually

SCALARS = ("status", "reason", "stale", "environment")
PARTS = ("account", "permissions", "ip_whitelist")
# Other amounts of what the sample accounts hold: that changes what a key has, not what it can do.
RICHER = {
    "unified-trader": {"spot": {"USDT": "9", "BTC": "9"}, "futures": {"USDT": "9", "USDC": "9"}},
    "classic-trader": {"spot": {"USDT": "9", "BTC": "9"}, "futures": {"USDT": "9", "USDC": "9", "BTC": "9"}},
}
CLASSIC = ["stor", "stow", "coor", "coow", "cpor", "cpow"]

# What the owner of a key changes at the exchange, and where it must be told beside the findings.
CHANGES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "withdraw switched on": (
        "unified-trader",
        {"permissions": ["uta_mgt", "uta_trade", "withdraw"]},
        {"permissions.withdraw", "permissions.tokens", "status", "reason"},
    ),
    "a futures right switched off": (
        "classic-trader",
        {"authorities": CLASSIC[:-2]},
        {"permissions.futures_trade", "permissions.tokens", "status", "reason", "strategies"},
    ),
    "made read-only": (
        "unified-trader",
        {"perm_type": "read_only"},
        {"permissions.spot_trade", "permissions.tokens", "status", "reason", "strategies"},
    ),
    "a right that nobody here knows": (
        "unified-trader",
        {"permissions": ["uta_mgt", "uta_trade", "brand_new"]},
        {"permissions.tokens", "unknown_tokens"},
    ),
    "an IP list entered": (
        "unified-trader",
        {"ips": ["127.0.0.1", "203.0.113.77"]},
        {"ip_whitelist.bound", "ip_whitelist.addresses"},
    ),
    "the mode switched": (
        "unified-trader",
        {"mode": "classic", "authorities": CLASSIC},
        {"account.mode", "permissions.tokens"},
    ),
}


class Follower(threading.Thread):
    """The events of one stream so far."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(daemon=True)
        self.events: list[dict[str, Any]] = []
        self._answer = answer
        self.start()

    def run(self) -> None:
        try:
            for line in self._answer.iter_lines():
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))
        except httpx.TransportError:
            return


@contextmanager
def followed(driver: Driver, binding_id: str) -> Iterator[Follower]:
    with driver.client() as http, http.stream("GET", f"/v1/bindings/{binding_id}/events") as answer:
        yield Follower(answer)


def verified(driver: Driver, binding_id: str) -> dict[str, Any]:
    """Have a binding verified now and return it."""
    with driver.client(Prefer="wait=25") as http:
        answer = http.post(f"/v1/bindings/{binding_id}/verify")
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def facts(shown: dict[str, Any]) -> dict[str, Any]:
    """Return what events tell of a binding, by field."""
    found = {name: shown[name] for name in SCALARS}
    for part in PARTS:
        found |= {f"{part}.{name}": value for name, value in shown[part].items()}
    found["unknown_tokens"] = shown["unknown_tokens"]
    found["findings"] = sorted({each["code"] for each in shown["findings"]})
    found["strategies"] = sorted(each["id"] for each in shown["strategies"] if each["available"])
    return found


def different(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    old, new = facts(before), facts(after)
    return [{"field": name, "before": old[name], "after": new[name]} for name in sorted(old) if old[name] != new[name]]


def folded(before: dict[str, Any], events: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the facts of a binding after events, each of which must begin where the one before it ended."""
    known = facts(before)
    for change in (each for event in events for each in event["changes"]):
        assert change["before"] == known[change["field"]], change
        known[change["field"]] = change["after"]
    return known


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_at_the_exchange_is_one_event_with_everything_before_and_after(what: str, driver: Driver) -> None:
    like, change, fields = CHANGES[what]
    credential = driver.account(like)
    before = driver.settled(driver.bind(credential).json()["id"])
    assert before["status"] == "connected", before
    with followed(driver, before["id"]) as follower:
        driver.change(credential, **change)
        after = verified(driver, before["id"])
        eventually(lambda: follower.events)
        driver.change(credential, balances=RICHER[like])
        verified(driver, before["id"])
        assert [each["changes"] for each in follower.events] == [different(before, after)]
        (event,) = follower.events
    assert fields <= {each["field"] for each in event["changes"]}
    assert (event["status"], event["reason"]) == (after["status"], after["reason"])


def test_a_key_that_dies_and_recovers_is_told_each_time_once(driver: Driver) -> None:
    credential = driver.account()
    alive = driver.bind(credential).json()
    with followed(driver, alive["id"]) as follower:
        driver.change(credential, passphrase="Another0Pass")
        dead = eventually(lambda: ended(verified(driver, alive["id"])))
        driver.change(credential, passphrase=credential["passphrase"])
        again = verified(driver, alive["id"])
        eventually(lambda: follower.events and follower.events[-1]["status"] == "connected")
        verified(driver, alive["id"])
        told = follower.events
    assert (dead["status"], dead["reason"], again["status"]) == ("disconnected", "invalid_passphrase", "connected")
    turns = [change for event in told for change in event["changes"] if change["field"] == "status"]
    assert [(turn["before"], turn["after"]) for turn in turns] == [
        ("connected", "disconnected"),
        ("disconnected", "connected"),
    ]
    assert folded(alive, told) == facts(again) == facts(alive)


def ended(told: dict[str, Any]) -> dict[str, Any] | None:
    return told if told["status"] == "disconnected" else None


def test_an_outage_is_told_when_it_begins_and_when_it_ends(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    with followed(driver, bound["id"]) as follower, driver.client(Prefer="wait=5") as http:
        driver.faults({"kind": "html", "status": 502})
        http.post(f"/v1/bindings/{bound['id']}/verify")
        eventually(lambda: follower.events)
        driver.faults()
        eventually(lambda: follower.events[-1]["stale"] is False)
        told = follower.events
    turns = [change for event in told for change in event["changes"] if change["field"] == "stale"]
    assert [(turn["before"], turn["after"]) for turn in turns] == [(False, True), (True, False)]
    assert {each["status"] for each in told} == {"connected"}
    assert folded(bound, told) == facts(bound)
