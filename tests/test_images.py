"""An image tells by itself whether its process is well, in the words that docker-compose.yml uses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


@pytest.mark.parametrize(
    ("service", "processes"), [("gateway", ["gateway"]), ("vault", ["vault"]), ("verifier", ["verifier", "worker"])]
)
def test_the_health_check_of_an_image_is_that_of_its_processes(service: str, processes: list[str]) -> None:
    text = (ROOT / "services" / service / "Dockerfile").read_text()
    found = re.search(r"^HEALTHCHECK .*\\\n  CMD (\[.*\])$", text, re.MULTILINE)
    assert found
    for process in processes:
        health = SERVICES[process]["healthcheck"]
        assert ["CMD", *json.loads(found[1])] == health["test"]
        assert found[0].startswith(
            f"HEALTHCHECK --interval={health['interval']} --timeout={health['timeout']} --retries={health['retries']} "
        )


@pytest.mark.parametrize("service", ["gateway", "vault", "verifier"])
def test_an_image_runs_as_nobody_from_a_form_that_needs_no_shell(service: str) -> None:
    last = (ROOT / "services" / service / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r'^ENTRYPOINT \["python", "-m", "' + service + r'"\]$', last, re.MULTILINE)
