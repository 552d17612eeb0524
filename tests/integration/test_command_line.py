"""Every command of `strongroom` as people and programs use it, on the whole stack: at a terminal, and through pipes."""

import json
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli.processes import clean_environment, free_port

from tests.integration.conftest import Driver, eventually
from tests.integration.terminal import Terminal

COMMAND = [sys.executable, "-m", "cli"]
ORDER = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "qty": "0.001"}
ASSETS = "/api/v3/account/assets"
PLACE = "/api/v3/trade/place-order"
Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def strongroom(driver: Driver) -> Callable[..., Ended]:
    """Return what runs a command at the stack of this machine; never a trace, whatever becomes of it."""

    def run(*words: str, text: str = "", **settings: str) -> Ended:
        environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home), **settings)
        done = subprocess.run(
            [*COMMAND, *words],
            input=text, env=environment, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return done

    return run


@pytest.fixture
def at_terminal(driver: Driver) -> Callable[..., Terminal]:
    """Return what runs a command at a terminal of its own."""

    def run(*words: str, **settings: str) -> Terminal:
        environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home), TERM="xterm", **settings)
        return Terminal([*COMMAND, *words], environment)

    return run


def bound(driver: Driver, **fields: Any) -> str:
    """Bind a fresh key of the first tenant and return the binding's id."""
    answer = driver.bind(driver.account(), **fields)
    assert answer.json()["status"] == "connected", answer.text
    return str(answer.json()["id"])


def lines(done: Ended) -> list[Any]:
    """Return the JSON values that a command printed, one a line."""
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_list_is_a_table_for_people_and_one_json_value_a_line_for_programs(driver: Driver, strongroom: Any) -> None:
    subject = secrets.token_hex(6)
    ids = sorted(bound(driver, subject=subject, label=f"Number {number}") for number in (1, 2))
    eventually(lambda: len(lines(strongroom("list", "--subject", subject, "--json"))) == 2)
    table = strongroom("list", "--subject", subject).stdout.splitlines()
    assert table[0].split() == ["ID", "STATUS", "LABEL", "SUBJECT", "SCOPES", "KEY"]
    assert [row.split()[:2] for row in table[1:]] == [[name, "connected"] for name in ids]
    told = lines(strongroom("list", "--subject", subject, "--status", "connected", "--json"))
    assert [one["id"] for one in told] == ids
    assert lines(strongroom("list", "--subject", subject, "--status", "rejected", "--json")) == []


def test_a_binding_is_shown_whole_verified_anew_and_its_balances_told(driver: Driver, strongroom: Any) -> None:
    name = bound(driver, label="Shown")
    shown = strongroom("show", name).stdout
    assert shown.startswith(f"{name}  connected\n")
    for said in (
        "label         Shown",
        "may           read, spot_trade",
        "credential    bg_",
        "spot_trading  available",
    ):
        assert said in shown
    (told,) = lines(strongroom("show", name, "--json"))
    assert (told["id"], told["permissions"]["spot_trade"]) == (name, "yes")
    assert told["etag"]
    verified = strongroom("verify", name, "--wait", "--json")
    assert lines(verified)[0]["last_verified_at"] > told["last_verified_at"]
    assert "USDT in all, at 2" in strongroom("balances", name).stdout
    assert lines(strongroom("balances", name, "--json"))[0]["total_usdt"]


def test_a_key_that_no_longer_works_is_exit_status_3_with_its_remedy(driver: Driver, strongroom: Any) -> None:
    account = driver.account()
    name = driver.bind(account).json()["id"]
    driver.change(account, ips=["203.0.113.77"])
    done = strongroom("verify", name, "--wait")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "[ip_not_whitelisted]" in done.stdout
    assert "addresses" in strongroom("show", name).stdout


