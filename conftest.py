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
