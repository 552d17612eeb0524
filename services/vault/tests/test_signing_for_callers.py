"""What is signed for a caller: by its own token, within the binding's scopes, with a key that was proven."""

from typing import Any

import pytest
from common.errors import Aborted, InvalidArgument, NotFound, PermissionDenied, PolicyRefused, Unauthenticated
from common.rpc.client import call
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import freezes_pb2
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, PURPOSE_SIGN, PURPOSE_UNSPECIFIED

from services.vault.tests.bound import CANCEL, FILLS, FUTURES_ORDER, RIGHTS, SPOT_ORDER, WITHDRAWAL, Bound
from services.vault.tests.service import World, bearer


@pytest.fixture
async def bound(world: World, connect: Any, tenant: str, request_of: Any) -> Bound:
    made = Bound(world, connect, tenant, request_of())
    await made.bind()
    return made


@pytest.mark.parametrize("purpose", [PURPOSE_EXECUTE, PURPOSE_SIGN])
async def test_an_order_is_signed_for_its_caller_over_exactly_its_bytes(bound: Bound, purpose: int, told: Any) -> None:
    await bound.become(types.STATUS_CONNECTED)
    answer = await bound.sign(SPOT_ORDER, FILLS, purpose=purpose)
    stamp = str(answer.stamped_at_ms)
    for signed, asked in zip(answer.signed, (SPOT_ORDER, FILLS), strict=True):
        headers = {header.name: header.value for header in signed.headers}
        assert (signed.method, signed.body) == (asked.method, asked.body)
        assert headers["ACCESS-SIGN"] == bound.expected(stamp + signed.method + signed.target + signed.body.decode())
        assert "paptrading" not in headers
    assert await bound.signed_lines(told) == ["spot_trade", "read"]


async def test_the_record_and_not_the_caller_says_that_a_key_is_of_the_demo_environment(bound: Bound) -> None:
    await bound.become(types.STATUS_CONNECTED, types.ENVIRONMENT_DEMO)
    [signed] = (await bound.sign(SPOT_ORDER, demo=False)).signed
    assert ("paptrading", "1") in {(header.name, header.value) for header in signed.headers}


@pytest.mark.bar(2)
@pytest.mark.parametrize("by", ["verifier", "gateway", "worker", "client"])
async def test_no_workload_has_anything_signed_for_a_caller_whose_token_it_does_not_have(
    bound: Bound, world: World, server: Any, by: str, told: Any
) -> None:
    await bound.become(types.STATUS_CONNECTED)
    foreign = server.tenant()
    weak = bearer(world, bound.tenant, "bindings:read", "bindings:write", "requests:sign", "requests:websocket")
    for token, named in (
        (None, bound.tenant),
        (None, ""),
        ("Bearer forged", bound.tenant),
        (weak, ""),
        (bearer(world, foreign, "requests:execute"), bound.tenant),
        (bearer(world, foreign, "requests:execute"), ""),
    ):
        for request in (SPOT_ORDER, FILLS, CANCEL):
            with pytest.raises((PermissionDenied, Unauthenticated, NotFound)):
                await bound.sign(request, by=by, token=token, tenant_id=named)
    assert await bound.signed_lines(told) == []


async def test_a_worker_has_no_trade_signed_and_a_caller_no_verification(bound: Bound, told: Any) -> None:
    await bound.become(types.STATUS_CONNECTED)
    for purpose in RIGHTS:
        with pytest.raises(PermissionDenied) as denied:
            await bound.sign(SPOT_ORDER, purpose=purpose, by="worker", tenant_id=bound.tenant)
        assert denied.value.reason == "purpose_not_allowed"
    with pytest.raises(PolicyRefused) as refused:
        await bound.sign(SPOT_ORDER, purpose=PURPOSE_UNSPECIFIED, by="worker", tenant_id=bound.tenant)
    assert refused.value.extra["rule"] == "not_a_verification_read"
    with pytest.raises(PermissionDenied):
        await bound.sign(FILLS, purpose=PURPOSE_UNSPECIFIED)
    with pytest.raises(InvalidArgument):
        await bound.sign(FILLS, purpose=99)
    assert await bound.signed_lines(told) == []


