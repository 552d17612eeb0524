"""A refusal counts when it can: a key made moments ago, and one that worked, are looked at again first."""

import time
from itertools import groupby
from typing import Any

import pytest
from common.clock import timestamp
from strongroom.types.v1 import binding_pb2 as types
from verifier.schedule import LOOKS_S, Schedule

pytestmark = pytest.mark.usefixtures("no_limits")

UNKNOWN = "bg_" + "0" * 32


def _middle(low: float, high: float) -> float:
    return (low + high) / 2


def _aged(bench: Any, seconds: float, **changed: str) -> Any:
    """A binding of the unified trader that was made some seconds ago."""
    binding = bench.vault.bind(bench.exchange.named("unified-trader"), **changed)
    binding.created_at.CopyFrom(timestamp(time.time() - seconds))
    return binding


async def _told(bench: Any) -> list[int]:
    """The statuses that events told, each once."""
    statuses = [event.status for event in await bench.events()]
    return [status for status, _ in groupby(statuses)]


async def _seen(bench: Any, binding: Any) -> Any:
    return (await bench.status.read(binding.tenant_id, binding.id)).observation


async def test_a_fresh_unknown_key_is_looked_at_for_half_a_minute_before_it_is_rejected(bench: Any) -> None:
    binding, looks = _aged(bench, 0, api_key=UNKNOWN), []
    while not (outcome := await bench.verify(binding)).reply:
        seen = await _seen(bench, binding)
        assert (outcome.verified, outcome.attempt, seen.stale) == (False, 1, False)
        assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING
        assert [(note.code, note.severity) for note in seen.notes] == [("invalid_api_key", types.SEVERITY_INFO)]
        assert seen.notes[0].evidence.exchange_code == "40037"
        bench.clock.ahead += outcome.next_s
        looks.append(bench.clock.unix() - seen.refused.since.ToMilliseconds() / 1000)
    assert looks == pytest.approx(LOOKS_S, abs=0.9)
    record = bench.vault.records[binding.id]
    assert (record.verdict.status, record.verdict.reason) == (types.STATUS_REJECTED, types.REASON_INVALID_API_KEY)
    assert not (await _seen(bench, binding)).notes
    assert bench.vault.transitions == 1
    assert [event.status for event in await bench.events()] == [types.STATUS_PENDING, types.STATUS_REJECTED]
    assert 35 <= outcome.next_s <= 60


async def test_the_look_after_the_rejection_is_the_last_quick_one(bench: Any) -> None:
    binding = _aged(bench, 0, api_key=UNKNOWN)
    outcome = await bench.settled(binding)
    bench.clock.ahead += outcome.next_s
    assert 2880 <= (await bench.verify(binding)).next_s <= 3600


async def test_a_fresh_key_that_becomes_known_is_connected_at_the_next_look(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="error", code="40037", status=400, times=2)
    first, second = await bench.verify(binding), await bench.verify(binding)
    third = await bench.verify(binding)
    assert [first.reply, second.reply, third.reply] == [False, False, True]
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED
    assert not (await _seen(bench, binding)).notes
    assert await _told(bench) == [types.STATUS_PENDING, types.STATUS_CONNECTED]


@pytest.mark.parametrize("off", [-7200, -100, -20, 20, 100, 7200])
async def test_a_clock_that_is_off_that_of_the_vault_service_changes_no_look(bench: Any, off: float) -> None:
    binding, looks = _aged(bench, 0, api_key=UNKNOWN), []
    bench.clock.ahead = off
    while not (outcome := await bench.verify(binding)).reply:
        bench.clock.ahead += outcome.next_s
        since = (await _seen(bench, binding)).refused.since
        looks.append(bench.clock.unix() - since.ToMilliseconds() / 1000)
    assert looks == pytest.approx(LOOKS_S, abs=0.9)
    assert 35 <= outcome.next_s <= 60


async def test_a_credential_that_was_replaced_meanwhile_is_looked_at_from_the_beginning(bench: Any) -> None:
    binding = _aged(bench, 0, api_key=UNKNOWN)
    for ahead in (0.0, *LOOKS_S[:-1]):
        bench.clock.ahead = ahead
        assert not (await bench.verify(binding)).reply
    binding.credential.version = 2
    bench.clock.ahead = LOOKS_S[-1]
    outcome = await bench.verify(binding)
    assert not outcome.reply
    assert outcome.next_s == pytest.approx(LOOKS_S[0], abs=0.1)


async def test_a_clock_that_is_set_back_between_two_looks_puts_none_off(bench: Any) -> None:
    binding = _aged(bench, 0, api_key=UNKNOWN)
    await bench.verify(binding)
    bench.clock.ahead = -3600
    assert (await bench.verify(binding)).next_s == pytest.approx(LOOKS_S[0], abs=0.1)


async def test_looking_early_and_often_neither_confirms_nor_puts_off(bench: Any) -> None:
    binding = _aged(bench, 300, api_key=UNKNOWN)
    await bench.verify(binding)
    for ahead in (0.2, 0.6, 1.2):
        bench.clock.ahead = ahead
        early = await bench.verify(binding)
        assert not early.reply
        assert 0 < early.next_s <= LOOKS_S[0] - ahead
    bench.clock.ahead = LOOKS_S[-1]
    assert (await bench.verify(binding)).verified


