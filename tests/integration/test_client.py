"""The client library against the whole stack: every call, blocking and asynchronous, and what stands in for a key."""

import inspect
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from strongroom_client import (
    AsyncStrongroom,
    Conflict,
    Credential,
    Forbidden,
    InvalidRequest,
    NotFound,
    PolicyRefused,
    Reset,
    StatusEvent,
    Strongroom,
    StrongroomError,
    UnusableCredentialError,
)
from strongroom_client.signing import Asked, Signing

from tests.integration.conftest import Driver, eventually

ASSETS, PLACE = "/api/v3/account/assets", "/api/v3/trade/place-order"
ORDER = {"category": "SPOT", "symbol": "BTCUSDT", "side": "buy", "orderType": "limit", "price": "20000", "qty": "0.001"}


class Blocking:
    """The blocking client with the face of the asynchronous one, so that each test is of both."""

    def __init__(self, room: Strongroom) -> None:
        self._room = room
        self.admin: Any = Blocking(room.admin) if hasattr(room, "admin") else None  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._room, name)

        def called(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return _each(answer) if isinstance(answer, Iterator) else _value(answer)

        return called


async def _value(answer: Any) -> Any:
    return answer


async def _each(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.fixture(params=["blocking", "asynchronous"])
async def clients(driver: Driver, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Return what makes a client of a token, of either kind."""
    made: list[Any] = []

    def client(token: str) -> Any:
        url = driver.facts["gateway_url"]
        if request.param == "asynchronous":
            made.append(AsyncStrongroom(url, token))
            return made[-1]
        made.append(Strongroom(url, token))
        return Blocking(made[-1])

    yield client
    for one in made:
        await one.aclose() if isinstance(one, AsyncStrongroom) else one.close()


@pytest.fixture
def room(driver: Driver, clients: Any) -> Any:
    return clients(driver.facts["tenants"][0]["token"])


def credential(driver: Driver, **changes: Any) -> Credential:
    return Credential(**driver.account(**changes))


def uid() -> str:
    return "34" + str(secrets.randbelow(10**8)).zfill(8)


async def test_a_key_is_sealed_bound_read_changed_listed_verified_and_ended(driver: Driver, room: Any) -> None:
    subject = secrets.token_hex(6)
    binding = await room.bind(credential(driver), wait=30, subject=subject, label="Mine")
    assert (binding.status, binding.credential.sealed, binding.label) == ("connected", True, "Mine")
    assert await room.get(binding.id) == binding
    changed = await room.update(binding.id, label=None, etag=binding.etag)
    assert (changed.label, changed.subject) == ("", subject)
    with pytest.raises(Conflict) as told:
        await room.update(binding.id, label="Lost", etag=binding.etag)
    assert told.value.code == "precondition_failed"
    with driver.client() as http:
        eventually(lambda: http.get("/v1/bindings", params={"subject": subject}).json()["items"])
    assert [one.id async for one in room.list(subject=subject)] == [binding.id]
    assert (await room.verify(binding.id, wait=30)).status == "connected"
    told_balances = await room.balances(binding.id)
    assert told_balances.total_usdt
    assert told_balances.spot
    await room.revoke(binding.id)
    await room.revoke(binding.id)
    assert (await room.get(binding.id)).status == "revoked"


async def test_a_bind_is_repeated_under_its_key_and_what_was_sealed_serves_once(driver: Driver, room: Any) -> None:
    sealed = await room.seal(credential(driver))
    key = secrets.token_hex(8)
    first = await room.bind(sealed, idempotency_key=key, wait=30)
    again = await room.bind(sealed, idempotency_key=key)
    assert (again.id, first.status) == (first.id, "connected")
    with pytest.raises(InvalidRequest) as told:
        await room.bind(sealed, label="Another", idempotency_key=key)
    assert (told.value.code, told.value.idempotency_key) == ("idempotency_key_reused", key)
    with pytest.raises(Conflict) as told_again:
        await room.bind(sealed)
    assert (told_again.value.code, told_again.value.binding_id) == ("already_bound", first.id)


async def test_nothing_is_sent_to_a_wrapping_key_that_is_not_the_one_named(driver: Driver, room: Any) -> None:
    guide = await room.guide()
    fingerprint = guide.wrapping_key.fingerprint
    assert (await room.bind(credential(driver), fingerprint=fingerprint.upper(), wait=30)).status == "connected"
    with pytest.raises(UnusableCredentialError, match="nothing was sent"):
        await room.bind(credential(driver), fingerprint="0" * 64)
    assert (guide.exchange, "127.0.0.1" in guide.egress_addresses) == ("bitget", True)
    assert {"spot", "futures"} <= guide.permissions.keys()


async def test_a_key_is_replaced_and_a_refused_one_comes_with_its_remedy(driver: Driver, room: Any) -> None:
    account = uid()
    binding = await room.bind(credential(driver, uid=account), wait=30)
    replaced = await room.rotate(binding.id, credential(driver, uid=account), wait=30)
    assert (replaced.id, replaced.rotation, replaced.credential.sealed) == (binding.id, None, True)
    assert replaced.credential.version > binding.credential.version
    with pytest.raises(Conflict) as told:
        await room.rotate(binding.id, credential(driver, uid=uid()), wait=30)
    assert (told.value.code, told.value.reason) == ("account_mismatch", "account_mismatch")
    assert told.value.findings[0].remedy
    assert (await room.get(binding.id)).credential.version == replaced.credential.version


async def test_a_call_is_executed_refused_and_told_in_the_exchanges_words(driver: Driver, room: Any) -> None:
    binding = await room.bind(credential(driver), wait=30)
    key = secrets.token_hex(8)
    placed = await room.execute(binding.id, "POST", PLACE, body=ORDER, idempotency_key=key)
    assert (placed.status, placed.json()["code"], placed.source) == (200, "00000", "exchange")
    again = await room.execute(binding.id, "POST", PLACE, body=ORDER, idempotency_key=key)
    assert again.json()["msg"] == "Duplicate clientOid"
    found = await room.execute(binding.id, "GET", "/api/v3/trade/unfilled-orders", query={"category": "SPOT"})
    assert [one["orderId"] for one in found.json()["data"]["list"]] == [placed.json()["data"]["orderId"]]
    with pytest.raises(PolicyRefused) as told:
        await room.execute(binding.id, "POST", "/api/v3/account/withdrawal", body={})
    assert (told.value.rule, told.value.code) == ("withdraw", "policy_refused")


async def test_events_begin_with_a_reset_and_go_on_after_the_gateway_was_away(driver: Driver, room: Any) -> None:
    stream = room.events()
    assert await anext(stream) == Reset("opened")
    binding = await room.bind(credential(driver), wait=30)
    seen: list[StatusEvent] = []
    while not seen or seen[-1].status != "connected":
        item = await anext(stream)
        assert isinstance(item, StatusEvent)
        seen += [item] if item.binding_id == binding.id else []
    gateway = driver.child("gateway")
    gateway.stop()
    gateway.start()
    await room.revoke(binding.id)
    while seen[-1].status != "revoked":
        item = await anext(stream)
        assert isinstance(item, StatusEvent), item
        seen += [item] if item.binding_id == binding.id else []
    assert [one.revision for one in seen] == sorted({one.revision for one in seen})
    await stream.aclose()
    resumed = room.events(binding.id, last_event_id=seen[0].id)
    assert [(await anext(resumed)).id for _ in seen[1:]] == [one.id for one in seen[1:]]
    await resumed.aclose()
    forgotten = room.events(binding.id, last_event_id="00000000-1-0")
    assert isinstance(await anext(forgotten), Reset)
    await forgotten.aclose()


async def test_a_foreign_binding_is_told_as_one_that_does_not_exist(driver: Driver, room: Any, clients: Any) -> None:
    binding = await room.bind(credential(driver), wait=30)
    other = clients(driver.facts["tenants"][1]["token"])
    told = []
    for name in (binding.id, "0" * 32):
        for call in (other.get, other.balances, other.revoke, other.verify):
            with pytest.raises(NotFound) as error:
                await call(name)
            told.append((error.value.code, error.value.detail))
    assert len(set(told)) == 1
    assert [one async for one in other.audit(binding=binding.id)] == []


async def test_a_tenants_trail_is_read_the_newest_first(driver: Driver, room: Any) -> None:
    binding = await room.bind(credential(driver), wait=30)
    told = [one async for one in room.audit(binding=binding.id)]
    assert (told[-1].action, told[-1].phase) == ("bind", "intent")
    assert [one.sequence for one in told] == sorted((one.sequence for one in told), reverse=True)
    assert [one async for one in room.audit(binding=binding.id, until=told[-1].time)] == []


async def test_an_operator_makes_a_tenant_freezes_it_and_ends_its_bindings(
    driver: Driver, room: Any, clients: Any
) -> None:
    operator, tenant = clients(driver.facts["admin_token"]).admin, driver.facts["tenants"][0]["id"]
    made = await operator.create_tenant("hooli", rules={"rotation_days": 30})
    changed = await operator.change_tenant(made.id, name="Hooli", etag=made.etag)
    assert (changed.name, changed.rules.rotation_days) == ("Hooli", 30)
    assert (await operator.disable_tenant(made.id)).disabled
    assert not (await operator.enable_tenant(made.id)).disabled
    assert made.id in {one.id async for one in operator.tenants()}
    assert (await operator.tenant(made.id)).name == "Hooli"
    binding = await room.bind(credential(driver), wait=30, subject="leaving-the-library")
    target = {"kind": "subject", "tenant": tenant, "subject": "leaving-the-library"}
    frozen = await operator.freeze(target, "a drill")
    with pytest.raises(PolicyRefused) as told:
        await room.execute(binding.id, "GET", ASSETS)
    assert (told.value.rule, told.value.freeze_id) == ("frozen", frozen.id)
    assert frozen.id in [one.id for one in await operator.freezes()]
    await operator.lift(frozen.id, "over")
    assert frozen.id not in [one.id for one in await operator.freezes()]
    begun = await operator.revoke_many({"tenant": tenant, "subject": "leaving-the-library"}, "left", dry_run=False)
    while (now := await operator.revocation(begun.id)).state != "done":
        assert now.state in ("matching", "revoking")
    assert (await room.get(binding.id)).status == "revoked"
    with pytest.raises(Forbidden):
        _ = [one async for one in clients(driver.facts["tenants"][0]["token"]).admin.tenants()]


async def test_httpx_meant_for_the_exchange_goes_through_a_binding_without_its_own_key(driver: Driver) -> None:
    account, token = driver.account(), driver.facts["tenants"][0]["token"]
    own = {"ACCESS-KEY": "my-own-key", "ACCESS-SIGN": "my-signature", "ACCESS-PASSPHRASE": "my-passphrase"}
    with Strongroom(driver.facts["gateway_url"], token) as room:
        binding = room.bind(Credential(**account), wait=30)
        with httpx.Client(base_url="https://api.bitget.com", transport=room.transport(binding.id), headers=own) as http:
            assert http.get(ASSETS).json()["code"] == "00000"
            placed = http.post(PLACE, content=json.dumps(ORDER), headers={"Content-Type": "application/json"})
            assert placed.json()["code"] == "00000", placed.text
            odd = http.get("/api/v3/trade/order-info", params={"clientOid": "ch#1+2a:b龙"})
            assert odd.headers["Strongroom-Source"] == "exchange", odd.text
            refused = http.post("/api/v3/account/withdrawal", json={})
            assert (refused.status_code, refused.json()["rule"]) == (403, "withdraw")
            with pytest.raises(httpx.UnsupportedProtocol):
                http.get("https://example.com/api/v3/account/assets")

    async def provider() -> str:
        return str(token)

    async with AsyncStrongroom(driver.facts["gateway_url"], provider) as fresh:
        transport = fresh.transport(binding.id)
        async with httpx.AsyncClient(base_url="https://api.bitget.com", transport=transport, headers=own) as http:
            assert (await http.get(ASSETS)).json()["code"] == "00000"


@pytest.fixture
async def signing(driver: Driver) -> AsyncIterator[Signing]:
    facts = driver.facts
    files = {name: facts[f"client_{name}"] for name in ("cert_file", "key_file")}
    token = facts["tenants"][0]["token"]
    async with Signing(facts["verifier_target"], token, ca_file=facts["ca_file"], **files) as opened:
        yield opened


def bound(driver: Driver) -> tuple[dict[str, Any], str]:
    account = driver.account()
    answer = driver.bind(account)
    assert answer.json()["status"] == "connected", answer.text
    return account, answer.json()["id"]


async def test_a_service_executes_and_signs_over_grpc(driver: Driver, signing: Signing) -> None:
    account, name = bound(driver)
    key = secrets.token_hex(8)
    placed = await signing.execute(Asked(name, "POST", PLACE, body=ORDER), idempotency_key=key)
    assert (placed.status, placed.json()["code"]) == (200, "00000")
    again = await signing.execute(Asked(name, "POST", PLACE, body=ORDER), idempotency_key=key)
    assert again.json()["msg"] == "Duplicate clientOid"
    signed = await signing.sign(Asked(name, "GET", "/api/v3/trade/unfilled-orders", {"category": "SPOT"}))
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(driver.facts["bitget_url"] + signed.target, headers=signed.headers)
    assert answer.json()["code"] == "00000", answer.text
    login = await signing.sign_websocket_login(name)
    assert (login.api_key, login.passphrase) == (account["api_key"], account["passphrase"])
    assert [part for part in account.values() if part in f"{signed!r}{login!r}"] == []
    assert signed.headers["ACCESS-SIGN"] not in repr(signed)


async def test_a_stream_over_grpc_tells_of_each_request_what_became_of_it(driver: Driver, signing: Signing) -> None:
    _, name = bound(driver)
    good, bad = Asked(name, "GET", ASSETS), Asked(name, "POST", "/api/v3/account/withdrawal", body={})
    found = {one.number: one async for one in signing.sign_stream(bad if n % 10 == 3 else good for n in range(100))}
    assert found.keys() == set(range(100))
    refused = [one.error for number, one in found.items() if number % 10 == 3]
    assert {(type(error), error.rule) for error in refused if isinstance(error, PolicyRefused)} == {
        (PolicyRefused, "withdraw")
    }
    assert len(refused) == 10
    assert all(one.signed and one.signed.target == ASSETS for number, one in found.items() if number % 10 != 3)


async def test_what_grpc_refuses_is_the_same_family_as_over_rest(driver: Driver, signing: Signing) -> None:
    _, name = bound(driver)
    with pytest.raises(PolicyRefused) as told:
        await signing.execute(Asked(name, "POST", "/api/v3/account/withdrawal", body={}))
    assert (told.value.rule, told.value.code) == ("withdraw", "policy_refused")
    with pytest.raises(NotFound):
        await signing.sign(Asked("0" * 32, "GET", ASSETS))
    facts = driver.facts
    files = {"cert_file": facts["client_cert_file"], "key_file": facts["client_key_file"], "ca_file": facts["ca_file"]}
    async with Signing(facts["verifier_target"], "no-token", **files) as stranger:
        with pytest.raises(StrongroomError) as refused:
            await stranger.sign(Asked(name, "GET", ASSETS))
    assert refused.value.code in ("unauthenticated", "invalid_token")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match="nothing-there"):
        async with Signing(facts["verifier_target"], "", **{**files, "key_file": Path("nothing-there")}):
            pass


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type[Any]) -> set[str]:
        return {name for name, one in inspect.getmembers(kind) if callable(one) and not name.startswith("_")}

    assert calls(Strongroom) - {"close"} == calls(AsyncStrongroom) - {"aclose"}
