"""What checkov says of the manifests: nothing, but for what each overlay's checkov.yaml explains."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
CHECKOV = ROOT / ".venv-tools/bin/checkov"
CONFIGURATIONS = {"prod": ROOT / "deploy/k8s/checkov.yaml", "dev": ROOT / "deploy/k8s/dev/checkov.yaml"}
pytestmark = [
    pytest.mark.skipif(not CHECKOV.exists(), reason="`make tools` has not made the environment of checkov"),
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl, which renders the manifests, is not here"),
]


def scan(manifests: str, folder: Path, *options: str) -> dict[str, Any]:
    """Return what checkov has found in rendered manifests."""
    (folder / "rendered.yaml").write_text(manifests)
    command = [str(CHECKOV), "--file", str(folder / "rendered.yaml"), "--output", "json", "--skip-download", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=folder)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rendered(overlay: str) -> str:
    command = ["kubectl", "kustomize", str(ROOT / "deploy/k8s" / overlay)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.bar(58)
@pytest.mark.parametrize("overlay", CONFIGURATIONS)
def test_a_scanner_finds_nothing_that_is_not_explained(overlay: str, tmp_path: Path) -> None:
    found = scan(rendered(overlay), tmp_path, "--config-file", str(CONFIGURATIONS[overlay]))
    failed = {(one["check_id"], one["resource"]) for one in found["results"]["failed_checks"]}
    assert failed == set()
    assert found["summary"]["passed"] > 400
    assert found["summary"]["parsing_errors"] == 0


@pytest.mark.parametrize("overlay", CONFIGURATIONS)
def test_each_check_that_is_left_out_would_find_something_and_has_its_reason(overlay: str, tmp_path: Path) -> None:
    text = CONFIGURATIONS[overlay].read_text()
    skipped = yaml.safe_load(text)["skip-check"]
    found = scan(rendered(overlay), tmp_path, "--framework", "kubernetes")
    assert {one["check_id"] for one in found["results"]["failed_checks"]} == set(skipped)
    for name in skipped:
        before = text.split(f"- {name}")[0].rstrip().splitlines()[-1]
        assert before.lstrip().startswith("# "), name


def test_a_container_that_may_write_to_its_image_would_be_found(tmp_path: Path) -> None:
    weak = rendered("prod").replace("readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    found = scan(weak, tmp_path, "--config-file", str(CONFIGURATIONS["prod"]))
    assert "CKV_K8S_22" in {one["check_id"] for one in found["results"]["failed_checks"]}