async def test_an_outage_between_two_looks_confirms_nothing_and_loses_nothing(bench: Any) -> None:
    binding = _aged(bench, 300, api_key=UNKNOWN)
    await bench.verify(binding)
    bench.fault(kind="html")
    bench.clock.ahead = 5
    outage = await bench.verify(binding)
    assert not outage.verified
    assert (await _seen(bench, binding)).stale
    bench.exchange.faults.replace(())
    bench.clock.ahead = LOOKS_S[-1] + 9
    assert (await bench.verify(binding)).verified
    assert not (await _seen(bench, binding)).stale


@pytest.mark.parametrize("code", ["40006", "40009", "40012", "40018"])
async def test_other_refusals_of_a_new_key_count_at_once(bench: Any, code: str) -> None:
    bench.fault(kind="error", code=code, status=400)
    assert (await bench.verify(_aged(bench, 0))).verified


@pytest.mark.parametrize(
    ("code", "note"),
    [("40037", "key_deleted"), ("40009", "invalid_secret"), ("40012", "invalid_passphrase"), ("40006", "key_deleted")],
)
async def test_a_key_that_worked_is_refused_twice_before_its_status_changes(bench: Any, code: str, note: str) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    balances = (await _seen(bench, binding)).balances
    bench.fault(kind="error", code=code, status=400)
    first = await bench.verify(binding)
    seen = await _seen(bench, binding)
    assert (first.verified, first.reply, first.next_s) == (False, False, 5)
    assert ([item.code for item in seen.notes], seen.balances, seen.stale) == ([note], balances, False)
    assert await _told(bench) == [types.STATUS_CONNECTED]
    bench.clock.ahead = 5
    assert (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_DISCONNECTED
    assert await _told(bench) == [types.STATUS_CONNECTED, types.STATUS_DISCONNECTED]
    assert (await bench.verify(binding)).reply  # once it counted, the same refusal needs no confirmation again
    assert bench.vault.transitions == 2


async def test_a_passing_refusal_of_a_key_that_worked_changes_no_status(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.fault(kind="error", code="40037", status=400, times=1)
    await bench.verify(binding)
    assert (await bench.verify(binding)).verified
    assert bench.vault.transitions == 1
    assert await _told(bench) == [types.STATUS_CONNECTED]


def _binding(status: int, reason: int = 0, *, age: float = 0.0, rotate_in: float | None = None) -> types.Binding:
    now = 1_700_000_000.0
    binding = types.Binding(created_at=timestamp(now - age), updated_at=timestamp(now - age))
    binding.verdict.status, binding.verdict.reason = status, reason  # type: ignore[assignment]
    if rotate_in is not None:
        binding.credential.rotate_by.CopyFrom(timestamp(now + rotate_in))
    return binding


@pytest.mark.parametrize(
    ("status", "age", "shortest", "longest"),
    [
        (types.STATUS_CONNECTED, 0.0, 69_120, 86_400),
        (types.STATUS_LIMITED, 0.0, 69_120, 86_400),
        (types.STATUS_REJECTED, 10.0, 2880, 3600),
        (types.STATUS_DISCONNECTED, 86_000.0, 2880, 3600),
        (types.STATUS_DISCONNECTED, 90_000.0, 69_120, 86_400),
    ],
)
def test_healthy_keys_are_asked_about_daily_and_refused_ones_hourly_for_a_day(
    status: int, age: float, shortest: float, longest: float
) -> None:
    for draw, expected in ((min, shortest), (max, longest)):
        delay = Schedule(86_400, draw).after_verdict(_binding(status, age=age), 1_700_000_000.0)
        assert delay == pytest.approx(expected)


@pytest.mark.parametrize(("rotate_in", "expected"), [(100.0, 101.0), (-5.0, 77_760.0), (90_000.0, 77_760.0)])
def test_no_verification_is_later_than_the_day_of_rotation(rotate_in: float, expected: float) -> None:
    binding = _binding(types.STATUS_CONNECTED, rotate_in=rotate_in)
    assert Schedule(86_400, _middle).after_verdict(binding, 1_700_000_000.0) == pytest.approx(expected)


def test_failures_back_off_from_two_seconds_to_an_hour_with_a_fifth_of_jitter() -> None:
    delays = [Schedule(86_400, _middle).after_failure(attempt) for attempt in range(40)]
    assert delays[:4] == [2, 4, 8, 16]
    assert max(delays) == delays[-1] == 3600
    assert Schedule(86_400, min).after_failure(39) == pytest.approx(2880)
    assert Schedule(86_400, max).after_failure(39) == pytest.approx(4320)


def test_every_age_has_a_next_look() -> None:
    for tenth in range(1400):
        binding = _binding(types.STATUS_PENDING)
        assert 0 < Schedule(86_400, _middle).after_refusal(binding, tenth / 10) <= 11
