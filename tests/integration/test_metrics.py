"""What the processes of a whole stack tell at /metrics, compared with the table of docs/metrics.md."""

import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.conftest import Driver, eventually
from tests.integration.test_canary import assert_absent, spellings

DOCUMENT = Path(__file__).parents[2] / "docs/metrics.md"
PROCESSES = ("gateway", "deliverer", "vault", "verifier", "worker")
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| [\w ]+ \| (.*?) \| (.*?) \| .+ \|$", re.MULTILINE)
ORDER = {"symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "size": "0.001", "force": "gtc"}


class Row(NamedTuple):
    """A line of the table: the values that it lists of each label, empty where it does not list them."""

    type: str
    labels: dict[str, set[str]]
    told_by: set[str]


def table() -> dict[str, Row]:
    found = {}
    for name, kind, labels, told_by in ROW.findall(DOCUMENT.read_text()):
        sets: dict[str, set[str]] = {}
        for part in filter(None, labels.split("; ")):
            label, _, values = part.partition(": ")
            listed = re.fullmatch(r"(`\w+`(, )?)+", values)
            sets[label.strip("`")] = set(re.findall(r"`(\w+)`", values)) if listed else set()
        found[name] = Row(kind, sets, set(re.findall("`(.*?)`", told_by)))
    return found


def page(driver: Driver, process: str) -> str:
    answer = httpx.get(f"http://{driver.child(process).health_address}/metrics", timeout=10, trust_env=False)
    assert answer.status_code == 200, process
    return answer.text


def types(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))


def value(text: str, name: str, **labels: str) -> float:
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    found = [one.value for one in samples if one.name == name and labels.items() <= one.labels.items()]
    return sum(found)


@pytest.fixture
def used(driver: Driver) -> tuple[set[bytes], set[bytes]]:
    """Bind, sign, fail and end; return every spelling of the secrets, and the names that no page may tell."""
    needles: set[bytes] = set()
    credential, wrong = driver.account("classic-trader"), driver.account("unified-trader")
    wrong["secret_key"] = secrets.token_hex(32)
    for one in (credential, wrong):
        for part in ("api_key", "secret_key", "passphrase"):
            needles |= spellings(one[part])
    bound, refused = driver.bind(credential).json()["id"], driver.bind(wrong).json()["id"]
    with driver.client() as http:
        for path in ("/api/v2/spot/trade/place-order", "/api/v2/spot/wallet/withdrawal"):
            http.post(f"/v1/bindings/{bound}/requests", json={"method": "POST", "path": path, "body": ORDER})
        http.get("/v1/bindings/" + secrets.token_hex(16))
        assert http.delete(f"/v1/bindings/{bound}").status_code == 204
    names = {one["id"].encode() for one in driver.facts["tenants"]} | {bound.encode(), refused.encode()}
    return needles, names | {b"customer-1", b"acme"}


def test_the_table_lists_exactly_what_each_process_tells(driver: Driver, used: object) -> None:
    rows = table()
    eventually(lambda: "strongroom_reconcile_last_round" in page(driver, "worker"))
    for process in PROCESSES:
        told = {name: kind for name, kind in types(page(driver, process)).items() if not name.startswith("process_")}
        assert told == {name: row.type for name, row in rows.items() if process in row.told_by}, process


def test_every_label_and_its_values_are_those_of_the_table(driver: Driver, used: object) -> None:
    rows, seen = table(), 0
    for process in PROCESSES:
        for family in text_string_to_metric_families(page(driver, process)):
            if family.name.startswith("process_"):
                continue
            row = rows[family.name + ("_total" if family.type == "counter" else "")]
            for sample in family.samples:
                labels = {name: told for name, told in sample.labels.items() if name != "le"}
                assert labels.keys() == row.labels.keys(), sample
                for name, told in labels.items():
                    seen += 1
                    assert told in row.labels[name] or not row.labels[name], sample
                    assert re.fullmatch(r"[\w/{}.-]{1,80}", told), sample
    assert seen > 100


