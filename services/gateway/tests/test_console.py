"""The console at the edge: what is served and under which policy, whose requests its cookie counts for, the way in."""

import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from gateway.console import assets

ROOT = Path(__file__).resolve().parents[3]
KEY = "k" * 43
OWN = {"X-Strongroom-Console": "1", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="session")
def console(serve, issuer, folder):
    """A gateway with a console, and the file of its local sign-in."""
    file = folder / "console.json"
    names = {"acme": "a" * 26, "globex": "b" * 26}
    tokens = {name: issuer.issue(tenant, subject=name) for name, tenant in names.items()}
    tokens["administrator"] = issuer.issue("operator".ljust(26, "0"), ["admin"], subject="administrator")
    tokens["stale"] = issuer.issue("a" * 26, subject="stale", ttl=-100)
    tokens["large"] = issuer.issue("a" * 26, subject="x" * 4000)
    file.write_text(json.dumps({"key": KEY, "identities": tokens}))
    return serve(console=True, console_local_file=str(file))


@pytest.fixture
def browser(console):
    """What a browser that shows the page sends, before anybody signed in."""
    with httpx.Client(base_url=console.url, headers=OWN, timeout=10) as made:
        yield made


@pytest.fixture
def signed_in(browser):
    assert browser.post("/console/local", json={"key": KEY, "name": "acme"}).status_code == 204
    return browser


def test_without_an_address_there_is_no_console(client):
    for path in ("/", "/console/main.js", "/console/session"):
        assert client.get(path, headers=OWN).status_code == 404


def test_a_cookie_counts_nowhere_without_a_console(served, console, signed_in):
    cookies = dict(signed_in.cookies)
    assert httpx.get(f"{served.url}/v1/bindings", headers=OWN, cookies=cookies).status_code == 401


def test_every_file_is_served_under_one_strict_policy(browser):
    for name in ("", *(f"console/{name}" for name in assets.pages())):
        answer = browser.get(f"/{name}")
        assert answer.status_code == 200, name
        rules = dict(rule.split(" ", 1) for rule in answer.headers["content-security-policy"].split("; "))
        assert rules.pop("script-src").startswith("'self' 'sha256-")
        assert rules == {
            "default-src": "'none'",
            "style-src": "'self'",
            "img-src": "'self'",
            "connect-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
            "report-uri": "/console/reports",
        }
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"


def test_the_page_names_no_other_origin_and_has_nothing_inline_but_its_import_map(browser):
    page = browser.get("/").text
    assert re.findall(r"(?:src|href)=\"(?!/console/)", page) == []
    assert re.findall(r"<script(?! type=\"(?:module|importmap)\")|<style|\son\w+=|style=", page) == []


@pytest.mark.bar(19)
def test_with_a_console_the_public_port_still_serves_no_documentation_and_no_metrics(browser):
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/livez", "/readyz", "/console"):
        assert browser.get(path).status_code == 404, path
    assert browser.request("TRACE", "/").status_code == 405


def test_only_the_pages_own_files_are_served(browser):
    for name in ("routes.py", "vendor/vendored.json", "vendor/preact.LICENSE", "", "nothing.js", "static/index.html"):
        assert browser.get(f"/console/{name}").status_code == 404, name
    assert browser.get("/console/%2e%2e/routes.py").status_code == 404


def test_the_vendored_libraries_are_what_the_lock_pins_byte_for_byte():
    folder = files("gateway") / "console" / "static" / "vendor"
    listed = json.loads((folder / "vendored.json").read_text())
    locked = json.loads((ROOT / "tools" / "console" / "package-lock.json").read_text())["packages"]
    assert {one["file"] for one in listed} | {"vendored.json"} == {entry.name for entry in folder.iterdir()}
    for one in listed:
        pinned = locked[f"node_modules/{one['package']}"]
        assert (one["version"], one["licence"]) == (pinned["version"], pinned["license"])
        assert hashlib.sha256((folder / one["file"]).read_bytes()).hexdigest() == one["sha256"], one["file"]


