"""What a tenant's caps refuse is told alike to whoever asks over REST, through the base URL and over gRPC."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from common.errors import PolicyRefused
from common.rpc import client
from common.rpc.tls import Identity

from tests.integration.conftest import Driver, eventually
from tests.integration.test_using_a_key import Service, asked

CAPPED = 1  # the tenant's place in conftest.TENANTS
PLACE = "/api/v3/trade/place-order"
CANCEL = "/api/v3/trade/cancel-order"


def order(price: str, **other: str) -> dict[str, str]:
    """Return an order of a hundredth of a coin."""
    fixed = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "qty": "0.01"}
    return fixed | {"price": price, **other}


@pytest.fixture
def rules(driver: Driver) -> Iterator[Any]:
    """Set the tenant's rules as an operator does; afterwards the usual ones hold again."""
    headers = {"Authorization": f"Bearer {driver.facts['admin_token']}"}
    path = f"/v1/admin/tenants/{driver.facts['tenants'][CAPPED]['id']}"
    with httpx.Client(base_url=driver.facts["gateway_url"], headers=headers, timeout=20, trust_env=False) as operator:

        def write(**caps: str) -> None:
            answer = operator.patch(path, json={"rules": caps})
            assert answer.is_success, answer.text
            assert answer.json()["rules"].items() >= caps.items()

        yield write
        write()


async def test_a_refused_order_is_told_with_its_rule_and_its_remedy_wherever_it_was_asked_for(
    driver: Driver, rules: Any
) -> None:
    rules(max_order_notional="250", max_daily_notional="700")
    bound = driver.bind(driver.account(), tenant=CAPPED).json()["id"]

    def execute(path: str, body: dict[str, str]) -> httpx.Response:
        with driver.client(CAPPED) as http:
            return http.post(f"/v1/bindings/{bound}/requests", json={"method": "POST", "path": path, "body": body})

    def proxy(body: dict[str, str]) -> httpx.Response:
        with driver.client(CAPPED) as http:
            return http.post(f"/v1/bindings/{bound}/proxy{PLACE}", json=body)

    eventually(lambda: execute(PLACE, order("30000")).status_code == 403)  # what is registered is a second old
    for answer in (execute(PLACE, order("25001")), proxy(order("25001"))):
        told = answer.json()
        assert (answer.status_code, told["code"], told["rule"]) == (403, "policy_refused", "tenant_order_notional")
        assert "smaller" in told["detail"]
    market = {name: value for name, value in order("1", orderType="market", side="sell").items() if name != "price"}
    for answer in (execute(PLACE, market), proxy(market)):
        told = answer.json()
        assert (answer.status_code, told["rule"]) == (403, "tenant_notional_unknown")
        assert "limit orders" in told["detail"]

    placed = [execute(PLACE, order("25000")), proxy(order("25000", clientOid="mine"))]
    assert [answer.json()["code"] for answer in placed] == ["00000"] * 2, [answer.text for answer in placed]
    for answer in (execute(PLACE, order("20001")), proxy(order("20001"))):
        told = answer.json()
        assert (answer.status_code, told["rule"]) == (403, "tenant_daily_notional")
        assert "tomorrow" in told["detail"]
    named = {"category": "SPOT", "symbol": "BTCUSDT", "clientOid": "mine"}
    assert execute(CANCEL, named).status_code == 200, "what only cancels counts nothing"

    facts = driver.facts
    identity = Identity(*(Path(facts[name]) for name in ("client_cert_file", "client_key_file", "ca_file")))
    async with client.channel(facts["verifier_target"], "verifier", identity) as channel:
        service = Service(driver, channel, CAPPED)
        for body, rule in ((order("25001"), "tenant_order_notional"), (order("20001"), "tenant_daily_notional")):
            for call in (service.execute, service.sign):
                with pytest.raises(PolicyRefused) as refused:
                    await call(bound, asked("POST", PLACE, body))
                assert refused.value.extra["rule"] == rule
                assert json.dumps(body)[1:-1] not in refused.value.detail
        assert await service.sign(bound, asked("POST", PLACE, order("20000")))
