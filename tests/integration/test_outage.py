"""The outage drill in short: the exchange fails in every way for half a minute, then comes back.

The long one is `make drill-outage`; both are tests/bench/outage.py.
"""

from pathlib import Path

import pytest

from tests.bench.outage import drill


@pytest.mark.timeout(600)
def test_an_outage_changes_no_status_and_all_is_verified_again_within_the_budget(tmp_path: Path) -> None:
    said: list[str] = []
    summary = drill(tmp_path, minutes=0.35, bindings=16, verify_seconds=20, recover_minutes=2, say=said.append)
    assert summary["passed"], (summary, said)
    assert summary["became_stale"] >= summary["due"] >= 8
    assert summary["calls"] > 16