def test_another_name_that_leads_here_gets_the_page_at_its_address_and_nothing_else(console):
    with httpx.Client(base_url=console.url, headers={**OWN, "Host": "rebound.example"}) as other:
        answer = other.get("/")
        assert (answer.status_code, answer.headers["location"]) == (307, f"{console.url}/")
        for path in ("/console/main.js", "/console/session"):
            assert other.get(path).status_code == 404
        assert other.post("/console/local", json={"key": KEY, "name": "acme"}).status_code == 404


def test_the_link_of_the_stack_signs_in_by_a_cookie_that_no_script_reads(browser, console):
    assert browser.get("/console/session").json() == {"signed_in": False, "ways": ["local"]}
    names = browser.post("/console/local", json={"key": KEY}).json()["names"]
    assert names[:3] == ["acme", "globex", "administrator"]
    answer = browser.post("/console/local", json={"key": KEY, "name": "acme"})
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith(f"strongroom-session-{console.port}=")
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(attributes)
    told = browser.get("/console/session").json()
    assert (told["signed_in"], told["subject"], told["tenant"]) == (True, "acme", "a" * 26)
    assert told["scopes"] == ["audit:read", "bindings:read", "bindings:write"]
    assert browser.get("/v1/bindings").status_code == 200


def test_another_key_or_name_signs_nobody_in(browser):
    for wanted in ({"key": "x" * 43}, {"key": "x" * 43, "name": "acme"}, {"key": KEY, "name": "nobody"}, {"key": "ü"}):
        answer = browser.post("/console/local", json=wanted)
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False), wanted


def test_a_token_that_has_expired_or_fits_no_cookie_signs_nobody_in(browser):
    for name in ("stale", "large"):
        answer = browser.post("/console/local", json={"key": KEY, "name": name})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False), name


FOREIGN = [
    {"X-Strongroom-Console": ""},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "https://evil.example"},
    {"Origin": "http://127.0.0.1:1"},
    {"Origin": "null"},
    {"Host": "rebound.example"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_request_that_the_page_did_not_make_does_not_stand_in_its_session(signed_in, headers, body):
    assert signed_in.get("/v1/bindings").status_code == 200
    cookie = "; ".join(f"{name}={value}" for name, value in signed_in.cookies.items())
    for method, path in (("GET", "/v1/bindings"), ("POST", "/v1/bindings"), ("GET", "/v1/events")):
        answer = signed_in.request(method, path, headers={**headers, "Cookie": cookie}, json=body)
        assert answer.status_code == 401, (method, path)


@pytest.mark.parametrize("headers", FOREIGN)
def test_nobody_is_signed_in_or_out_by_another_page(signed_in, headers):
    for method, path in (("POST", "/console/local"), ("DELETE", "/console/session"), ("GET", "/console/session")):
        answer = signed_in.request(method, path, headers=headers, json={"key": KEY, "name": "globex"})
        assert answer.status_code in (403, 404), (method, path)
        assert "set-cookie" not in answer.headers


def test_the_session_has_nothing_signed_and_a_brought_token_goes_before_it(signed_in, issuer, tenant):
    identifier = "0" * 32
    used = signed_in.post(f"/v1/bindings/{identifier}/requests", json={"method": "GET", "path": "/api/v2/public/time"})
    assert used.status_code == 401
    placed = signed_in.post(f"/v1/bindings/{identifier}/proxy/api/v2/spot/trade/place-order", json={"size": "1"})
    assert placed.status_code == 401
    reader = {"Authorization": f"Bearer {issuer.issue(tenant, ['audit:read'])}"}
    assert signed_in.get("/v1/bindings", headers=reader).status_code == 403


def test_signing_out_takes_the_session_away(signed_in):
    assert signed_in.delete("/console/session").status_code == 204
    assert signed_in.get("/console/session").json()["signed_in"] is False
    assert signed_in.get("/v1/bindings").status_code == 401


def test_an_administrator_may_freeze_and_reads_no_bindings(browser):
    browser.post("/console/local", json={"key": KEY, "name": "administrator"})
    assert browser.get("/v1/admin/freezes").status_code == 200
    assert browser.get("/v1/bindings").status_code == 403


def test_a_report_of_a_broken_policy_is_taken_and_not_answered(browser):
    report = {"csp-report": {"effective-directive": "script-src", "blocked-uri": "https://evil.example"}}
    answer = browser.post("/console/reports", json=report)
    assert (answer.status_code, answer.content) == (204, b"")
