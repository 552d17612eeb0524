"""The option that chooses the servers."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_containers_without_an_engine_are_refused_in_one_line() -> None:
    command = [sys.executable, "-m", "pytest", "tests/integration", "--servers", "containers"]
    nowhere = {**os.environ, "DOCKER_HOST": "unix:///nowhere.sock"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=nowhere, check=False)
    assert ended.returncode == 4
    (line,) = (ended.stdout + ended.stderr).strip().splitlines()
    assert "--servers containers needs a Docker engine" in line
    assert "leave the option out" in line
