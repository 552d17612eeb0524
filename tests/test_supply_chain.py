"""What is installed is what was locked: without a network, byte for byte, and listed to the last package."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts import release, sbom

ROOT = Path(__file__).resolve().parent.parent
MEMBERS = [str(member.relative_to(ROOT)) for member in sbom.MEMBERS]
Run = subprocess.CompletedProcess[str]
pytestmark = pytest.mark.timeout(400)  # the first test downloads the wheels


def uv(*arguments: str, check: bool = True) -> Run:
    command = [sys.executable, "-m", "uv", *arguments]
    return subprocess.run(command, check=check, capture_output=True, text=True, cwd=ROOT)


def install(folder: Path, wheels: Path, lock: str, *, check: bool = True) -> tuple[Path, Run]:
    """Install a lock into a new environment from `wheels` alone; return its interpreter."""
    python = folder / "bin" / "python"
    uv("venv", "--quiet", "--python", sys.executable, str(folder))
    offline = ("--offline", "--no-cache", "--no-index", "--find-links", str(wheels), "--require-hashes")
    return python, uv("pip", "install", "--quiet", "--python", str(python), *offline, "-r", lock, check=check)


def names(python: Path) -> dict[str, str]:
    listed = json.loads(uv("pip", "list", "--python", str(python), "--format", "json").stdout)
    return {each["name"]: each["version"] for each in listed}


def contents(folder: Path) -> dict[str, str]:
    """Return the digest of each installed file, but of those that name the folder they are in."""
    site = next(folder.glob("lib/*/site-packages"))
    skipped = ("__pycache__", "direct_url.json", "RECORD", "_virtualenv")
    return {
        str(file.relative_to(site)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in site.rglob("*")
        if file.is_file() and not any(word in str(file) for word in skipped)
    }


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Download what every member's lock names, as wheels."""
    folder = tmp_path_factory.mktemp("wheels")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    locks = [word for member in MEMBERS for word in ("-r", str(ROOT / member / "requirements.txt"))]
    subprocess.run([*command, "--require-hashes", *locks, "-d", str(folder)], check=True, timeout=300)
    return folder


@pytest.mark.bar(59)
@pytest.mark.parametrize("member", MEMBERS)
def test_a_lock_installs_without_a_network_and_the_list_names_every_package(
    member: str, wheels: Path, tmp_path: Path
) -> None:
    python, _ = install(tmp_path / "env", wheels, f"{member}/requirements.txt")
    listed = {one["name"]: one["version"] for one in sbom.bom(ROOT / member)["components"]}
    assert {name: version for name, version in listed.items() if not name.startswith("strongroom-")} == names(python)
    ours = {name for name in listed if name.startswith("strongroom-")}
    assert f"strongroom-{Path(member).name}" in ours


@pytest.mark.bar(59)
def test_two_installations_are_the_same_to_the_byte(wheels: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        install(tmp_path / name, wheels, "services/vault/requirements.txt")
    first = contents(tmp_path / "one")
    assert len(first) > 500
    assert first == contents(tmp_path / "two")


@pytest.mark.bar(59)
def test_an_altered_wheel_is_not_installed(wheels: Path, tmp_path: Path) -> None:
    altered = tmp_path / "wheels"
    altered.mkdir()
    for file in wheels.iterdir():
        (altered / file.name).symlink_to(file)
    wheel = next(altered.glob("hvac-*.whl"))
    content = wheel.read_bytes()
    wheel.unlink()
    wheel.write_bytes(content + b"\0")
    python, done = install(tmp_path / "env", altered, "services/vault/requirements.txt", check=False)
    assert done.returncode != 0
    assert "Hash mismatch for `hvac==" in done.stderr
    assert names(python) == {}


@pytest.mark.bar(59)
def test_a_package_that_is_not_locked_is_not_installed(wheels: Path, tmp_path: Path) -> None:
    lock = tmp_path / "requirements.txt"
    lines = (ROOT / "services/vault/requirements.txt").read_text().split("\nhvac==")
    rest = lines[1].split("\nidna==")[1]
    lock.write_text(f"{lines[0]}\nhvac==2.4.0\nidna=={rest}")
    python, done = install(tmp_path / "env", wheels, str(lock), check=False)
    assert done.returncode != 0
    assert "hvac" in done.stderr
    assert names(python) == {}


def test_locks_hold_hashes_of_every_package_and_no_address() -> None:
    for lock in [*(ROOT / "requirements").glob("*.txt"), *ROOT.glob("*/*/requirements.txt")]:
        entries = re.split(r"\n(?=\S)", lock.read_text().strip())
        assert all("--hash=sha256:" in entry for entry in entries), lock
        assert "//" not in "".join(line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#"))


def test_licences_are_listed_as_the_packages_name_them() -> None:
    assert (ROOT / "docs/licences.md").read_text() == sbom.page(), "run `make sbom`"
    assert "see the package" not in sbom.page()


@pytest.mark.skipif(not (ROOT / ".venv-tools/.ready").exists(), reason="`make tools` has not made their environment")
@pytest.mark.parametrize("member", MEMBERS)
def test_the_list_is_cyclonedx(member: str) -> None:
    text = base64.b64encode(json.dumps(sbom.bom(ROOT / member)).encode()).decode()
    check = (
        "import base64, sys; from cyclonedx.validation.json import JsonStrictValidator as V;"
        "from cyclonedx.schema import SchemaVersion as S;"
        f"error = V(S.V1_6).validate_str(base64.b64decode('{text}').decode()); sys.exit(str(error) if error else 0)"
    )
    done = subprocess.run([ROOT / ".venv-tools/bin/python", "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


def test_a_release_names_each_image_by_its_digest_and_none_without() -> None:
    digests = {service: f"sha256:{number * 64}" for service, number in zip(release.SERVICES, "123", strict=True)}
    images = yaml.safe_load(release.component("registry.example/strongroom", digests))["images"]
    assert {one["newName"]: one["digest"] for one in images} == {
        f"registry.example/strongroom-{service}": digest for service, digest in digests.items()
    }
    assert {one["name"] for one in images} == {
        one["name"] for one in yaml.safe_load(release.TARGET.read_text())["images"]
    }
    for wrong in ({**digests, "vault": "latest"}, {**digests, "vault": ""}, {}):
        with pytest.raises(ValueError, match="has no digest"):
            release.component("registry.example/strongroom", wrong)


def test_the_workflow_of_releases_gives_each_step_no_more_than_it_needs() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    assert workflow[True] == {"push": {"tags": ["v*"]}}, "YAML reads `on` as true"
    jobs = workflow["jobs"]
    assert {"id-token", "attestations"} <= set(jobs["image"]["permissions"])
    assert (jobs["image"]["needs"], jobs["manifests"]["needs"]) == ("test", "image")
    for job in jobs.values():
        assert job["permissions"], "each job says what it needs"
        for step in job["steps"]:
            if "uses" in step:
                assert re.search(r"@(v\d+|[0-9a-f]{40})$", step["uses"]), step["uses"]
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False
            assert "${{" not in step.get("run", ""), "a value goes into a script by the environment only"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for words in re.findall(r"run: make ([a-z ]+)", text) for word in words.split()}
    assert asked <= targets
    assert "audit" in asked


def test_updates_are_proposed_and_never_merged_by_themselves() -> None:
    settings = json.loads((ROOT / "renovate.json").read_text())
    assert settings["automerge"] is False
    assert {"helpers:pinGitHubActionDigests", "docker:pinDigests"} <= set(settings["extends"])
