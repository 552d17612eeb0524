"""A clock that is off costs nothing: it is measured and corrected, told when it is far off, and never guessed."""

import time
from typing import Any

import pytest
from common.clock import SystemClock
from strongroom.types.v1 import binding_pb2 as types
from verifier.bitget.clock import ExchangeClock, Reading, Stamp

TIME = "/api/v2/public/time"


def _asked(bench: Any, path: str) -> int:
    return sum(seen.target == path for seen in bench.exchange.log)


async def _verified(bench: Any) -> Any:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    outcome = await bench.verify(binding)
    assert outcome.verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED
    return (await bench.status.read(binding.tenant_id, binding.id)).observation


@pytest.mark.parametrize("seconds", [-3600, -120, -20, 20, 120, 3600])
@pytest.mark.bar(45)
async def test_a_difference_is_corrected_and_told_whoever_is_off(bench: Any, seconds: int) -> None:
    bench.fault(kind="clock", seconds=seconds)
    observation = await _verified(bench)
    assert not observation.stale
    assert abs(bench.client.time.offset_ms - seconds * 1000) < 500
    assert [note.code for note in observation.notes] == ["clock_skew"]
    assert f"{seconds:+d} s" in observation.notes[0].detail
    assert observation.notes[0].actor == types.ACTOR_OPERATOR
    assert _asked(bench, TIME) == 3
    await _verified(bench)
    assert _asked(bench, TIME) == 3
    assert bench.exchange.log[-1].code == "00000"


@pytest.mark.parametrize("seconds", [-120, 120])
async def test_a_signer_that_is_off_is_corrected_though_our_own_clock_is_right(bench: Any, seconds: int) -> None:
    bench.vault.signer_ahead_ms = seconds * 1000
    observation = await _verified(bench)
    assert abs(bench.client.time.offset_ms + seconds * 1000) < 500
    assert f"{-seconds:+d} s" in observation.notes[0].detail


async def test_a_small_difference_is_neither_corrected_nor_told(bench: Any) -> None:
    bench.fault(kind="clock", seconds=0.8)
    assert not (await _verified(bench)).notes
    assert (bench.client.time.offset_ms, _asked(bench, TIME)) == (0, 0)


async def test_a_difference_of_three_seconds_is_corrected_without_an_alarm(bench: Any) -> None:
    bench.fault(kind="clock", seconds=3)
    assert not (await _verified(bench)).notes
    assert abs(bench.client.time.offset_ms - 3000) < 500


async def test_a_clock_that_drifts_away_during_the_run_is_measured_again(bench: Any) -> None:
    bench.fault(kind="clock", seconds=60)
    await _verified(bench)
    bench.fault(kind="clock", seconds=200)
    observation = await _verified(bench)
    assert "+200 s" in observation.notes[0].detail
    bench.exchange.faults.replace(())
    assert not (await _verified(bench)).notes
    assert bench.client.time.offset_ms == 0


@pytest.mark.parametrize("jumps", [(120, 0, -120, 0, 120), (2, 20, -20, 0, 7), (-3600, 40, -40)])
async def test_a_clock_that_jumps_again_and_again_is_followed_at_once(bench: Any, jumps: tuple[int, ...]) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    for seconds in jumps:
        bench.fault(kind="clock", seconds=seconds)
        assert (await bench.verify(binding)).verified
        seen = (await bench.status.read(binding.tenant_id, binding.id)).observation
        assert abs(bench.client.time.offset_ms - seconds * 1000) < 500
        assert [note.code for note in seen.notes] == (["clock_skew"] if abs(seconds) > 5 else [])
    assert len(await bench.events()) == 1


