"""Each service's environment, built from its member and its lock alone, holds what it may hold and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ABSENT = {
    "gateway": {"hvac", "aiohttp", "strongroom-vault", "strongroom-verifier", "strongroom-simulator", "strongroom-cli"},
    "vault": {"fastapi", "uvicorn", "strongroom-gateway", "strongroom-verifier", "strongroom-simulator"},
    "verifier": {"hvac", "fastapi", "strongroom-gateway", "strongroom-vault"},
}
MODULES = ["gateway", "vault", "verifier", "simulator", "cli", "hvac", "fastapi"]


def uv(*arguments: str) -> str:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


@pytest.mark.parametrize("service", ABSENT)
def test_a_services_environment_holds_no_other_services_code(service: str, tmp_path: Path) -> None:
    python = str(tmp_path / "env" / "bin" / "python")
    uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "env"))
    lock = f"services/{service}/requirements.txt"
    uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", "libs/common", f"services/{service}")
    installed = {each["name"] for each in json.loads(uv("pip", "list", "--python", python, "--format", "json"))}
    assert f"strongroom-{service}" in installed
    assert not installed & ABSENT[service]
    look = f"import importlib.util as u; print([m for m in {MODULES!r} if u.find_spec(m)])"
    found = subprocess.run([python, "-c", look], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    allowed = {"gateway": ["gateway", "fastapi"], "vault": ["vault", "hvac"], "verifier": ["verifier"]}[service]
    assert found.strip() == repr(allowed)
    started = subprocess.run(
        [python, "-m", service, "--check"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert "Traceback" not in started.stderr
    assert started.returncode in (0, 2)