def test_a_key_is_replaced_from_standard_input_and_a_wrong_one_says_what_to_do(driver: Driver, strongroom: Any) -> None:
    uid = "33" + str(secrets.randbelow(10**8)).zfill(8)
    name = driver.bind(driver.account(uid=uid)).json()["id"]
    fresh = driver.account(uid=uid)
    wrong = strongroom("rotate", name, "--from-file", "-", "--wait", text=json.dumps({**fresh, "secret_key": "0" * 64}))
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "credential_rejected" in wrong.stderr
    assert "Copy the secret key again" in wrong.stderr
    done = strongroom("rotate", name, "--from-file", "-", "--wait", "--json", text=json.dumps(fresh))
    (told,) = lines(done)
    assert (told["status"], told["rotation"], told["credential"]["sealed"]) == ("connected", None, True)
    assert told["credential"]["version"] > 1
    assert not any(value in done.stdout + done.stderr + wrong.stderr for value in fresh.values())


def test_a_revocation_is_asked_for_at_a_terminal_and_needs_yes_elsewhere(
    driver: Driver, strongroom: Any, at_terminal: Any
) -> None:
    name = bound(driver)
    nobody = strongroom("revoke", name)
    assert (nobody.returncode, "say --yes" in nobody.stderr) == (2, True)
    for answer, status in (("n\n", 1), ("", 130)):
        with at_terminal("revoke", name) as terminal:
            terminal.expect("for ever?")
            terminal.type(answer)
            ended = terminal.end() if answer else terminal.interrupt()
            assert ended == status, terminal.shown
        assert lines(strongroom("show", name, "--json"))[0]["status"] == "connected"
    with at_terminal("revoke", name) as terminal:
        terminal.expect("for ever?")
        terminal.type("y\n")
        assert terminal.end() == 0, terminal.shown
    assert lines(strongroom("show", name, "--json"))[0]["status"] == "revoked"
    assert strongroom("revoke", name, "--yes").returncode == 0


def test_a_call_is_executed_once_and_its_body_is_the_exchanges_own(driver: Driver, strongroom: Any) -> None:
    name, key = bound(driver), secrets.token_hex(8)
    read = strongroom("execute", name, "GET", ASSETS)
    assert (read.returncode, read.stderr, json.loads(read.stdout)["code"]) == (0, "", "00000")
    placed = strongroom("execute", name, "POST", PLACE, json.dumps(ORDER), "--idempotency-key", key)
    assert (placed.returncode, json.loads(placed.stdout)["code"]) == (0, "00000"), placed.stdout + placed.stderr
    again = strongroom("execute", name, "POST", PLACE, "-", "--idempotency-key", key, text=json.dumps(ORDER))
    assert (again.returncode, json.loads(again.stdout)["msg"]) == (1, "Duplicate clientOid")
    (told,) = lines(strongroom("execute", name, "GET", "/api/v3/trade/unfilled-orders?category=SPOT", "--json"))
    assert (told["status"], told["reason"]) == (200, "")
    assert [one["orderId"] for one in told["body"]["data"]["list"]] == [json.loads(placed.stdout)["data"]["orderId"]]


