"""The process itself: its settings, its ops port, its end, its logs, and the document it is described by."""

import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

COMMITTED = Path(__file__).parents[1] / "openapi.json"


@pytest.fixture
def environment(settings):
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **{f"STRONGROOM_{name.upper()}": value for name, value in settings.items()}}


@pytest.fixture
def start(environment, tmp_path):
    """Start the real process, wait until it is ready, and stop it at the end."""
    started = []

    def begin(**changes):
        with (tmp_path / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "gateway"], env={**environment, **changes}, stderr=log)
        started.append(process)
        deadline = time.monotonic() + 30
        while not _ready(environment["STRONGROOM_HEALTH_ADDRESS"]):
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return process, tmp_path / "log"

    yield begin
    for process in started:
        process.kill()
        process.wait()


def _ready(address):
    try:
        return httpx.get(f"http://{address}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def _run(environment, *arguments):
    command = [sys.executable, "-m", "gateway", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_check_prints_the_settings_without_the_password(environment, valkey):
    done = _run(environment, "--check")
    assert done.returncode == 0
    assert f"STRONGROOM_LISTEN={environment['STRONGROOM_LISTEN']}" in done.stdout
    assert f"STRONGROOM_REDIS_URL=redis://***@127.0.0.1:{valkey.port}/0" in done.stdout
    assert valkey.account("gateway")[1].read_text() not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"STRONGROOM_LISTENN": "x"}, "STRONGROOM_LISTENN"),
        ({"STRONGROOM_LISTEN": "nonsense"}, "STRONGROOM_LISTEN"),
        ({"STRONGROOM_EGRESS_IPS": "203.0.113.7,canary"}, "STRONGROOM_EGRESS_IPS"),
        ({"STRONGROOM_JWKS_FILE": "/nowhere/jwks.json"}, "STRONGROOM_JWKS_FILE"),
        ({"STRONGROOM_STREAMS_PER_TENANT": "0"}, "STRONGROOM_STREAMS_PER_TENANT"),
        ({"STRONGROOM_CONSOLE_URL": "http://keys.example.com"}, "STRONGROOM_CONSOLE_URL"),
        ({"STRONGROOM_CONSOLE_URL": "https://keys.example.com/console"}, "STRONGROOM_CONSOLE_URL"),
    ],
)
def test_bad_settings_end_the_process_with_one_line(environment, change, named):
    done = _run({**environment, **change})
    assert (done.returncode, done.stdout) == (2, "")
    assert named in done.stderr
    assert "canary" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_key_set_that_is_none_ends_the_process_with_one_line(environment, tmp_path):
    (tmp_path / "jwks.json").write_text("{")
    done = _run({**environment, "STRONGROOM_JWKS_FILE": str(tmp_path / "jwks.json")})
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_port_that_is_taken_ends_the_process_with_one_line(environment, served):
    done = _run({**environment, "STRONGROOM_LISTEN": f"127.0.0.1:{served.port}"})
    assert (done.returncode, done.stderr) == (1, f"cannot listen on 127.0.0.1:{served.port}: Address already in use\n")


def test_an_unknown_command_is_told(environment):
    assert _run(environment, "serve").returncode == 2


def test_the_committed_document_is_the_one_that_is_served(environment, served):
    assert _run({"PATH": environment["PATH"]}, "openapi").stdout == COMMITTED.read_text()
    assert httpx.get(f"{served.ops_url}/openapi.json").text == COMMITTED.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_ends_in_time_with_streams_open(start, environment, issuer, tenant, number):
    process, _ = start()
    headers = {"Authorization": f"Bearer {issuer.issue(tenant)}"}
    url = f"http://{environment['STRONGROOM_LISTEN']}/v1/events"
    with httpx.stream("GET", url, headers=headers, timeout=15) as answer:
        parts = answer.iter_text()
        assert next(parts) == "retry: 2000\n\n"
        started = time.monotonic()
        process.send_signal(number)
        assert "".join(parts).endswith("retry: 2000\n\n")
    assert process.wait(10) == 0
    assert time.monotonic() - started < 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the kernel's own account of memory")
