"""What the whole suite shares: which servers the integration tests run on, and how a test hears what is logged."""

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from xdist.scheduler import LoadFileScheduling

ROOT = Path(__file__).parent
CLIENTS = "tests/clients/"
# Files that take a quarter of a minute or more, the longest first: begun last, one of them keeps all others waiting.
LONGEST = (
    "tests/clients/test_ccxt.py",
    "tests/integration/test_rolling.py",
    "tests/integration/test_list_beside_others.py",
    "tests/test_supply_chain.py",
    "tests/integration/test_outage.py",
    "tests/integration/test_traces.py",
    "services/vault/tests/test_random_histories.py",
    "tests/test_readme.py",
    "tests/console/test_journeys.py",
    "services/vault/tests/test_provision.py",
    "services/vault/tests/test_step_kill_rotation.py",
    "tests/integration/test_scenarios.py",
    "services/vault/tests/test_failover.py",
    "services/vault/tests/test_cluster.py",
    "tests/integration/test_failover.py",
    "tests/integration/test_redis_lost.py",
    "services/vault/tests/test_step_kill.py",
    "services/vault/tests/test_store_contract.py",
    "tests/integration/test_verdicts.py",
    "tests/integration/test_durability.py",
    "tests/integration/test_spellings.py",
    "services/gateway/tests/test_console_list.py",
    "tests/console/test_freezes.py",
    "tests/integration/test_mixed_load.py",
    "tests/integration/test_floods.py",
    "tests/integration/test_sealed_bind.py",
    "libs/cli/tests/test_launcher.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --servers."""
    parser.addoption(
        "--servers",
        choices=["wheels", "containers"],
        default="wheels",
        help="wheels: OpenBao and Valkey; containers: hashicorp/vault and redis through testcontainers (needs Docker)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse containers where no Docker engine answers, before anything is collected."""
    if config.getoption("servers") != "containers":
        return
    from testcontainers.core import docker_client as engine  # noqa: PLC0415  slow to import, and seldom asked for

    try:
        engine.DockerClient().client.close()
    except engine.docker.errors.DockerException:
        raise pytest.UsageError(
            "--servers containers needs a Docker engine, and none answers: start one, or leave the option out"
        ) from None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files of LONGEST first, in its order, and leave the rest as it is."""
    if gone := [path for path in LONGEST if not (ROOT / path).exists()]:
        raise pytest.UsageError(f"conftest.py names as long what is not there: {', '.join(gone)}")
    place = {ROOT / path: number for number, path in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


class ByServers(LoadFileScheduling):
    """Give each file to one worker, and all tests of the exchange's clients to the same: they share a whole stack."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        return CLIENTS if path.startswith(CLIENTS) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByServers:
    """Decide which worker runs what."""
    return ByServers(config, log)


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What this process logs during the test, of every level, whatever a test before this one has configured."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries
    structlog.configure(**before)
