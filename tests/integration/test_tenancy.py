"""One tenant's bindings do not exist for another, and nothing is signed after the end."""

import asyncio
import secrets
import time

import grpc
import httpx
import pytest
from cli.pki import Leaf
from common import errors
from common.rpc import client
from common.rpc.tls import Identity
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import binding_store_pb2 as store_pb
from strongroom.vault.v1 import binding_store_pb2_grpc as store_rpc
from strongroom.vault.v1 import signer_pb2 as signer_pb
from strongroom.vault.v1 import signer_pb2_grpc as signer_rpc

from tests.integration.conftest import Driver

ROUTES = [
    ("GET", "/v1/bindings/{id}"),
    ("POST", "/v1/bindings/{id}/verify"),
    ("DELETE", "/v1/bindings/{id}"),
    ("GET", "/v1/bindings/{id}/balances"),
    ("GET", "/v1/bindings/{id}/events"),
]


@pytest.mark.bar(1)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_id_is_answered_byte_for_byte_like_a_random_one(method: str, path: str, driver: Driver) -> None:
    mine = driver.bind(driver.account()).json()
    with driver.client(1, **{"X-Request-Id": "same-request-id"}) as other:
        answers = [
            other.request(method, path.format(id=each)) for each in (mine["id"], secrets.token_hex(16), "not-an-id")
        ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert len({answer.content for answer in answers}) == 1
    passing = ("date", "traceparent", "ratelimit")  # the last counts requests, whatever was asked
    kept = [{k: v for k, v in answer.headers.items() if k not in passing} for answer in answers]
    assert kept[0] == kept[1] == kept[2]
    with driver.client() as http:
        assert http.get(f"/v1/bindings/{mine['id']}").json()["status"] == "connected"


def test_a_list_shows_only_the_callers_own_bindings(driver: Driver) -> None:
    mine = driver.bind(driver.account()).json()["id"]
    theirs = driver.bind(driver.account(), tenant=1).json()["id"]
    seen: dict[int, set[str]] = {}
    for tenant in (0, 1):
        with driver.client(tenant) as http:
            cursor, ids = "", set()
            while cursor is not None:
                page = http.get("/v1/bindings", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
                ids |= {each["id"] for each in page["items"]}
                cursor = page["next_cursor"]
            seen[tenant] = ids
    assert mine in seen[0] - seen[1]
    assert theirs in seen[1] - seen[0]
    assert not seen[0] & seen[1]


def test_the_same_key_is_bound_once_in_a_tenant_and_again_in_another(driver: Driver) -> None:
    credential = driver.account()
    first = driver.bind(credential).json()
    again = driver.bind(credential)
    assert again.status_code == 409
    assert (again.json()["code"], again.json()["binding_id"]) == ("already_bound", first["id"])
    assert driver.bind(credential, tenant=1).status_code == 201


def test_a_repeat_has_one_effect_and_another_body_is_refused(driver: Driver) -> None:
    credential = driver.account()
    first, second = (driver.bind(credential, idempotency_key="repeat-0001") for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    changed = driver.bind(credential, idempotency_key="repeat-0001", label="another")
    assert (changed.status_code, changed.json()["code"]) == (422, "idempotency_key_reused")


def identity(driver: Driver, name: str) -> Identity:
    folder = driver.stack.home / "pki"
    leaf = Leaf(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")
    return Identity(leaf.cert_file, leaf.key_file, leaf.ca_file)


async def sign(driver: Driver, binding_id: str, path: str = "/api/v3/account/info", who: str = "worker") -> object:
    request = signer_pb.SignRequest(
        binding_id=binding_id,
        tenant_id=driver.facts["tenants"][0]["id"],
        requests=[ExchangeRequest(method="GET", path=path)],
    )
    async with client.channel(driver.facts["vault_target"], "vault", identity(driver, who)) as channel:
        return await client.call(signer_rpc.SignerStub(channel).Sign, request, timeout_s=5)


def test_after_a_delete_was_answered_nothing_is_signed(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    [signed] = asyncio.run(sign(driver, bound["id"])).signed
    assert signed.target == "/api/v3/account/info"
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{bound['id']}").status_code == 204
        for _ in range(20):
            with pytest.raises((errors.BindingRevoked, errors.NotFound)):
                asyncio.run(sign(driver, bound["id"]))
        assert http.delete(f"/v1/bindings/{bound['id']}").status_code == 204
        assert http.get(f"/v1/bindings/{bound['id']}").json()["status"] == "revoked"


def test_a_revoked_key_can_be_bound_anew_under_a_new_id(driver: Driver) -> None:
    credential = driver.account()
    first = driver.bind(credential).json()
    with driver.client() as http:
        assert http.delete(f"/v1/bindings/{first['id']}").status_code == 204
    second = driver.bind(credential).json()
    assert second["status"] == "connected"
    assert second["id"] != first["id"]


@pytest.mark.parametrize("path", ["/api/v2/spot/wallet/withdrawal", "/api/v2/spot/trade/place-order", "/api/v9/x"])
def test_a_worker_gets_nothing_signed_but_verification_reads(path: str, driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    with pytest.raises(errors.PolicyRefused) as refusal:
        asyncio.run(sign(driver, bound["id"], path))
    assert refusal.value.extra["rule"]


@pytest.mark.parametrize("who", ["gateway", "verifier", "client"])
def test_no_other_workload_gets_anything_signed(who: str, driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    with pytest.raises(errors.PermissionDenied):
        asyncio.run(sign(driver, bound["id"], who=who))


@pytest.mark.bar(2)
def test_the_gateways_certificate_cannot_name_a_tenant(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()

    async def describe(authorization: str | None, tenant: str) -> object:
        async with client.channel(driver.facts["vault_target"], "vault", identity(driver, "gateway")) as channel:
            request = store_pb.DescribeRequest(binding_id=bound["id"], tenant_id=tenant)
            stub = store_rpc.BindingStoreStub(channel)
            return await client.call(stub.Describe, request, timeout_s=5, authorization=authorization)

    mine, other, *_ = driver.facts["tenants"]
    with pytest.raises(errors.PermissionDenied):
        asyncio.run(describe("Bearer " + other["token"], mine["id"]))
    with pytest.raises(errors.Unauthenticated):
        asyncio.run(describe(None, mine["id"]))
    with pytest.raises(errors.NotFound):
        asyncio.run(describe("Bearer " + other["token"], ""))


def test_no_port_of_grpc_speaks_to_strangers(driver: Driver) -> None:
    async def plaintext(target: str) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await store_rpc.BindingStoreStub(channel).Names(store_pb.NamesRequest(), timeout=3).read()
            return caught.value.code()

    for name in ("vault_target", "verifier_target"):
        assert asyncio.run(plaintext(driver.facts[name])) is grpc.StatusCode.UNAVAILABLE


def test_a_request_without_a_valid_token_learns_nothing(driver: Driver) -> None:
    with httpx.Client(base_url=driver.facts["gateway_url"], trust_env=False) as http:
        for header in ({}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}):
            for path in ("/v1/bindings", "/v1/events", "/v1/exchanges/bitget", "/v1/bindings/" + "0" * 32):
                answer = http.get(path, headers=header)
                assert (answer.status_code, answer.headers["www-authenticate"][:6]) == (401, "Bearer")


def test_the_answer_of_a_delete_does_not_wait_for_redis(driver: Driver) -> None:
    bound = driver.bind(driver.account()).json()
    driver.child("valkey").pause()
    try:
        with driver.client() as http:
            started = time.monotonic()
            assert http.delete(f"/v1/bindings/{bound['id']}").status_code == 204
            assert time.monotonic() - started < 15
    finally:
        driver.child("valkey").resume()
