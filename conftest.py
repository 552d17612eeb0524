"""What the whole suite shares: which servers the integration tests run on, and how a test hears what is logged."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs


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


@pytest.fixture
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    """What this process logs during the test, of every level, whatever a test before this one has configured."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as entries:
        yield entries
    structlog.configure(**before)
