"""The embedded Valkey: password, persistence, kill and restart."""

from pathlib import Path

import pytest
from cli.valkey import Valkey
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

ONCE = Retry(NoBackoff(), 0)


def test_data_survives_a_stop_and_a_kill(tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as server:
        with Redis.from_url(server.url) as client:
            client.set("kept", "one")
        server.kill()
        server.start()
        with Redis.from_url(server.url) as client:
            assert client.get("kept") == b"one"
    with Valkey(tmp_path / "valkey") as again, Redis.from_url(again.url) as client:
        assert client.get("kept") == b"one"


def test_nobody_gets_in_without_the_password(tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey") as server, Redis(port=server.port, retry=ONCE) as client:
        with pytest.raises(AuthenticationError):
            client.ping()
        assert (server.home / "valkey.conf").stat().st_mode & 0o777 == 0o600
        assert (server.home / "password").stat().st_mode & 0o777 == 0o600


def test_without_append_only_file_nothing_is_kept(tmp_path: Path) -> None:
    with Valkey(tmp_path / "valkey", appendonly=False) as server:
        with Redis.from_url(server.url) as client:
            client.set("gone", "one")
        server.kill()
        server.start()
        with Redis.from_url(server.url) as client:
            assert client.get("gone") is None
