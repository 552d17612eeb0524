"""The YAML form: what it takes, what it refuses, and the packaged sample."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from simulator import Account, ConfigError, config, load

ONE = """
accounts:
  - name: a
    api_key: bg_a
    secret_key: canary-secret-value
    passphrase: canary-passphrase
    uid: "1"
"""


def test_yaml_text_and_a_file_give_the_same_exchange(tmp_path: Path) -> None:
    path = tmp_path / "exchange.yaml"
    path.write_text(ONE, encoding="utf-8")
    assert load(path).accounts.keys() == load(str(path)).accounts.keys() == load(ONE).accounts.keys() == {"bg_a"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("    secret: x", "unknown field 'secret'"),
        ("    mode: clasic", "mode must be one of classic"),
        ("    demo: 1", "demo must be true or false"),
        ("    ips: 127.0.0.1", "ips must be a list"),
        ("    ips: [localhost]", "addresses"),
        ("    ips: ['203.0.113.7 ']", "addresses"),
        ("    state: tired", "state must be one of"),
        ("    fresh_calls: 1.5", "whole number"),
        ("    later: [{calls: 1, set: {colour: red}}]", "unknown field 'colour'"),
        ("    seen_ip: 10.0.0.0/8", "IPv4"),
        ("    balances: {spot: {USDT: lots}}", "decimal"),
        ("    balances: {spot: {USDT: -1}}", "zero or more"),
        ("    balances: {savings: {}}", "unknown field 'savings'"),
        ("    parent_id: 7", "quotes"),
        ("    parent_id: seven", "digits"),
        ("    style: {ips: tuple}", "ips must be one of"),
        ("    public_key_pem: x", "one of secret_key and public_key_pem"),
    ],
)
def test_a_wrong_field_is_named_and_no_value_is_repeated(line: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(ONE + line + "\n")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PUBLIC KEY-----", "-----BEGIN"])
def test_a_pem_that_is_no_rsa_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="secret_key in PEM must be an RSA key") as caught:
        load(ONE.replace("canary-secret-value", f'"{text}canary"'))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("missing", ["name", "api_key", "passphrase", "uid", "secret_key"])
def test_a_missing_field_is_refused(missing: str) -> None:
    text = "\n".join("  - x_: 1" if missing == "name" and "name" in line else line for line in ONE.splitlines())
    kept = "\n".join(line for line in text.splitlines() if f"    {missing}:" not in line)
    with pytest.raises(ConfigError):
        load(kept + "\n")


def test_two_accounts_may_not_share_a_key() -> None:
    second = ONE.replace("accounts:\n", "").replace("name: a", "name: b")
    with pytest.raises(ConfigError, match="api_key must be unique"):
        load(ONE + second)


@pytest.mark.parametrize(
    "fault",
    [
        "{kind: flood}",
        "{kind: latency, seconds: soon}",
        "{kind: latency, seconds: -1}",
        "{kind: html, status: 99}",
        "{kind: error, times: 0}",
        "{kind: error, path: 5}",
        "{seconds: 1}",
        "{kind: error, colour: red}",
    ],
)
def test_a_wrong_fault_is_refused(fault: str) -> None:
    with pytest.raises(ConfigError):
        load(f"faults:\n  - {fault}\n")


def test_faults_limits_and_prices_are_read() -> None:
    exchange = load(
        "limits: {enforced: false}\nprices: {SOL: '150'}\nfaults: [{kind: latency, seconds: 0.5, times: 3}]\n"
    )
    assert not exchange.limits.enforced
    assert str(exchange.prices["SOL"]) == "150"
    assert (exchange.faults.active[0].seconds, exchange.faults.active[0].times) == (0.5, 3)


def test_limits_turned_off_stay_off_after_a_reset() -> None:
    exchange = load(ONE, limits=False)
    exchange.reset()
    assert not exchange.limits.enforced


def test_what_is_not_yaml_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        load("accounts: [\n")


def test_an_account_shows_no_credential_in_its_repr(make_account: Callable[..., Account]) -> None:
    account = make_account()
    assert account.secret_key not in repr(account)
    assert account.passphrase not in repr(account)


def test_an_account_survives_writing_and_reading(make_account: Callable[..., Account]) -> None:
    account = make_account(
        ips=["203.0.113.7"], demo=True, style={"ips": "list"}, balances={"spot": {"BTC": {"frozen": "0.1"}}}
    )
    assert config.document(config.account(config.document(account))) == config.document(account)


def test_the_sample_has_what_the_embedded_stack_binds() -> None:
    accounts = list(load().accounts.values())
    assert accounts[0].name == "unified-trader"
    assert {account.name: account.expect for account in accounts} == {
        "unified-trader": "connected",
        "classic-trader": "connected",
        "classic-spot-only": "limited",
        "unified-read-only": "limited",
        "unified-withdraw": "limited",
        "classic-withdraw": "limited",
        "unified-other-ip": "rejected",
        "unified-demo": "connected",
        "unified-sub": "connected",
        "unified-rsa": "connected",
    }
    assert len({account.uid for account in accounts}) == len(accounts)
    for account in accounts:
        assert re.fullmatch(r"bg_[0-9a-f]{32}", account.api_key)
        pem = account.name == "unified-rsa" and account.secret_key.startswith("-----BEGIN PRIVATE KEY-----\n")
        assert pem or re.fullmatch(r"[0-9a-f]{64}", account.secret_key)
        assert re.fullmatch(r"[A-Za-z0-9]{8,32}", account.passphrase)