def test_our_refusal_and_the_exchanges_are_told_apart(driver: Driver, strongroom: Any) -> None:
    account = driver.account()
    name = driver.bind(account).json()["id"]
    ours = strongroom("execute", name, "POST", "/api/v3/account/withdrawal", "{}")
    assert (ours.returncode, ours.stdout) == (1, "")
    assert "policy_refused: Withdrawals are never signed. (rule withdraw" in ours.stderr
    driver.change(account, ips=["203.0.113.77"])
    theirs = strongroom("execute", name, "GET", ASSETS)
    assert (theirs.returncode, theirs.stderr) == (1, "strongroom: ip_not_whitelisted\n"), theirs.stderr
    assert json.loads(theirs.stdout)["code"] != "00000"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["nothing"], 2, "No such command"),
        (["show"], 2, "Missing argument"),
        (["list", "--status", "happy"], 2, "'happy' is not one of"),
        (["list", "--nothing"], 2, "No such option"),
        (["freeze", "create", "tenant", "--reason", "x"], 2, "tenant is named by --tenant"),
        (["freeze", "create", "everything", "--reason", "x", "--tenant", "x"], 2, "by none of the options"),
        (["tenants", "change", "x"], 2, "name what to change"),
        (["webhooks", "add", "https://127.0.0.1/"], 1, "url"),
        (["webhooks", "change", "x"], 2, "name what to change"),
        (["webhooks", "change", "x", "--status", "limited", "--every-status"], 2, "not both"),
        (["webhooks", "replay", "x", "--after", "x", "--dead-letters"], 2, "not both"),
        (["webhooks", "attempts", "x"], 1, "not_found"),
        (["revocations", "start", "--tenant", "x"], 2, "Missing option"),
        (["revocations", "show", "x"], 1, "not_found"),
        (["execute", "x", "GET", "/api/v2/x?a=1&a=2"], 2, "a name comes twice"),
        (["execute", "x", "POST", "/api/v2/x", '{"a": 1, "a": 2}'], 2, "has a name twice"),
        (["audit", "list", "--from", "yesterday"], 1, "is no time"),
        (["show", "0" * 32], 1, "not_found"),
        (["revoke", "../audit", "--yes"], 1, "not_found"),
        (["list", "--tenant", "nobody"], 1, "The stack has no tenant nobody"),
        (["list", "--url", "https://x.invalid"], 1, "--url needs --token-file"),
        (["reconcile", "--redis-url", "http://x"], 1, "must begin with redis://"),
    ],
)
def test_wrong_input_is_told_on_standard_error_and_nothing_is_done(
    strongroom: Any, words: list[str], status: int, said: str
) -> None:
    done = strongroom(*words)
    assert (done.returncode, done.stdout) == (status, ""), done.stderr
    assert said in done.stderr


def test_the_exchange_in_its_place_runs_at_a_terminal_until_ctrl_c(at_terminal: Any) -> None:
    with at_terminal("simulator", "--port", "0", "--control-port", "0") as simulator:
        simulator.expect('"control_url"')
        simulator.expect("}")
        told = json.loads(simulator.shown[simulator.shown.index("{") :])
        assert httpx.get(f"{told['url']}/api/v2/public/time").json()["code"] == "00000"
        assert simulator.interrupt() == 0
        assert "Traceback" not in simulator.shown


