"""The sign-in at an authorization server: a small one of ours, which insists on PKCE and gives each code once."""

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest

from tests.console.chromium import chromium, person

CLIENT, SECRET = "console", "client secret/ü"
OWN = {"X-Strongroom-Console": "1", "Sec-Fetch-Site": "same-origin"}


class Provider(ThreadingHTTPServer):
    """Signs everybody in at once as the tenant's person, unless `fault` says otherwise."""

    def __init__(self, issuer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.issuer, self.codes, self.redeemed, self.fault = issuer, {}, [], ""
        self.tenant = "a" * 26
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def token(self):
        if self.fault == "foreign":
            return self.issuer.issue(self.tenant, claims={"aud": "somebody-else"})
        return self.issuer.issue(self.tenant, ["bindings:read", "bindings:write"], subject="ada", ttl=600)


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        """Authorize."""
        asked = {name: value for name, (value,) in parse_qs(urlsplit(self.path).query).items()}
        back = {"state": asked["state"]}
        if self.server.fault == "denied":
            back["error"] = "access_denied"
        else:
            back["code"] = secrets.token_urlsafe(16)
            self.server.codes[back["code"]] = asked
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
        self.end_headers()

    def do_POST(self):
        """Give the token of a code."""
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: value for name, (value,) in parse_qs(content).items()}
        asked = self.server.codes.pop(form.get("code"), None)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        pair = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        good = asked is not None and (
            (asked["code_challenge"], asked["code_challenge_method"]) == (challenge, "S256")
            and asked["redirect_uri"] == form["redirect_uri"]
            and pair == "console:client%20secret%2F%C3%BC"
        )
        status = 503 if self.server.fault == "down" else 200 if good else 400
        answer = {"access_token": self.server.token(), "token_type": "Bearer"} if status == 200 else {"error": "x"}
        if self.server.fault == "odd":
            answer = ["no", "object"]
        self.server.redeemed.append(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())


@pytest.fixture(scope="module")
def provider(issuer):
    made = Provider(issuer)
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture(scope="module")
def served_console(serve, provider, folder):
    file = folder / "client.secret"
    file.write_text(SECRET + "\n")
    return serve(
        console=True,
        console_authorize_url=f"{provider.url}/authorize?audience=strongroom",
        console_token_url=f"{provider.url}/token",
        console_client_id=CLIENT,
        console_client_secret_file=str(file),
    )


@pytest.fixture
def web(served_console, provider):
    provider.fault = ""
    with httpx.Client(base_url=served_console.url, timeout=20) as made:
        yield made
    provider.fault = ""


def _authorized(web):
    """Go to the provider and return the way back, not gone yet."""
    begun = web.get("/console/sign-in")
    assert begun.status_code == 303
    return httpx.get(begun.headers["location"]).headers["location"]


def _signed_in(web):
    return web.get("/console/session", headers=OWN).json()["signed_in"]


def test_a_sign_in_asks_for_a_code_by_pkce_and_ends_in_a_session_that_no_script_reads(web, served_console):
    assert web.get("/console/session", headers=OWN).json() == {"signed_in": False, "ways": ["oidc"]}
    begun = web.get("/console/sign-in")
    asked = {name: value for name, (value,) in parse_qs(urlsplit(begun.headers["location"]).query).items()}
    assert asked.pop("state") != asked.pop("code_challenge")
    assert asked == {
        "audience": "strongroom",
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": f"{served_console.url}/console/callback",
        "scope": "openid bindings:read bindings:write audit:read",
        "code_challenge_method": "S256",
    }
    waiting = begun.headers["set-cookie"]
    assert "HttpOnly" in waiting
    assert "SameSite=lax" in waiting
    back = web.get(httpx.get(begun.headers["location"]).headers["location"])
    assert (back.status_code, back.headers["location"]) == (303, f"{served_console.url}/")
    session = next(one for one in back.headers.get_list("set-cookie") if "session" in one)
    assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(session.split("; "))
    assert web.get("/console/session", headers=OWN).json()["subject"] == "ada"


def test_a_code_serves_once_and_only_in_the_browser_that_asked_for_it(web, served_console, provider):
    back = _authorized(web)
    with httpx.Client(base_url=served_console.url, timeout=20) as other:
        assert other.get(back).headers["location"].endswith("/#failed=unauthenticated")
        _authorized(other)
        assert other.get(back).headers["location"].endswith("/#failed=unauthenticated")
        assert not _signed_in(other)
    before = len(provider.redeemed)
    web.get(back)
    assert _signed_in(web)
    web.delete("/console/session", headers=OWN)
    assert web.get(back).headers["location"].endswith("/#failed=unauthenticated")
    assert len(provider.redeemed) == before + 1, "what the browser does not wait for is not asked"


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("denied", "unauthenticated"),
        ("foreign", "unauthenticated"),
        ("odd", "unauthenticated"),
        ("down", "unavailable"),
    ],
)
def test_a_sign_in_that_fails_leads_back_with_a_word_and_no_session(web, provider, fault, kind):
    provider.fault = fault
    back = web.get(_authorized(web))
    assert back.headers["location"].endswith(f"/#failed={kind}")
    assert not _signed_in(web)


def test_without_a_sign_in_server_there_is_no_such_way(serve):
    with httpx.Client(base_url=serve(console=True).url) as web:
        assert web.get("/console/sign-in").status_code == 404
        assert web.get("/console/callback?code=a&state=b").status_code == 404


def test_a_person_signs_in_through_the_browser_and_is_told_when_it_fails(served_console, provider):
    provider.fault = "denied"
    with chromium() as browser, person(browser, served_console.url) as window:
        page = window.page
        page.goto(served_console.url)
        page.get_by_role("link", name="Sign in").click()
        page.get_by_text("The sign-in was not completed").wait_for()
        assert window.violations() == []
        provider.fault = ""
        page.get_by_role("link", name="Sign in").click()
        page.get_by_role("heading", name="API keys").wait_for()
        page.get_by_text("ada").wait_for()
        assert page.evaluate("document.cookie") == ""
        assert "code=" not in page.url
        window.faults = [fault for fault in window.faults if not fault.startswith(f"went elsewhere: {provider.url}/")]
