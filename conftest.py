"""The one option of the whole suite: which servers the integration tests run on."""

import pytest


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
