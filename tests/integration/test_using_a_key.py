"""A key is used by another service over gRPC, on the whole stack: placed, signed, refused, and seen when it dies."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from common.errors import BindingRevoked, NotFound, PermissionDenied, PolicyRefused
from common.rpc import client
from common.rpc.tls import Identity
from strongroom.signing.v1 import signing_service_pb2 as messages
from strongroom.signing.v1.signing_service_pb2_grpc import SigningServiceStub
from strongroom.types.v1.request_pb2 import ExchangeRequest, QueryParameter
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub

from tests.integration.conftest import Driver, eventually

ORDER = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "qty": "0.001"}


def asked(method: str, path: str, body: Any = None, **query: str) -> ExchangeRequest:
    text = b"" if body is None else json.dumps(body).encode()
    parameters = [QueryParameter(name=name, value=value) for name, value in query.items()]
    return ExchangeRequest(method=method, path=path, query=parameters, body=text)


class Service:
    """One of the platform's services: the certificate of a workload and a tenant's token."""

    def __init__(self, driver: Driver, channel: Any, tenant: int = 0) -> None:
        self.stub = SigningServiceStub(channel)
        self.token = f"Bearer {driver.facts['tenants'][tenant]['token']}"

    async def execute(self, binding: str, request: ExchangeRequest, key: str = "") -> tuple[Any, Any]:
        message = messages.ExecuteRequest(binding_id=binding, request=request, idempotency_key=key)
        calls = client.stream(self.stub.Execute, message, timeout_s=20, authorization=self.token)
        pieces = [piece async for piece in calls]
        return pieces[0].head, json.loads(b"".join(piece.body for piece in pieces))

    async def sign(self, binding: str, request: ExchangeRequest) -> Any:
        message = messages.SignRequest(binding_id=binding, request=request)
        return await client.call(self.stub.Sign, message, timeout_s=20, authorization=self.token)


@pytest.fixture
async def channel(driver: Driver) -> AsyncIterator[Any]:
    facts = driver.facts
    identity = Identity(*(Path(facts[name]) for name in ("client_cert_file", "client_key_file", "ca_file")))
    async with client.channel(facts["verifier_target"], "verifier", identity) as opened:
        yield opened


@pytest.fixture
def service(driver: Driver, channel: Any) -> Service:
    return Service(driver, channel)


def bound(driver: Driver, like: str = "unified-trader", **fields: Any) -> tuple[dict[str, Any], str]:
    account = driver.account(like)
    answer = driver.bind(account, **fields)
    assert answer.json()["status"] == "connected", answer.text
    return account, answer.json()["id"]


async def test_an_order_is_placed_once_found_and_cancelled(driver: Driver, service: Service) -> None:
    _, binding = bound(driver)
    key = secrets.token_hex(8)
    head, placed = await service.execute(binding, asked("POST", "/api/v3/trade/place-order", ORDER), key)
    assert (head.status, placed["code"]) == (200, "00000"), placed
    _, again = await service.execute(binding, asked("POST", "/api/v3/trade/place-order", ORDER), key)
    assert again["code"] != "00000"
    _, pending = await service.execute(binding, asked("GET", "/api/v3/trade/unfilled-orders", category="SPOT"))
    assert [one["orderId"] for one in pending["data"]["list"]] == [placed["data"]["orderId"]]
    cancel = {"category": "SPOT", "symbol": "BTCUSDT", "orderId": placed["data"]["orderId"]}
    _, cancelled = await service.execute(binding, asked("POST", "/api/v3/trade/cancel-order", cancel))
    assert cancelled["code"] == "00000"


async def test_a_classic_account_trades_too(driver: Driver, service: Service) -> None:
    _, binding = bound(driver, "classic-trader")
    order = {
        "symbol": "BTCUSDT",
        "side": "buy",
        "orderType": "limit",
        "force": "gtc",
        "price": "20000",
        "size": "0.001",
    }
    _, placed = await service.execute(binding, asked("POST", "/api/v2/spot/trade/place-order", order), "k")
    assert placed["code"] == "00000", placed
    odd = asked("GET", "/api/v2/spot/trade/orderInfo", clientOid="ch#1+2 a:b龙")
    _, found = await service.execute(binding, odd)
    assert found["code"] != "40009", found  # whatever it says of the order, the signature was right


async def test_what_was_signed_is_taken_by_the_exchange(driver: Driver, service: Service) -> None:
    _, binding = bound(driver)
    told = await service.sign(binding, asked("GET", "/api/v3/account/assets"))
    headers = {one.name: one.value for one in told.signed.headers}
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(driver.facts["bitget_url"] + told.signed.target, headers=headers)
    assert answer.json()["code"] == "00000", answer.text


@pytest.mark.bar(30)
async def test_a_stream_signs_the_good_and_refuses_the_bad(driver: Driver, service: Service) -> None:
    _, binding = bound(driver)
    call: Any = service.stub.SignStream(timeout=30, metadata=(("authorization", service.token),))

    async def write() -> None:
        for number in range(200):
            bad = number % 20 == 0
            request = asked("POST", "/api/v3/account/withdrawal", {}) if bad else asked("GET", "/api/v3/account/assets")
            await call.write(messages.SignStreamRequest(id=number, binding_id=binding, request=request))
        await call.done_writing()

    writing = asyncio.create_task(write())
    told = {answer.id: answer async for answer in call}
    await writing
    assert set(told) == set(range(200))
    for number, answer in told.items():
        if number % 20 == 0:
            assert (answer.refusal.reason, answer.refusal.rule) == ("policy_refused", "withdraw")
        else:
            assert answer.signed.signed.target == "/api/v3/account/assets"


async def test_a_websocket_login_is_signed(driver: Driver, service: Service) -> None:
    account, binding = bound(driver)
    message = messages.SignWebSocketLoginRequest(binding_id=binding)
    told = await client.call(service.stub.SignWebSocketLogin, message, timeout_s=20, authorization=service.token)
    assert (told.login.api_key, told.login.passphrase) == (account["api_key"], account["passphrase"])
    assert len(told.login.timestamp) == 10
    assert len(told.login.sign) == 44


async def test_a_withdrawal_and_a_foreign_binding_are_refused(driver: Driver, service: Service, channel: Any) -> None:
    _, binding = bound(driver, scopes=["spot"])
    refusals = {
        "withdraw": asked("POST", "/api/v3/account/withdrawal", {}),
        "transfer": asked("POST", "/api/v3/account/transfer", {}),
        "scope_futures": asked("POST", "/api/v3/trade/place-order", {**ORDER, "category": "USDT-FUTURES"}),
        "unknown_call": asked("GET", "/api/v3/account/no-such-call"),
    }
    for rule, request in refusals.items():
        with pytest.raises(PolicyRefused) as refused:
            await service.execute(binding, request)
        assert refused.value.extra["rule"] == rule
    for foreign in (binding, secrets.token_hex(16)):
        with pytest.raises(NotFound):
            await Service(driver, channel, tenant=1).execute(foreign, asked("GET", "/api/v3/account/assets"))


async def test_after_a_revocation_nothing_is_sent(driver: Driver, service: Service) -> None:
    _, binding = bound(driver)
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{binding}").status_code == 204
    with pytest.raises(BindingRevoked):
        await service.execute(binding, asked("GET", "/api/v3/account/assets"))


async def test_a_key_that_is_deleted_while_trading_becomes_disconnected(driver: Driver, service: Service) -> None:
    account, binding = bound(driver)
    driver.change(account, state="key_unknown")
    head, answer = await service.execute(binding, asked("GET", "/api/v3/account/assets"))
    assert (answer["code"], head.reason) == ("40041", "invalid_api_key")

    def disconnected() -> bool:
        with driver.client() as http:
            return bool(http.get(f"/v1/bindings/{binding}").json()["status"] == "disconnected")

    await asyncio.to_thread(eventually, disconnected)


@pytest.mark.bar(2, 47)
async def test_no_workload_has_a_trade_signed_without_a_callers_own_token(driver: Driver) -> None:
    _, binding = bound(driver)
    tenant, home = driver.facts["tenants"][0], Path(driver.facts["ca_file"]).parent
    order = SignRequest(
        binding_id=binding,
        tenant_id=tenant["id"],
        purpose=PURPOSE_EXECUTE,
        requests=[asked("POST", "/api/v3/trade/place-order", ORDER)],
    )
    for name in ("gateway", "worker", "client"):
        identity = Identity(home / f"{name}.pem", home / f"{name}.key", home / "ca.pem")
        async with client.channel(driver.facts["vault_target"], "vault", identity) as opened:
            with pytest.raises(PermissionDenied):
                await client.call(
                    SignerStub(opened).Sign, order, timeout_s=10, authorization=f"Bearer {tenant['token']}"
                )
