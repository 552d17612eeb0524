"""Each service's environment, built from its member and its lock alone, holds what it may hold and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.processes import free_port

ROOT = Path(__file__).resolve().parents[2]
ABSENT = {
    "gateway": {"hvac", "aiohttp", "strongroom-vault", "strongroom-verifier", "strongroom-simulator", "strongroom-cli"},
    "vault": {"fastapi", "uvicorn", "strongroom-gateway", "strongroom-verifier", "strongroom-simulator"},
    "verifier": {"hvac", "fastapi", "strongroom-gateway", "strongroom-vault"},
}
SERVERS = {"fastapi", "hvac", "aiohttp", "redis", "grpcio", "protobuf", "pydantic"}
MODULES = ["gateway", "vault", "verifier", "simulator", "cli", "hvac", "fastapi"]
LIBRARY = """
import sys
from importlib import resources
import strongroom_client
assert resources.files("strongroom_client").joinpath("signing.binpb").is_file()
ours = ("common", "strongroom", "gateway", "vault", "verifier", "simulator", "cli")
print(sorted(name for name in sys.modules if name.split(".")[0] in ours))
"""


def uv(*arguments: str) -> str:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def environment(folder: Path, lock: str, *members: str) -> tuple[str, set[str]]:
    """Make an environment from a lock and members alone; return its interpreter and what is installed in it."""
    python = str(folder / "env" / "bin" / "python")
    uv("venv", "--quiet", "--python", sys.executable, str(folder / "env"))
    uv("pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock)
    uv("pip", "install", "--quiet", "--python", python, "--no-deps", *members)
    return python, {each["name"] for each in json.loads(uv("pip", "list", "--python", python, "--format", "json"))}


@pytest.mark.parametrize("service", ABSENT)
def test_a_services_environment_holds_no_other_services_code(service: str, tmp_path: Path) -> None:
    lock = f"services/{service}/requirements.txt"
    python, installed = environment(tmp_path, lock, "libs/common", f"services/{service}")
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


def test_the_client_library_needs_two_packages_and_nothing_else_of_ours(tmp_path: Path) -> None:
    python, installed = environment(tmp_path, "libs/client/requirements.txt", "libs/client")
    assert {"strongroom-client", "httpx", "cryptography"} <= installed
    assert not installed & SERVERS
    assert {name for name in installed if name.startswith("strongroom")} == {"strongroom-client"}
    found = subprocess.run([python, "-c", LIBRARY], check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert found.strip() == "[]"


def test_the_command_line_stands_on_the_client_library_as_its_image_has_it(tmp_path: Path) -> None:
    members = ("libs/common", "libs/client", "libs/simulator", "libs/cli")
    python, _ = environment(tmp_path, "libs/cli/requirements.txt", *members)
    for command in ("bind", "bootstrap", "simulator"):
        shown = subprocess.run(
            [python, "-m", "cli", command, "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
        )
        assert (shown.returncode, shown.stderr) == (0, ""), shown.stderr
    ends = {
        ("list",): (1, "No stack runs here"),
        ("reconcile", "--redis-url", f"redis://127.0.0.1:{free_port()}"): (4, "Redis cannot be asked"),
        ("policy", "explain", "GET", "/api/v2/x"): (1, "needs the package strongroom-vault"),
    }
    for words, (status, said) in ends.items():
        ended = subprocess.run([python, "-m", "cli", *words], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert (ended.returncode, said in ended.stderr, ended.stderr.count("\n")) == (status, True, 1), ended.stderr