def test_who_cannot_be_reached_is_exit_status_4_and_may_be_asked_again(strongroom: Any, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    where = {
        "STRONGROOM_URL": f"http://127.0.0.1:{free_port()}",
        "STRONGROOM_TOKEN_FILE": str(tmp_path / "token"),
    }
    done = strongroom("list", **where)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "unreachable" in done.stderr
    done = strongroom("reconcile", "--redis-url", f"redis://127.0.0.1:{free_port()}")
    assert (done.returncode, "Redis cannot be asked" in done.stderr) == (4, True)


def test_a_tenant_sees_nothing_of_another_and_may_not_do_what_an_operator_may(
    driver: Driver, strongroom: Any, tmp_path: Path
) -> None:
    name = bound(driver)
    foreign, random = strongroom("show", name, "--tenant", "globex"), strongroom("show", "0" * 32, "--tenant", "globex")
    told = [one.stderr.split(" (request")[0] for one in (foreign, random)]
    assert (told[0], foreign.returncode) == (told[1], 1)
    (tmp_path / "token").write_text(driver.facts["tenants"][0]["token"])
    where = ("--url", driver.facts["gateway_url"], "--token-file", str(tmp_path / "token"))
    for words in (["freeze", "list"], ["tenants", "list"]):
        done = strongroom(*words, *where)
        assert (done.returncode, done.stdout, "insufficient_scope" in done.stderr) == (1, "", True), done.stderr


def test_an_operator_freezes_sees_and_lifts(driver: Driver, strongroom: Any) -> None:
    name, tenant = bound(driver, subject="cold"), driver.facts["tenants"][0]["id"]
    made = strongroom("freeze", "create", "subject", "--tenant", tenant, "--subject", "cold", "--reason", "stolen")
    freeze = made.stdout.strip()
    assert (made.returncode, len(freeze)) == (0, 32), made.stderr
    refused = strongroom("execute", name, "GET", ASSETS)
    assert (refused.returncode, "rule frozen" in refused.stderr) == (1, True)
    assert f"subject {tenant} cold" in strongroom("freeze", "list").stdout
    assert [one["reason"] for one in lines(strongroom("freeze", "list", "--json")) if one["id"] == freeze] == ["stolen"]
    assert strongroom("freeze", "lift", freeze, "--reason", "found").returncode == 0
    eventually(lambda: strongroom("execute", name, "GET", ASSETS).returncode == 0)


def test_an_operator_counts_and_ends_many(driver: Driver, strongroom: Any) -> None:
    subject, tenant = secrets.token_hex(6), driver.facts["tenants"][0]["id"]
    names = {bound(driver, subject=subject) for _ in range(2)}
    words = ("revocations", "start", "--tenant", tenant, "--subject", subject, "--reason", "stolen")
    (counted,) = lines(strongroom(*words, "--wait", "--json"))
    assert (counted["matched"], counted["revoked"], set(counted["binding_ids"])) == (2, 0, names)
    refused = strongroom(*words, "--revoke")
    assert (refused.returncode, "say --yes" in refused.stderr) == (2, True)
    done = strongroom(*words, "--revoke", "--yes", "--wait")
    assert (done.returncode, done.stdout.split()[1:6]) == (0, ["done", "fit", "2", "ended", "2"]), done.stderr
    shown = strongroom("revocations", "show", done.stdout.split()[0], "--json")
    assert (lines(shown)[0]["state"], lines(shown)[0]["revoked"]) == ("done", 2)
    assert {lines(strongroom("show", name, "--json"))[0]["status"] for name in names} == {"revoked"}


def test_a_tenant_has_events_delivered_changes_where_and_has_them_sent_again(
    driver: Driver, strongroom: Any, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    (made,) = lines(strongroom("webhooks", "add", "https://hooks.example.com/a", "--secret-file", str(file), "--json"))
    assert file.read_text().startswith("whsec_")
    assert file.stat().st_mode & 0o077 == 0
    name = made["id"]
    assert f"{name}  on     all" in strongroom("webhooks", "list").stdout
    change = ("webhooks", "change", name)
    moved = strongroom(
        *change, "--address", "https://hooks.example.com/b", "--status", "limited", "--status", "revoked"
    )
    assert "events limited revoked" in " ".join(moved.stdout.split())
    assert strongroom("webhooks", "pause", name).stdout.startswith(f"{name}  https://hooks.example.com/b (paused)")
    assert lines(strongroom("webhooks", "resume", name, "--json"))[0]["paused"] is False
    assert lines(strongroom(*change, "--every-status", "--json"))[0]["statuses"] == []
    fresh = strongroom("webhooks", "secret", name)
    assert "whsec_" in fresh.stdout
    assert file.read_text() not in fresh.stdout
    before = len(lines(strongroom("webhooks", "list", "--json")))
    bound(driver)
    assert int(strongroom("webhooks", "replay", name).stdout) >= 1
    assert strongroom("webhooks", "replay", name, "--dead-letters").stdout == "0\n"
    gone = strongroom("webhooks", "replay", name, "--after", "0123abcd-1-0")
    assert (gone.returncode, "after" in gone.stderr) == (1, True), gone.stderr
    for words in (("attempts", name), ("dead-letters", name)):
        assert strongroom("webhooks", *words).returncode == 0
    assert strongroom("webhooks", "remove", name, "--yes").returncode == 0
    assert strongroom("webhooks", "remove", name, "--yes").returncode == 1
    assert len(lines(strongroom("webhooks", "list", "--json"))) == before - 1


def test_an_operator_makes_changes_and_disables_a_tenant(strongroom: Any, tmp_path: Path) -> None:
    (made,) = lines(strongroom("tenants", "create", "initech", "--json"))
    (tmp_path / "rules.json").write_text(json.dumps({"rotation_days": 30}))
    (tmp_path / "bad.json").write_text('{"rotation_days": 30, "rotation_days": 60}')
    change = ("tenants", "change", made["id"], "--rules")
    assert "has a name twice" in strongroom(*change, str(tmp_path / "bad.json")).stderr
    (changed,) = lines(strongroom(*change, str(tmp_path / "rules.json"), "--json"))
    assert (changed["name"], changed["rules"]["rotation_days"]) == ("initech", 30)
    assert "initech (disabled)" in strongroom("tenants", "disable", made["id"]).stdout
    assert [one["disabled"] for one in lines(strongroom("tenants", "list", "--json")) if one["id"] == made["id"]] == [
        True
    ]
    assert lines(strongroom("tenants", "enable", made["id"], "--json"))[0]["disabled"] is False
    assert "rotation days" in strongroom("tenants", "show", made["id"]).stdout


def test_a_tenant_reads_its_own_trail(driver: Driver, strongroom: Any) -> None:
    name = bound(driver)
    told = lines(strongroom("audit", "list", "--binding", name, "--json"))
    assert {one["binding_id"] for one in told} == {name}
    assert told[-1]["action"] == "bind"
    assert len(lines(strongroom("audit", "list", "--limit", "1", "--json"))) == 1
    assert strongroom("audit", "list", "--binding", name).stdout.startswith("TIME ")


def test_watching_resumes_after_a_cut_and_ctrl_c_says_where_to_go_on(
    driver: Driver, strongroom: Any, at_terminal: Any
) -> None:
    first = bound(driver)
    with at_terminal("watch") as terminal:
        terminal.expect(f"{first}  connected")
        second = bound(driver)
        terminal.expect(f"{second}  connected")
        gateway = driver.child("gateway")
        gateway.stop()
        gateway.start()
        third = bound(driver)
        terminal.expect(f"{third}  pending")
        terminal.expect(f"{third}  connected")
        assert terminal.interrupt() == 130
    assert "strongroom: stopped" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert terminal.shown.count(f"{third}  connected") == 1
    assert "--last-event-id " in terminal.shown


def test_a_program_that_watches_gets_each_event_as_a_line_and_what_came_meanwhile(
    driver: Driver, tmp_path: Path
) -> None:
    name, seen = bound(driver), tmp_path / "seen"
    environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home))

    def watching(*words: str) -> subprocess.Popen[bytes]:
        with seen.open("wb") as out:
            return subprocess.Popen(
                [*COMMAND, "watch", name, "--json", *words], env=environment, stdout=out, stderr=subprocess.DEVNULL
            )

    def told() -> list[dict[str, Any]]:
        return [json.loads(line) for line in seen.read_text().splitlines(keepends=True) if line.endswith("\n")]

    watcher = watching()
    try:
        eventually(lambda: told() == [{"type": "reset", "reason": "opened"}])
        with driver.client() as http:
            http.patch(f"/v1/bindings/{name}", json={"label": "Other"}).raise_for_status()
        event = eventually(lambda: told()[1:])[0]
        assert (event["binding_id"], event["status"]) == (name, "connected")
    finally:
        watcher.terminate()
        assert watcher.wait(30) == 130
    with driver.client() as http:
        http.delete(f"/v1/bindings/{name}").raise_for_status()
    watcher = watching("--last-event-id", event["id"])
    try:
        assert eventually(told)[0]["status"] == "revoked"
    finally:
        watcher.terminate()
        watcher.wait(30)