def test_a_flood_costs_no_memory(start, environment, issuer, tenant):
    process, _ = start()

    def peak():
        status = Path(f"/proc/{process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    headers = {"Authorization": f"Bearer {issuer.issue(tenant)}"}
    with httpx.Client(base_url=f"http://{environment['STRONGROOM_LISTEN']}", headers=headers, timeout=20) as client:
        assert client.get("/v1/bindings").status_code == 200
        before = peak()
        assert client.post("/v1/bindings", content=b"x" * (64 << 20)).status_code == 413
        assert client.post("/v1/bindings", content=(b"x" * 65_536 for _ in range(1024))).status_code == 413
        deep = b'{"label":' + b"[" * 60_000
        assert (
            client.post("/v1/bindings", content=deep, headers={"Content-Type": "application/json"}).status_code == 400
        )
    assert peak() - before < 12_000  # kB


def test_the_logs_hold_ids_and_routes_and_nothing_that_was_sent(start, environment, issuer, tenant, body):
    process, log = start(STRONGROOM_LOG_LEVEL="debug")
    base = f"http://{environment['STRONGROOM_LISTEN']}"
    token = issuer.issue(tenant)
    with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as client:
        identifier = client.post("/v1/bindings", json=body).json()["id"]
        client.get(f"/v1/bindings/{identifier}", params={"token": "canary-query"})
        client.get("/canary-path/canary-path")
        client.post("/v1/bindings", json={**body, "canary-field": "canary-value"})
        client.post("/v1/bindings", content='{"canary-body": ')
        client.get(f"/v1/bindings/{identifier}")
    process.terminate()
    process.wait(10)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["event"] == "request"]
    assert [line["status"] for line in requests] == [202, 400, 404, 422, 415, 200]
    assert (requests[-1]["path"], requests[-1]["binding"]) == ("/v1/bindings/{binding_id}", identifier)
    assert requests[-1]["tenant"] == tenant
    credential = body["credential"]
    for secret in ("canary", token, credential["api_key"], credential["secret_key"], credential["passphrase"]):
        assert secret not in log.read_text()


def test_the_ops_port_tells_life_readiness_and_measures(served, client, world, tenant):
    record = world.put(tenant)
    client.get(f"/v1/bindings/{record.id}")
    assert httpx.get(f"{served.ops_url}/livez").json() == {"status": "live"}
    ready = httpx.get(f"{served.ops_url}/readyz").json()
    assert ready == {"status": "ready", "dependencies": {"vault": "ready", "verifier": "ready", "redis": "ready"}}
    measures = httpx.get(f"{served.ops_url}/metrics").text
    assert 'gateway_requests_total{method="GET",route="/v1/bindings/{binding_id}",status="2xx"}' in measures
    assert tenant not in measures
    assert record.id not in measures
    assert httpx.get(f"{served.ops_url}/v1/bindings").status_code == 404
    assert httpx.post(f"{served.ops_url}/livez").status_code == 405


def test_measures_have_a_closed_set_of_labels(served, client):
    for method in ("GET", "PROPFIND", "LINK", "MKCOL"):
        client.request(method, f"/made-up/{time.time_ns()}")
    measures = httpx.get(f"{served.ops_url}/metrics").text
    assert "made-up" not in measures
    assert "PROPFIND" not in measures


def test_a_service_that_is_down_is_shown_and_does_not_end_readiness(serve, issuer, tenant):
    alone = serve(vault_target="127.0.0.1:1")
    headers = {"Authorization": f"Bearer {issuer.issue(tenant)}"}
    answer = httpx.get(f"{alone.url}/v1/bindings/{'0' * 32}", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    ready = httpx.get(f"{alone.ops_url}/readyz")
    assert (ready.status_code, ready.json()["dependencies"]["vault"]) == (200, "transient_failure")


def test_nothing_that_reads_or_uses_a_secret_is_in_the_gateways_environment():
    needed, found = ["strongroom-gateway"], set()
    while needed:
        name = re.split(r"[^A-Za-z0-9_.-]", needed.pop())[0].lower()
        if name not in found:
            found.add(name)
            parts = importlib.metadata.requires(name) if _installed(name) else None
            needed += [part for part in parts or () if "extra ==" not in part]
    assert "grpcio" in found
    assert not found & {"hvac", "aiohttp", "requests", "strongroom-vault", "strongroom-verifier", "strongroom-cli"}


def _installed(name):
    return any((one.metadata["Name"] or "").lower() == name for one in importlib.metadata.distributions())


def test_the_running_process_has_loaded_no_such_code(environment):
    code = "import sys, gateway.__main__; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True).split()
    assert not {"hvac", "aiohttp", "requests", "vault", "verifier", "cli", "simulator"} & set(loaded)


def test_the_document_shows_every_problem_and_its_routes(served, client):
    document = json.loads(COMMITTED.read_text())
    assert document["openapi"].startswith("3.1")
    codes = document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"]
    told = json.dumps(document["paths"])
    for code in codes:
        assert f"`{code}`" in told or code in ("policy_refused", "revision_changed"), code


@pytest.mark.bar(13)
def test_the_document_has_no_answer_with_a_secret():
    document = json.loads(COMMITTED.read_text())
    schemas = document["components"]["schemas"]
    for name in set(schemas) - {"BindRequest", "Credential"}:
        assert not {"api_key", "secret_key", "wrapped_secret", "passphrase"} & set(schemas[name]["properties"]), name


def test_every_reference_of_the_document_leads_somewhere():
    text = COMMITTED.read_text()
    known = {f"#/components/schemas/{name}" for name in json.loads(text)["components"]["schemas"]}
    used = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert used <= known
