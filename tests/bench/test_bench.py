"""The benchmark runs from end to end, small; and its own arithmetic."""

from pathlib import Path

import pytest

from tests.bench import audit_cost, custody, exchange_log, figures, use, verify
from tests.bench.accounts import accounts
from tests.bench.records import PER_SUBJECT, binding_id, record, stored


def test_the_busiest_minute_is_found_wherever_it_begins() -> None:
    times = [0, 30_000, 59_999, 60_001, 89_000, 200_000]
    assert exchange_log.busiest_minute(times) == 4
    assert exchange_log.busiest_clock_minute(times) == 3
    assert exchange_log.busiest_minute([]) == exchange_log.busiest_clock_minute([]) == 0


def test_a_ratio_is_the_median_of_the_rounds_and_shows_its_spread() -> None:
    assert figures.ratio([10, 30, 20], [10, 10, 10]) == (2, "2.00 (1.00-3.00)")


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (figures.percentile(values, 0.5), figures.percentile(values, 0.99)) == (51, 100)
    assert figures.percentile([7.0], 0.99) == 7.0


def test_a_missed_goal_stands_out_in_the_table() -> None:
    table = figures.markdown(
        [figures.Row("a", "1 ms", "", "", "≤ 2 ms", True), figures.Row("b", "3", "", "", "2", False)]
    )
    assert table.splitlines()[2:] == ["| a | 1 ms |  |  | ≤ 2 ms | yes |", "| b | 3 |  |  | 2 | **no** |"]


def test_every_account_has_a_credential_of_its_own() -> None:
    owned = accounts(6, "unified", "classic")
    assert [one.mode for one in owned[:2]] == ["unified", "classic"]
    assert len({one.uid for one in owned}) == len({one.api_key for one in owned}) == 6


def test_an_invented_record_is_found_again_by_its_number() -> None:
    made = record("a" * 26, 2 * PER_SUBJECT, now=1_700_000_000)
    assert made.binding.id == binding_id("a" * 26, 2 * PER_SUBJECT)
    assert made.binding.subject == "customer-2"
    assert "secret" not in str(stored(made))


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_a_short_run_measures_everything(tmp_path: Path) -> None:
    rows = verify.measure(tmp_path, verify.parsed(["--short"]))
    kept = {row.what: row.met for row in rows}
    assert len(rows) == 10
    assert kept["429, and calls above any limit, 1 worker, 3 s"]
    assert kept["their verifications, planned"]


async def test_the_cost_of_the_audit_is_measured_beside_a_bare_fsync(tmp_path: Path) -> None:
    rows = await audit_cost.measure(tmp_path, rounds=1, seconds=0.2)
    assert [row.what for row in rows] == [
        "signatures, one call after the other",
        "signatures, 16 calls at once",
        "signatures, 16 calls at once of 8 each",
        "one line written and fsynced, bare",
    ]


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_a_short_run_of_custody_signs_for_nobody_after_its_revocation(tmp_path: Path) -> None:
    rows = custody.measure(tmp_path, custody.parsed(["--short", "--parts", "revoke", "binds"]))
    assert len(rows) == 3
    assert rows[1].met


@pytest.mark.drill
@pytest.mark.timeout(300)
def test_a_short_run_of_use_measures_signatures_and_requests(tmp_path: Path) -> None:
    rows = use.measure(tmp_path, use.parsed(["--short"]))
    named = [row.what.partition(",")[0] for row in rows]
    assert named[:3] == ["Sign", "SignStream", "SignStream beside one client of Transit (hvac)"]
    assert named[-3:] == ["Execute (gRPC)", "/requests", "the base URL"]