def test_colour_is_for_terminals_alone_and_no_color_is_obeyed(
    driver: Driver, strongroom: Any, at_terminal: Any
) -> None:
    name = bound(driver)
    shown = {}
    for setting in ("", "1"):
        with at_terminal("show", name, NO_COLOR=setting) as terminal:
            assert terminal.end() == 0
        shown[setting] = terminal.shown
    assert "\x1b[32m" in shown[""]
    assert "\x1b" not in shown["1"]
    assert "\x1b" not in strongroom("show", name).stdout


def test_a_reader_that_goes_away_is_no_trace(driver: Driver) -> None:
    bound(driver)
    environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home))
    for words in ("list", "list --json", "audit list --limit 500"):
        line = f"set -o pipefail; '{sys.executable}' -m cli {words} | true"
        done = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        assert "Exception" not in done.stderr, done.stderr


@pytest.mark.parametrize("words", [["reconcile"], ["verify", "--wait"]])
def test_ctrl_c_while_it_waits_ends_at_once_and_leaves_the_terminal_as_it_was(
    driver: Driver, at_terminal: Any, words: list[str]
) -> None:
    name = [bound(driver)] if words[0] == "verify" else []
    driver.child("worker").stop()  # so that there is something to wait for; it is started again for the next test
    with at_terminal(words[0], *name, *words[1:]) as terminal:
        terminal.expect("Waiting")
        assert terminal.interrupt() == 130, terminal.shown
    assert "strongroom: stopped" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert terminal.shown.rfind("\x1b[?25h") > terminal.shown.rfind("\x1b[?25l") >= 0, "the cursor stays hidden"