@pytest.mark.parametrize("status", [None, types.STATUS_REJECTED])
async def test_a_key_that_never_worked_signs_nothing_for_a_caller(bound: Bound, status: int | None, told: Any) -> None:
    if status is not None:
        await bound.become(status)
    for work in (bound.sign(SPOT_ORDER), bound.sign(FILLS, purpose=PURPOSE_SIGN), bound.login()):
        with pytest.raises(Aborted) as refused:
            await work
        assert refused.value.reason == "binding_not_usable"
    assert await bound.signed_lines(told) == []


async def test_a_key_that_the_exchange_refuses_now_may_still_ask_it(bound: Bound) -> None:
    await bound.become(types.STATUS_CONNECTED)
    await bound.become(types.STATUS_DISCONNECTED, revision=2)
    assert (await bound.sign(FILLS)).signed


async def test_a_call_beyond_the_bindings_scopes_or_never_allowed_is_refused_with_its_rule(
    world: World, connect: Any, tenant: str, request_of: Any, told: Any
) -> None:
    asked = request_of()
    asked.ClearField("scopes")
    asked.scopes.append(types.SCOPE_SPOT)
    bound = Bound(world, connect, tenant, asked)
    await bound.bind()
    await bound.become(types.STATUS_CONNECTED)
    for request, rule in ((FUTURES_ORDER, "scope_futures"), (WITHDRAWAL, "withdraw")):
        with pytest.raises(PolicyRefused) as refused:
            await bound.sign(SPOT_ORDER, request)
        assert refused.value.extra["rule"] == rule
    with pytest.raises(PolicyRefused) as refused:
        await bound.login()
    assert refused.value.extra["rule"] == "scope_futures"
    assert await bound.signed_lines(told) == []
    assert (await bound.sign(SPOT_ORDER)).signed


async def test_a_websocket_login_is_signed_in_seconds_by_a_right_of_its_own(bound: Bound, told: Any) -> None:
    await bound.become(types.STATUS_CONNECTED)
    for other in ("requests:sign", "requests:execute", "bindings:write"):
        with pytest.raises(PermissionDenied):
            await bound.login(bearer(bound.world, bound.tenant, other))
    for by in ("worker", "gateway", "client"):
        with pytest.raises((PermissionDenied, Unauthenticated)):
            await bound.login(by=by)
    login = (await bound.login()).login
    assert (login.api_key, login.passphrase) == (bound.asked.credential.api_key, bound.asked.credential.passphrase)
    assert len(login.timestamp) == 10
    assert login.sign == bound.expected(login.timestamp + "GET/user/verify")
    assert await bound.signed_lines(told) == ["websocket_login"]
    with pytest.raises(PolicyRefused):
        await bound.sign(ExchangeRequest(method="GET", path="/user/verify"), purpose=PURPOSE_SIGN)


async def test_a_freeze_that_lets_cancels_through_stops_orders_reads_and_logins(bound: Bound, world: World) -> None:
    await bound.become(types.STATUS_CONNECTED)
    target = freezes_pb2.FreezeTarget(kind=freezes_pb2.FREEZE_KIND_BINDING, tenant_id=bound.tenant, binding_id=bound.id)
    wanted = freezes_pb2.CreateFreezeRequest(
        idempotency_key=bound.id, target=target, allow_cancels=True, reason="A drill"
    )
    admin = bearer(world, bound.tenant, "admin")
    await call(bound.freezes.CreateFreeze, wanted, timeout_s=5, authorization=admin)
    for work in (bound.sign(SPOT_ORDER), bound.sign(FILLS), bound.sign(CANCEL, SPOT_ORDER), bound.login()):
        with pytest.raises(PolicyRefused) as refused:
            await work
        assert refused.value.extra["rule"] == "frozen"
    assert (await bound.sign(CANCEL)).signed