@pytest.mark.parametrize("process", PROCESSES)
def test_prometheus_own_linter_finds_nothing_to_say(driver: Driver, used: object, process: str) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool, which lints measures, is not on this machine (Debian's package prometheus)")
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=page(driver, process), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_counter_that_an_alert_asks_for_is_told_before_it_ever_rises(driver: Driver) -> None:
    rules = (Path(__file__).parents[2] / "deploy/observability/alerts.yaml").read_text()
    rising = re.findall(r"increase\((\w+)(?:\{(\w+)(=|!=)\"(\w+)\"\})?\[", rules)
    assert len(rising) >= 9
    pages = "\n".join(page(driver, process) for process in PROCESSES)
    for name, label, sign, told in rising:
        lines = re.findall(rf"^{name}(?:\{{.*\}})? ", pages, re.MULTILINE)
        lines = [line for line in lines if not label or (f'{label}="{told}"' in line) == (sign == "=")]
        assert lines, (name, label, told)


def test_what_was_done_is_counted_where_it_was_done(driver: Driver, used: object) -> None:
    vault, gateway = page(driver, "vault"), page(driver, "gateway")
    assert value(vault, "strongroom_binds_total", outcome="created") >= 2
    assert value(vault, "strongroom_signatures_total", purpose="caller", rule="spot_trade", outcome="done") >= 1
    assert value(vault, "strongroom_signatures_total", rule="withdraw", outcome="policy_refused") >= 1
    assert value(vault, "strongroom_signatures_total", purpose="verification", outcome="done") >= 2
    assert value(vault, "strongroom_audited_actions_total", action="revoke", outcome="done") >= 1
    assert value(vault, "strongroom_rpc_server_calls_total", method="Signer/Sign", code="OK") >= 2
    assert value(vault, "strongroom_rpc_server_calls_total", method="Signer/Sign", code="INTERNAL") == 0
    assert value(vault, "strongroom_vault_requests_total", operation="sign", outcome="done") >= 2
    assert 0 < value(vault, "strongroom_vault_token_life_seconds") <= 300
    assert value(vault, "strongroom_canary_signatures_total", outcome="done") >= 1
    assert value(vault, "strongroom_audit_append_duration_seconds_count") >= 5
    assert value(gateway, "gateway_requests_total", route="/v1/bindings", method="POST") >= 2
    assert value(gateway, "strongroom_certificate_expires_timestamp_seconds") > 1.7e9
    worker = page(driver, "worker")
    assert value(worker, "strongroom_verdicts_total", status="connected") >= 1
    assert value(worker, "strongroom_verdicts_total", status="rejected") >= 1
    assert value(worker, "strongroom_exchange_requests_total", lane="verify", code="00000", status="2xx") >= 2
    assert value(worker, "strongroom_budget_turns_total", lane="verify") >= 2
    assert value(page(driver, "verifier"), "strongroom_exchange_requests_total", lane="trade") >= 1
    eventually(lambda: value(page(driver, "worker"), "strongroom_jobs_looked_timestamp_seconds") > 1.7e9)
    eventually(lambda: value(page(driver, "worker"), "strongroom_jobs_planned") >= 1)
    eventually(lambda: value(page(driver, "deliverer"), "strongroom_webhook_looked_timestamp_seconds") > 1.7e9)


def test_a_key_that_two_tenants_hold_raises_the_operators_alarm(driver: Driver) -> None:
    credential, counter = driver.account(), "strongroom_keys_bound_elsewhere_total"
    before = value(page(driver, "vault"), counter)
    for tenant in (0, 1):
        assert driver.bind(credential, tenant=tenant).json()["status"] == "connected"
    eventually(lambda: value(page(driver, "vault"), counter) > before)


@pytest.mark.bar(9)
def test_no_page_tells_a_secret_a_tenant_or_a_binding(driver: Driver, used: tuple[set[bytes], set[bytes]]) -> None:
    needles, names = used
    pages = {process: page(driver, process).encode() for process in PROCESSES}
    assert_absent(needles | names, pages)


def test_the_measures_are_read_by_one_word_alone(driver: Driver) -> None:
    for process in ("vault", "verifier", "worker", "deliverer"):
        address = driver.child(process).health_address
        for path in ("/", "/debug", "/metrics/", "/livez"):
            assert httpx.get(f"http://{address}{path}", timeout=10, trust_env=False).status_code == 404
        assert httpx.post(f"http://{address}/metrics", timeout=10, trust_env=False).status_code == 405
