"""How the running processes protect their own memory."""

import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Driver


@pytest.mark.bar(16)
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["gateway", "vault", "verifier", "worker", "deliverer"])
def test_no_process_writes_a_core_nor_may_raise_that_limit(driver: Driver, name: str) -> None:
    limits = Path(f"/proc/{driver.child(name).pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
