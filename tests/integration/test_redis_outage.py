"""The drill without Redis in short: it is stopped for some seconds under work, then comes back.

The long one is `make drill-redis`; both are tests/bench/redis_outage.py.
"""

from pathlib import Path

import pytest

from tests.bench.redis_outage import drill


@pytest.mark.bar(37)
@pytest.mark.timeout(400)
def test_without_redis_binds_signatures_and_revocations_go_on_and_each_event_comes_once_afterwards(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    summary = drill(tmp_path, minutes=0.1, binds=9, say=said.append)
    assert summary["passed"], (summary, said)
    assert summary["operations"]["bind"] == 9
    assert summary["events_afterwards"] >= 2 * (9 - 2)
