"""Sealed binds through the whole stack, and `strongroom bind` as people use it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli.processes import clean_environment
from strongroom_client import Credential
from strongroom_client.credential import SealingKey

from tests.integration.conftest import Driver, eventually
from tests.integration.terminal import Terminal

COMMAND = [sys.executable, "-m", "cli", "bind"]


def sealed(driver: Driver, credential: dict[str, str]) -> dict[str, str]:
    """Return a credential with its secret sealed, as a customer's own program would send it."""
    with driver.client() as http:
        told = eventually(lambda: http.get("/v1/exchanges/bitget").json()["wrapping_key"])
    parts = {name: credential[name] for name in ("api_key", "secret_key", "passphrase")}
    key_type: Any = credential.get("key_type", "hmac")
    return Credential(**parts, key_type=key_type).sealed(SealingKey(told["public_key"])).document()


def test_a_sealed_key_is_connected_by_its_verification(driver: Driver) -> None:
    answer = driver.bind(sealed(driver, driver.account()))
    assert (answer.status_code, answer.json()["status"]) == (201, "connected"), answer.text
    assert answer.json()["credential"]["sealed"] is True


def test_a_sealed_rsa_key_is_connected_by_its_verification(driver: Driver) -> None:
    sample = driver.facts["rsa_sample_keys"][0]
    with driver.client() as http:
        for one in http.get("/v1/bindings").json()["items"]:
            if one["credential"]["key_type"] == "rsa":
                http.delete(f"/v1/bindings/{one['id']}")
    answer = driver.bind(sealed(driver, sample))
    assert (answer.status_code, answer.json()["status"]) == (201, sample["expect"]), answer.text
    assert answer.json()["credential"]["sealed"] is True


def test_a_secret_of_another_key_is_rejected_by_the_exchange_not_by_us(driver: Driver) -> None:
    credential = {**driver.account(), "secret_key": "0123456789abcdef" * 4}
    answer = driver.bind(sealed(driver, credential)).json()
    assert (answer["status"], answer["reason"]) == ("rejected", "invalid_secret")


def test_a_ciphertext_is_refused_under_another_name_and_for_another_tenant_alike(driver: Driver) -> None:
    credential = sealed(driver, driver.account())
    assert driver.bind(credential).status_code == 201
    told = [driver.bind({**credential, "api_key": f"bg_{tenant}" + "0" * 30}, tenant=tenant) for tenant in (0, 1)]
    assert told[0].json()["errors"] == told[1].json()["errors"]
    assert [one["code"] for one in told[1].json()["errors"]] == ["wrapped_secret_used"]


@pytest.fixture
def command(driver: Driver, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return what runs `strongroom bind` for the first tenant with options, and a text for its standard input."""
    token = tmp_path / "token"
    token.write_text(driver.facts["tenants"][0]["token"] + "\n")
    where = ["--url", driver.facts["gateway_url"], "--token-file", str(token)]

    def run(*options: str, text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *where, *options],
            input=text, env=clean_environment(), capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip

    return run


def test_the_command_seals_binds_waits_and_prints_the_binding(driver: Driver, command: Any) -> None:
    credential = driver.account()
    done = command("--from-file", "-", "--wait", "--json", "--label", "Mine", text=json.dumps(credential))
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert (shown["status"], shown["label"], shown["credential"]["sealed"]) == ("connected", "Mine", True)
    assert credential["secret_key"] not in done.stdout + done.stderr


def test_the_command_uses_the_stack_on_this_machine(driver: Driver, tmp_path: Path) -> None:
    file = tmp_path / "key.json"
    file.write_text(json.dumps(driver.account()))
    for where in (["--tenant", "globex"], ["--tenant", "globex", "--plain"]):
        done = subprocess.run(
            [*COMMAND, "--from-file", str(file), *where],
            env=clean_environment(STRONGROOM_HOME=str(driver.stack.home)),
            capture_output=True, text=True, timeout=90, check=False,
        )  # fmt: skip
        if "--plain" not in where:
            assert (done.returncode, "sealed: nobody here saw the secret" in done.stdout) == (0, True), done.stderr
        else:  # the same key again
            assert done.returncode == 1
            assert "already_bound" in done.stderr


@pytest.mark.parametrize(
    ("options", "text", "said"),
    [
        (["--from-file", "-"], "no JSON", "must be one JSON object"),
        (["--from-file", "-"], '{"api_key": "canary-value"}', "lacks secret_key, passphrase"),
        (["--from-file", "-"], '{"canary-field": "x"}', "fields too many"),
        (["--from-file", "/nothing/there"], "", "cannot be read"),
        (["--from-file", "-"], '{"api_key": "bg_1", "secret_key": "canary-short", "passphrase": "p"}', "32 to 512"),
        (["--from-file", "-", "--fingerprint", "0" * 64], "GOOD", "another fingerprint: nothing was sent"),
        (["--from-file", "-", "--url", "http://192.0.2.1"], "GOOD", "must begin with https://"),
        ([], "", "no terminal"),
    ],
)
def test_what_cannot_be_bound_ends_with_one_line_and_nothing_of_the_key(
    driver: Driver, command: Any, options: list[str], text: str, said: str
) -> None:
    good = {"api_key": "bg_" + "0" * 32, "secret_key": "canary" * 10, "passphrase": "canary"}
    done = command(*options, text=json.dumps(good) if text == "GOOD" else text)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert said in done.stderr
    assert "canary" not in done.stderr


def asked(driver: Driver) -> Terminal:
    environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home))
    return Terminal([*COMMAND, "--wait"], environment)


def test_at_a_terminal_the_three_values_are_asked_for_and_never_shown(driver: Driver) -> None:
    credential = driver.account()
    with asked(driver) as terminal:
        for question, name in (
            ("API key: ", "api_key"),
            ("Secret key: ", "secret_key"),
            ("Passphrase: ", "passphrase"),
        ):
            terminal.expect(question)
            terminal.type(credential[name] + "\n")
        assert (terminal.end(), "connected" in terminal.shown) == (0, True), terminal.shown
    assert [part for part in credential.values() if part in terminal.shown] == []


def test_ctrl_c_at_a_question_ends_with_one_line(driver: Driver) -> None:
    with asked(driver) as terminal:
        terminal.expect("API key: ")
        terminal.type("bg_" + "1" * 32 + "\n")
        terminal.expect("Secret key: ")
        assert terminal.interrupt() == 130
    assert ("strongroom: stopped" in terminal.shown, "Traceback" in terminal.shown) == (True, False)
