"""A key is used over REST, on the whole stack: as JSON, by the drop-in base URL, by an unmodified client."""

import http.client
import json
import secrets
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.conftest import Driver, eventually

ORDER = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "qty": "0.001"}
PLACE = "/api/v3/trade/place-order"
ASSETS = "/api/v3/account/assets"
WITHDRAWAL = "/api/v2/spot/wallet/withdrawal"


class Bound:
    """A connected binding, its REST client and its drop-in base URL."""

    def __init__(self, driver: Driver, like: str = "unified-trader") -> None:
        self.driver, account = driver, driver.account(like)
        answer = driver.bind(account)
        assert answer.json()["status"] == "connected", answer.text
        self.account, self.id = account, answer.json()["id"]
        self.token = driver.facts["tenants"][0]["token"]
        self.base = f"{driver.facts['gateway_url']}/v1/bindings/{self.id}"
        self.proxy = self.base + "/proxy"

    def arrived(self) -> list[str]:
        """Return what the exchange received of this account; of others it may be asked at any time."""
        told = httpx.get(self.driver.facts["simulator_control_url"] + "/requests", trust_env=False).json()
        return [one["target"] for one in told["requests"] if one["account"] == self.account["api_key"]]

    def execute(self, **wanted: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token}", **wanted.pop("headers", {})}
        return httpx.post(self.base + "/requests", json=wanted, headers=headers, timeout=30, trust_env=False)

    def passed(self, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Send a target exactly as it is written, with the token where the exchange's API key belongs."""
        place = urlsplit(self.base)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
        sent = {
            "ACCESS-KEY": self.token,
            "ACCESS-SIGN": "x",
            "ACCESS-PASSPHRASE": "y",
            "ACCESS-TIMESTAMP": "1",
        } | headers
        try:
            connection.putrequest(method, place.path + "/proxy" + target, skip_accept_encoding=True)
            for name, value in sent.items():
                connection.putheader(name, value)
            if body:
                connection.putheader("Content-Type", "application/json")
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture(scope="module")
def bound(running: Driver) -> Bound:
    return Bound(running)


def test_an_order_is_placed_as_json_and_a_repeat_with_its_key_has_one_effect(bound: Bound) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    placed = bound.execute(method="POST", path=PLACE, body=ORDER, headers=key)
    assert (placed.status_code, placed.json()["code"]) == (200, "00000"), placed.text
    assert placed.headers["strongroom-source"] == "exchange"
    assert bound.execute(method="POST", path=PLACE, body=ORDER, headers=key).json()["code"] != "00000"
    pending = bound.execute(method="GET", path="/api/v3/trade/unfilled-orders", query={"category": "SPOT"}).json()
    orders = [one["orderId"] for one in pending["data"]["list"]]
    assert orders.count(placed.json()["data"]["orderId"]) == 1
    cancel = {"category": "SPOT", "symbol": "BTCUSDT", "orderId": placed.json()["data"]["orderId"]}
    assert bound.execute(method="POST", path="/api/v3/trade/cancel-order", body=cancel).json()["code"] == "00000"


def test_the_drop_in_base_url_takes_the_token_for_the_key_and_signs_anew(bound: Bound) -> None:
    status, headers, body = bound.passed("GET", ASSETS)
    assert (status, json.loads(body)["code"], headers["strongroom-source"]) == (200, "00000", "exchange")
    status, _, body = bound.passed("POST", PLACE, json.dumps(ORDER).encode())
    assert (status, json.loads(body)["code"]) == (200, "00000")


def test_what_the_exchange_refuses_comes_back_as_it_said_it(bound: Bound) -> None:
    status, headers, body = bound.passed("POST", PLACE, json.dumps({**ORDER, "symbol": "NONEUSDT"}).encode())
    assert headers["strongroom-source"] == "exchange"
    assert json.loads(body)["code"] not in ("00000", "policy_refused")
    assert status in (200, 400)


@pytest.mark.bar(1)
def test_another_tenants_binding_is_as_unknown_as_one_that_never_was(bound: Bound, driver: Driver) -> None:
    answers = []
    for binding in (bound.id, "f" * 32):
        with driver.client(1) as client:
            for path in (f"/v1/bindings/{binding}/proxy{ASSETS}", f"/v1/bindings/{binding}/requests"):
                asked = {"method": "GET", "path": ASSETS}
                told = client.get(path) if "proxy" in path else client.post(path, json=asked)
                answers.append({**told.json(), "request_id": "", "requestTime": 0})
                assert told.status_code == 404
    assert answers[:2] == answers[2:]


@pytest.mark.bar(22)
def test_a_withdrawal_is_refused_by_its_rule_and_the_exchange_sees_nothing(bound: Bound) -> None:
    before = bound.arrived()
    refused = bound.execute(method="POST", path=WITHDRAWAL, body={"coin": "USDT"})
    assert (refused.status_code, refused.json()["code"], refused.json()["rule"]) == (403, "policy_refused", "withdraw")
    status, headers, body = bound.passed("POST", WITHDRAWAL, b'{"coin":"USDT"}')
    told = json.loads(body)
    assert (status, headers["strongroom-source"], told["rule"]) == (403, "strongroom", "withdraw")
    assert told["msg"] == "Withdrawals are never signed."
    assert bound.arrived() == before


SPELLINGS = [
    "/api/v2/spot/wallet//withdrawal",
    "/api/v2/spot/./wallet/withdrawal",
    "/api/v2/spot/account/../wallet/withdrawal",
    "/api/v2/spot/account/%2e%2e/wallet/withdrawal",
    "/api/v2/spot/account/..%2fwallet/withdrawal",
    "/api/v2/spot/wallet%2fwithdrawal",
    "/api/v2/spot/wallet%252fwithdrawal",
    "/api/v2/spot/wallet/withdrawa%6c",
    "/api/v2/spot/wallet/withdrawal/",
    "/api/v2/spot/wallet/withdrawal;a=b",
    "/api/v2/spot/wallet\\withdrawal",
    "/api/v2/spot/wallet/withdrawal%00",
    "/api/v2/spot/wallet/withdrawal%0d%0aX-A:%20b",
    "//evil.example/api/v2/spot/wallet/withdrawal",
    "/%2F%2Fevil.example/api/v2/spot/wallet/withdrawal",
    "/http://evil.example/api/v2/spot/wallet/withdrawal",
    "/api/v1/spot/wallet/withdrawal",
    "/API/v2/spot/wallet/withdrawal",
    "/api/v2",
    "/",
]


@pytest.mark.bar(25, 26)
@pytest.mark.parametrize("target", SPELLINGS)
def test_an_odd_path_is_malformed_and_the_exchange_sees_nothing(bound: Bound, target: str) -> None:
    before = bound.arrived()
    for method, body in (("GET", b""), ("POST", b'{"coin":"USDT"}')):
        status, headers, told = bound.passed(method, target, body)
        assert (status, json.loads(told)["code"]) == (400, "invalid_exchange_request"), told
        assert headers["strongroom-source"] == "strongroom"
    assert bound.arrived() == before


@pytest.mark.bar(26, 28)
@pytest.mark.parametrize(
    ("method", "target", "body", "code"),
    [
        ("GET", f"{ASSETS}?coin=BTC&coin=ETH", b"", "invalid_exchange_request"),
        ("GET", f"{ASSETS}?coin=BTC%0d%0aX-A:b", b"", "invalid_exchange_request"),
        ("GET", f"{ASSETS}?coin=%ff", b"", "invalid_exchange_request"),
        ("GET", f"{ASSETS}?coin", b"", "invalid_exchange_request"),
        ("GET", ASSETS, b"{}", "invalid_exchange_request"),
        ("POST", PLACE, b'{"symbol":"BTCUSDT","symbol":"ETHUSDT"}', "duplicate_key"),
        ("POST", PLACE, b'{"symbol":NaN}', "malformed_json"),
        ("POST", PLACE, b"\xff\xfe{}", "malformed_json"),
        ("POST", PLACE, b"symbol=BTCUSDT", "malformed_json"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_before_anything_is_signed(
    bound: Bound, method: str, target: str, body: bytes, code: str
) -> None:
    before = bound.arrived()
    status, _, told = bound.passed(method, target, body)
    assert (status, json.loads(told)["code"]) == (400, code)
    assert bound.arrived() == before


def test_without_a_token_only_public_market_data_is_answered(bound: Bound) -> None:
    with httpx.Client(base_url=bound.proxy, trust_env=False, timeout=30) as anybody:
        assert anybody.get("/api/v2/spot/public/symbols").json()["code"] == "00000"
        assert anybody.get("/api/v2/public/time").status_code == 200
        for method, path in (("GET", ASSETS), ("POST", PLACE), ("GET", "/api/v2/spot/account/info")):
            refused = anybody.request(method, path)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        assert anybody.get("/api/v2/spot/public/symbols", headers={"ACCESS-KEY": "bg_0123"}).status_code == 401


def test_a_key_that_dies_while_trading_is_told_in_the_answer_and_looked_at_at_once(driver: Driver) -> None:
    bound = Bound(driver)
    driver.change(bound.account, state="key_unknown")
    _, headers, body = bound.passed("GET", ASSETS)
    assert (json.loads(body)["code"], headers["strongroom-reason"]) == ("40041", "invalid_api_key")

    def disconnected() -> bool:
        with driver.client() as client:
            return bool(client.get(f"/v1/bindings/{bound.id}").json()["status"] == "disconnected")

    eventually(disconnected)


def test_after_a_revocation_nothing_is_sent(driver: Driver) -> None:
    bound = Bound(driver)
    assert bound.passed("GET", ASSETS)[0] == 200
    with driver.client() as client:
        assert client.delete(f"/v1/bindings/{bound.id}").status_code == 204
    before = bound.arrived()
    status, _, told = bound.passed("GET", ASSETS)
    assert (status, json.loads(told)["code"]) == (409, "binding_revoked")
    assert bound.arrived() == before
