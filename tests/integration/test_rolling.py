"""The drill of a rolling update in short: what serves others is replaced while everybody works.

The long one is `make drill-rolling`; both are tests/bench/rolling.py.
"""

import json
from pathlib import Path

import pytest

from tests.bench.rolling import SERVED, drill


@pytest.mark.timeout(600)
def test_each_service_is_replaced_under_load_and_nothing_fails_is_lost_or_signed_late(tmp_path: Path) -> None:
    said: list[str] = []
    summary = drill(tmp_path, minutes=1, lasting=8, hot=1, say=said.append, names=SERVED)
    assert summary["passed"], "\n".join([json.dumps(summary, indent=1), *said])