async def test_a_jump_while_time_endpoint_and_answers_agree_with_us_is_no_reason_to_wait(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    bench.fault(kind="error", code="40008", status=400, path="/api/v3/account/info")
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    assert not (await bench.verify(binding)).verified
    finding = (await bench.status.read(binding.tenant_id, binding.id)).observation.stale_finding
    assert "agree" in finding.detail
    assert "0 s" not in finding.detail
    bench.fault(kind="clock", seconds=-120)
    assert (await bench.verify(binding)).verified


async def test_a_difference_that_cannot_be_measured_is_told_and_blames_nobody(bench: Any) -> None:
    bench.fault(kind="html", path=TIME)
    bench.vault.signer_ahead_ms = 60_000
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    assert not (await bench.verify(binding)).verified
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING
    assert known.observation.stale_finding.code == "clock_skew"
    assert "could not be measured" in known.observation.stale_finding.detail
    assert bench.client.time.offset_ms == 0


class _Bitget:
    """An exchange's clock, ahead by `ahead_ms`, and how often it was read; None does not answer."""

    def __init__(self, ahead_ms: int | None) -> None:
        self.ahead_ms = ahead_ms
        self.read = 0

    async def measure(self) -> Reading | None:
        self.read += 1
        if self.ahead_ms is None:
            return None
        return Reading(time.time() * 1000 + self.ahead_ms, time.monotonic())


def _stamp(clock: ExchangeClock) -> Stamp:
    return Stamp(int(time.time() * 1000), clock.offset_ms, time.monotonic())


@pytest.mark.parametrize(
    "nonsense", [0, 1, 1_700_000_000_000, 4_000_000_000_000, "1700000000000", -5, 10**30, "x", [], None, True]
)
async def test_a_constant_nonsense_time_in_answers_corrects_nothing(nonsense: Any) -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(0)
    for _ in range(20):
        await clock.answered(_stamp(clock), nonsense, bitget.measure)
    assert clock.offset_ms == 0
    assert bitget.read <= 3


class _Passing(SystemClock):
    """A clock whose seconds pass as told."""

    passed = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


async def test_a_time_that_stands_still_in_answers_is_looked_into_once_in_half_a_minute() -> None:
    machine = _Passing()
    clock, reads, began_ms = ExchangeClock(machine), 0, int(time.time() * 1000)

    async def measure() -> Reading:
        nonlocal reads
        reads += 1
        return Reading(began_ms + machine.passed * 1000, machine.monotonic())

    for tenth in range(290):
        machine.passed = tenth / 10
        stamp = Stamp(began_ms + tenth * 100, 0, machine.monotonic())
        await clock.answered(stamp, began_ms - 60_000, measure)
    assert (reads, clock.offset_ms) == (3, 0)


async def test_answers_without_a_time_endpoint_correct_nothing_and_ask_it_rarely() -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(None)
    for _ in range(20):
        await clock.answered(_stamp(clock), int(time.time() * 1000) + 60_000, bitget.measure)
        assert not await clock.refused(_stamp(clock), None, bitget.measure)
    assert clock.offset_ms == 0
    assert bitget.read == 1


async def test_a_correction_that_is_refused_is_measured_anew_and_then_dropped() -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(60_000)
    assert await clock.refused(_stamp(clock), None, bitget.measure)
    assert abs(clock.offset_ms - 60_000) < 100
    assert not await clock.refused(_stamp(clock), None, bitget.measure)
    assert bitget.read == 6
    assert await clock.refused(_stamp(clock), None, bitget.measure)
    assert clock.offset_ms == 0
    assert not await clock.refused(_stamp(clock), None, bitget.measure)
    assert bitget.read == 6


async def test_an_accepted_request_clears_the_doubt_in_a_correction() -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(60_000)
    await clock.refused(_stamp(clock), None, bitget.measure)
    for _ in range(3):
        await clock.refused(_stamp(clock), None, bitget.measure)
        await clock.answered(_stamp(clock), None, bitget.measure)
    assert abs(clock.offset_ms - 60_000) < 100


async def test_requests_refused_together_share_one_measurement() -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(60_000)
    stamps = [_stamp(clock) for _ in range(5)]
    assert [await clock.refused(stamp, None, bitget.measure) for stamp in stamps] == [True] * 5
    assert bitget.read == 3
    assert abs(clock.offset_ms - 60_000) < 100


async def test_more_than_the_signer_would_add_is_told_but_not_corrected() -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(48 * 3_600_000)
    assert not await clock.refused(_stamp(clock), None, bitget.measure)
    assert clock.offset_ms == 0
    assert clock.measured_ms is not None
    assert clock.measured_ms > 47 * 3_600_000


async def test_the_alarm_rings_beyond_five_seconds_and_once_a_minute(logged: list[Any]) -> None:
    clock, bitget = ExchangeClock(SystemClock()), _Bitget(6000)
    for _ in range(5):
        await clock.answered(_stamp(clock), int(time.time() * 1000) + 6000, bitget.measure)
    assert [entry["event"] for entry in logged].count("clock_skew_alarm") == 1
    assert clock.skew_s == 6
