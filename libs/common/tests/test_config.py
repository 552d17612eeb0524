"""Settings are strict, and never shown with a secret."""

import pytest
from common import config, profile
from pydantic import ValidationError


class Sample(config.Settings):
    """A process's settings."""

    listen: config.Address
    redis_url: str = "redis://user:canary-password@host:6379/0"


def test_settings_come_from_prefixed_variables_only() -> None:
    settings = Sample.from_environment({"STRONGROOM_LISTEN": "127.0.0.1:80", "LISTEN": "ignored:1", "PATH": "/bin"})
    assert settings.listen == "127.0.0.1:80"


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"STRONGROOM_LISTEN": "h:1", "STRONGROOM_LISTNE": "canary"}, "STRONGROOM_LISTNE: unknown setting"),
        ({}, "STRONGROOM_LISTEN"),
        ({"STRONGROOM_LISTEN": "canary"}, "STRONGROOM_LISTEN"),
        ({"STRONGROOM_LISTEN": "h:99999"}, "STRONGROOM_LISTEN"),
        ({"STRONGROOM_LISTEN": "h:1", "STRONGROOM_LOG_LEVEL": "canary"}, "STRONGROOM_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line_without_its_value(variables, said, monkeypatch, capsys) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        config.load(Sample, [])
    written = capsys.readouterr().err
    assert stop.value.code == 2
    assert said in written
    assert written.count("\n") == 1
    assert "canary" not in written


def test_check_prints_the_settings_without_the_password(monkeypatch, capsys) -> None:
    monkeypatch.setenv("STRONGROOM_LISTEN", "127.0.0.1:80")
    with pytest.raises(SystemExit) as stop:
        config.load(Sample, ["--check"])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert "STRONGROOM_LISTEN=127.0.0.1:80" in shown
    assert "canary" not in shown
    assert "redis://***@host:6379/0" in shown


def test_a_secret_file_loses_only_its_final_line_break(tmp_path) -> None:
    (tmp_path / "s").write_text(" inner \n")
    assert config.read_secret(tmp_path / "s").reveal() == " inner "


class WithRedis(config.Settings):
    """A process that uses Redis."""

    redis_url: config.RedisUrl


@pytest.mark.parametrize(
    "url",
    ["redis://:canary-password@h:1/0", "redis://u:canary-password@h/0", "redis://h/0?password=canary-password", "h:1"],
)
def test_a_redis_url_with_a_password_is_refused_and_the_file_named(url: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        WithRedis.from_environment({"STRONGROOM_REDIS_URL": url})
    said = config.describe(refusal.value)
    assert "canary" not in said
    assert ("STRONGROOM_REDIS_PASSWORD_FILE" in said) is ("password" in url)


SAFE = {
    "vault_url": "https://vault:8200",
    "vault_ca_file": "/ca.pem",
    "redis_url": "rediss://redis:6379/0?ssl_ca_certs=/ca.pem",
    "bitget_url": "https://api.bitget.com",
}


@pytest.mark.bar(60)
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"vault_url": "http://vault:8200"}, "vault_url: TLS is off"),
        ({"vault_ca_file": None}, "vault_ca_file: missing"),
        ({"redis_url": "redis://redis:6379"}, "redis_url: TLS is off"),
        ({"redis_url": "redis://127.0.0.1:6379"}, "redis_url: TLS is off"),
        ({"redis_url": "rediss://redis:6379?ssl_cert_reqs=none"}, "redis_url: ssl_cert_reqs switches"),
        ({"redis_url": "rediss://redis:6379?SSL_CERT_REQS=Optional"}, "redis_url: SSL_CERT_REQS switches"),
        ({"redis_url": "rediss://redis:6379?ssl_check_hostname=False"}, "redis_url: ssl_check_hostname switches"),
        ({"bitget_url": "http://api.bitget.com"}, "bitget_url: TLS is off"),
        ({"console_url": "http://127.0.0.1:8080"}, "console_url: TLS is off"),
        ({"console_token_url": "http://127.0.0.1/token"}, "console_token_url: TLS is off"),
        ({"console_local_file": "/console.json"}, "console_local_file: signs people in"),
        ({"webhooks_loopback": True}, "webhooks_loopback: delivers without TLS"),
        ({"otlp_endpoint": "http://collector:4317"}, "otlp_endpoint: TLS is off"),
    ],
)
def test_production_refuses_each_unsafe_setting_by_name(change, named) -> None:
    (found,) = profile.faults({**SAFE, **change})
    assert found.startswith(named)


def test_production_takes_settings_that_are_safe_or_not_there() -> None:
    assert profile.faults(SAFE) == []
    assert profile.faults({"listen": "0.0.0.0:1"}) == []
    assert profile.faults({**SAFE, "console_url": "https://keys.example.com", "console_local_file": None}) == []
    for collector in ("https://collector:4317", "http://127.0.0.1:4317"):
        assert profile.faults({**SAFE, "otlp_endpoint": collector}) == []
    assert profile.faults({**SAFE, "redis_url": "unix:///run/redis.sock"}) == []


@pytest.mark.bar(60)
@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_a_process_in_production_ends_with_one_line_that_names_every_item(arguments, monkeypatch, capsys) -> None:
    monkeypatch.setenv("STRONGROOM_LISTEN", "127.0.0.1:80")
    monkeypatch.setenv("STRONGROOM_PROFILE", "production")
    with pytest.raises(SystemExit) as stop:
        config.load(Sample, arguments)
    written = capsys.readouterr()
    assert (stop.value.code, written.out) == (2, "")
    assert (
        written.err == "settings: refused in production: STRONGROOM_REDIS_URL: TLS is off: must begin with rediss://\n"
    )


@pytest.mark.bar(60)
def test_no_setting_switches_mutual_tls_or_verification_off(monkeypatch, capsys) -> None:
    for name in ("TLS_DISABLE", "VERIFY", "INSECURE", "REFLECTION", "VAULT_SKIP_VERIFY"):
        monkeypatch.setenv(f"STRONGROOM_{name}", "false")
        with pytest.raises(SystemExit) as stop:
            config.load(config.ServiceSettings, [])
        monkeypatch.delenv(f"STRONGROOM_{name}")
        assert stop.value.code == 2
        told = capsys.readouterr().err
        assert f"STRONGROOM_{name}: unknown setting" in told
        assert "STRONGROOM_TLS_CERT_FILE: Field required" in told
