"""One local authority and token issuer a session; they cost a key pair each."""

from pathlib import Path

import pytest
from cli.pki import Authority
from cli.tokens import TokenIssuer


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.create(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def issuer(tmp_path: Path) -> TokenIssuer:
    return TokenIssuer.create(tmp_path / "issuer")