def test_a_key_is_replaced_at_a_terminal_without_being_shown(driver: Driver, at_terminal: Any) -> None:
    uid = "35" + str(secrets.randbelow(10**8)).zfill(8)
    name = driver.bind(driver.account(uid=uid)).json()["id"]
    fresh = driver.account(uid=uid)
    with at_terminal("rotate", name, "--wait") as terminal:
        for question in ("API key", "Secret key", "Passphrase"):
            terminal.expect(f"{question}: ")
            terminal.type(fresh[question.lower().replace(" ", "_")] + "\n")
        assert terminal.end() == 0, terminal.shown
    assert "sealed: nobody here saw the secret" in terminal.shown
    assert [value for value in fresh.values() if value in terminal.shown] == []


def test_a_token_comes_from_a_pipe_or_from_a_file_that_is_renewed_meanwhile(
    driver: Driver, strongroom: Any, tmp_path: Path
) -> None:
    name, url = bound(driver), driver.facts["gateway_url"]
    token, file = driver.facts["tenants"][0]["token"], tmp_path / "token"
    file.write_text(token)
    environment = clean_environment(STRONGROOM_URL=url)
    line = f"'{sys.executable}' -m cli show {name} --json --token-file <(cat '{file}')"
    piped = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)
    assert lines(piped)[0]["id"] == name
    file.write_text("expired")
    refused = strongroom("show", name, "--token-file", str(file), STRONGROOM_URL=url)
    assert (refused.returncode, refused.stdout, "expired" in refused.stderr) == (1, "", False)
    assert re.search(r"unauthenticated|invalid_token", refused.stderr)


def test_everything_is_compared_when_it_is_asked_for(driver: Driver) -> None:
    name = bound(driver)
    environment = clean_environment(STRONGROOM_HOME=str(driver.stack.home))
    process = subprocess.Popen([*COMMAND, "reconcile"], env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    assert process.stderr.readline() == "strongroom: the workers are asked for it\n"
    worker = driver.child("worker")
    worker.stop()
    worker.start()  # it makes a round at its start, for which another would be waited up to a minute
    rest = process.stderr.read()
    assert (process.wait(60), rest.splitlines()[-1]) == (0, "strongroom: every record is compared")
    process.stderr.close()
    assert driver.settled(name)["status"] == "connected"
