"""Tenants at the whole process: registered, disabled, held to their numbers; who may change them."""

import asyncio
import contextlib
from typing import Any

import pytest
from common.errors import (
    InvalidArgument,
    PermissionDenied,
    PolicyRefused,
    Throttled,
    Unauthenticated,
)
from common.rpc.client import call
from strongroom.types.v1.binding_pb2 import TenantRules
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1 import binding_store_pb2 as pb
from strongroom.vault.v1 import tenants_pb2 as tp
from strongroom.vault.v1.binding_store_pb2_grpc import BindingStoreStub
from strongroom.vault.v1.signer_pb2 import SignRequest
from strongroom.vault.v1.signer_pb2_grpc import SignerStub
from strongroom.vault.v1.tenants_pb2_grpc import TenantsStub
from vault.hashicorp.provision import Tenant
from vault.quotas import Quotas

from services.vault.tests.service import World, bearer


async def test_a_tenant_that_nobody_registered_is_refused_before_anything_is_touched(
    world: World, connect: Any, request_of: Any, server: Any, told: Any
) -> None:
    def lines() -> list[Any]:  # but for those of the sweeps, which the service makes by itself
        return [line for line in told(world.folder / "audit") if line["action"] != "sweep"]

    nobody, before = "y" * 26, lines()
    token, store, worker = bearer(world, nobody), BindingStoreStub(connect("gateway")), connect("worker")
    sign = SignRequest(tenant_id=nobody, binding_id="0" * 32, requests=[ExchangeRequest(method="GET", path="/x")])
    for asked in (
        call(store.Bind, request_of(), timeout_s=5, authorization=token),
        call(store.List, pb.ListRequest(limit=1), timeout_s=5, authorization=token),
        call(store.Revoke, pb.RevokeRequest(binding_id="0" * 32), timeout_s=5, authorization=token),
        call(SignerStub(worker).Sign, sign, timeout_s=5),
        call(BindingStoreStub(worker).DescribeMany, pb.DescribeManyRequest(tenant_id=nobody), timeout_s=5),
    ):
        with pytest.raises(PermissionDenied) as refused:
            await asked
        assert refused.value.reason == "not_provisioned"
    assert lines() == before
    assert nobody not in (server.bao.home / "audit.log").read_text().replace(f"data/tenants/{nobody}", "")


async def test_a_disabled_tenant_is_refused_everywhere_nothing_is_signed_and_enabled_all_is_back(
    world: World, connect: Any, request_of: Any
) -> None:
    gateway, worker = connect("gateway"), connect("worker")
    store, tenants = BindingStoreStub(gateway), TenantsStub(gateway)
    admin = bearer(world, "o" * 26, "admin")
    create = tp.CreateTenantRequest(idempotency_key="disable", name="Desk")
    tenant = (await call(tenants.CreateTenant, create, timeout_s=5, authorization=admin)).tenant.id
    token = bearer(world, tenant)
    bound = (await call(store.Bind, request_of(), timeout_s=5, authorization=token)).binding
    query = ExchangeRequest(method="GET", path="/api/v3/account/info")
    sign = SignRequest(binding_id=bound.id, tenant_id=tenant, requests=[query])
    describe = pb.DescribeRequest(binding_id=bound.id)

    async def everything() -> list[str]:
        """Return how each call ends: as done, or the reason of its refusal."""
        ends = []
        for asked in (
            call(store.Describe, describe, timeout_s=5, authorization=token),
            call(store.List, pb.ListRequest(limit=1), timeout_s=5, authorization=token),
            call(store.Bind, request_of(), timeout_s=5, authorization=token),
            call(tenants.Standing, tp.StandingRequest(), timeout_s=5, authorization=token),
            call(SignerStub(worker).Sign, sign, timeout_s=5),
        ):
            try:
                await asked
                ends.append("done")
            except PermissionDenied as error:
                ends.append(error.reason)
        return ends

    async def becomes(end: str) -> None:
        async with asyncio.timeout(15):
            while await everything() != [end] * 5:
                await asyncio.sleep(0.05)

    change = tp.ChangeTenantRequest(tenant_id=tenant, disabled=True)
    await call(tenants.ChangeTenant, change, timeout_s=5, authorization=admin)
    await becomes("tenant_disabled")
    many = pb.DescribeManyRequest(tenant_id=tenant, binding_ids=[bound.id])
    read = await call(BindingStoreStub(worker).DescribeMany, many, timeout_s=5)
    assert read.bindings[0].id == bound.id, "what is published of it is kept up"
    change = tp.ChangeTenantRequest(tenant_id=tenant, disabled=False)
    await call(tenants.ChangeTenant, change, timeout_s=5, authorization=admin)
    await becomes("done")


async def test_only_an_administrator_changes_tenants_and_a_tenant_knows_of_itself_alone(
    world: World, connect: Any, tenant: str
) -> None:
    tenants = TenantsStub(connect("gateway"))
    calls = (
        (tenants.CreateTenant, tp.CreateTenantRequest(idempotency_key="x", name="x")),
        (tenants.GetTenant, tp.GetTenantRequest(tenant_id=tenant)),
        (tenants.PageTenants, tp.PageTenantsRequest(limit=1)),
        (tenants.ChangeTenant, tp.ChangeTenantRequest(tenant_id=tenant, disabled=True)),
    )
    everything_else = ("bindings:read", "bindings:write", "requests:execute", "requests:sign", "audit:read")
    for method, message in calls:
        with pytest.raises(PermissionDenied) as refused:
            await call(method, message, timeout_s=5, authorization=bearer(world, tenant, *everything_else))
        assert refused.value.extra == {"scope": "admin"}
        with pytest.raises(Unauthenticated):
            await call(method, message, timeout_s=5)
    for name in ("worker", "verifier", "client"):
        admin = bearer(world, tenant, "admin")
        with pytest.raises(PermissionDenied) as refused:
            await call(TenantsStub(connect(name)).GetTenant, calls[1][1], timeout_s=5, authorization=admin)
        assert refused.value.reason == "caller_not_allowed"
    told = await call(tenants.Standing, tp.StandingRequest(), timeout_s=5, authorization=bearer(world, tenant))
    assert told.quotas == tp.TenantQuotas()


async def test_every_rule_and_quota_that_an_operator_sets_is_kept_as_it_was_said(world: World, connect: Any) -> None:
    tenants, admin = TenantsStub(connect("gateway")), bearer(world, "o" * 26, "admin")
    quotas = tp.TenantQuotas(**{field.name: 7 for field in tp.TenantQuotas.DESCRIPTOR.fields})
    asked = tp.CreateTenantRequest(idempotency_key="all-of-it", name="Desk", quotas=quotas)
    made = (await call(tenants.CreateTenant, asked, timeout_s=10, authorization=admin)).tenant
    assert made.quotas == quotas
    for field in quotas.DESCRIPTOR.fields:
        setattr(quotas, field.name, 9)
    rules = TenantRules(
        errors=["rotation_due"], rotation_days=9, denied_capabilities=["spot_trade"], symbols=["BTCUSDT"],
        denied_calls=["POST /api/v2/spot/trade/place-order"], max_order_notional="9", max_daily_notional="99",
    )  # fmt: skip
    assert {field.name for field, _ in rules.ListFields()} == {field.name for field in rules.DESCRIPTOR.fields}
    change = tp.ChangeTenantRequest(tenant_id=made.id, quotas=quotas, rules=rules)
    await call(tenants.ChangeTenant, change, timeout_s=10, authorization=admin)
    read = tp.GetTenantRequest(tenant_id=made.id)
    kept = (await call(tenants.GetTenant, read, timeout_s=10, authorization=admin)).tenant
    assert (kept.quotas, kept.rules) == (quotas, rules)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"rules": {"errors": ["invalid_secret"]}}, "rules.errors"),
        ({"rules": {"rotation_days": -1}}, "rules"),
        ({"rules": {"denied_calls": ["POST /api/v2/spot/trade/place-oder"]}}, "rules.denied_calls"),
        ({"rules": {"max_order_notional": "1e3"}}, "rules"),
        ({"quotas": {"concurrency": -1}}, "quotas"),
        ({"quotas": {"concurrency": 2_000_000}}, "quotas"),
        ({"idempotency_key": ""}, "idempotency_key"),
    ],
)
async def test_a_tenant_with_a_wrong_value_is_refused_by_its_field(
    world: World, connect: Any, wrong: dict[str, Any], field: str
) -> None:
    asked = tp.CreateTenantRequest(**{"idempotency_key": "wrong", "name": "Desk", **wrong})
    admin = bearer(world, "o" * 26, "admin")
    with pytest.raises(InvalidArgument) as refused:
        await call(TenantsStub(connect("gateway")).CreateTenant, asked, timeout_s=5, authorization=admin)
    assert refused.value.extra == {"field": field}


@pytest.mark.parametrize("change", [False, True])
async def test_a_denied_call_that_nobody_knows_is_refused_with_the_one_that_looks_like_it_and_is_not_repeated(
    world: World, connect: Any, tenant: str, change: bool
) -> None:
    tenants, admin = TenantsStub(connect("gateway")), bearer(world, "o" * 26, "admin")
    rules = TenantRules(denied_calls=["POST /api/v2/spot/trade/place-oder"])
    if change:
        asked = call(
            tenants.ChangeTenant,
            tp.ChangeTenantRequest(tenant_id=tenant, rules=rules),
            timeout_s=5,
            authorization=admin,
        )
    else:
        wanted = tp.CreateTenantRequest(idempotency_key="strange", name="Desk", rules=rules)
        asked = call(tenants.CreateTenant, wanted, timeout_s=5, authorization=admin)
    with pytest.raises(InvalidArgument) as refused:
        await asked
    assert refused.value.extra == {"field": "rules.denied_calls"}
    assert "POST /api/v2/spot/trade/place-order" in refused.value.detail
    assert "place-oder" not in refused.value.detail


async def test_calls_beyond_what_a_tenant_may_have_under_way_are_refused_and_no_other_tenants(
    world: World, connect: Any, server: Any
) -> None:
    few, other = server.tenant(), server.tenant()
    server.provision(Tenant(few, "Few", quotas=Quotas(concurrency=2)))
    store = BindingStoreStub(connect("gateway"))

    async def ends(tenant: str) -> list[str]:
        token = bearer(world, tenant)
        calls = [call(store.List, pb.ListRequest(limit=1), timeout_s=10, authorization=token) for _ in range(20)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return [one.reason if isinstance(one, Throttled) else type(one).__name__ for one in answers]

    theirs, ours = await asyncio.gather(ends(few), ends(other))
    assert set(ours) == {"ListResponse"}
    assert set(theirs) == {"ListResponse", "quota_exceeded"}
    assert set(await ends(other)) == {"ListResponse"}
    async with asyncio.timeout(10):
        while (await call(store.List, pb.ListRequest(limit=1), timeout_s=5, authorization=bearer(world, few))).bindings:
            pass  # every place was given back: one call after the other gets in


async def test_a_tenant_at_its_limit_of_bindings_is_refused_one_more_until_one_has_ended(
    world: World, connect: Any, server: Any, request_of: Any
) -> None:
    few, other = server.tenant(), server.tenant()
    server.provision(Tenant(few, "Few", quotas=Quotas(bindings=2)))
    store = BindingStoreStub(connect("gateway"))

    async def bind(tenant: str, request: Any) -> Any:
        return await call(store.Bind, request, timeout_s=10, authorization=bearer(world, tenant))

    asked = [request_of() for _ in range(2)]
    bound = [(await bind(few, one)).binding.id for one in asked]
    with pytest.raises(PolicyRefused) as refused:
        await bind(few, request_of())
    assert (refused.value.reason, refused.value.extra) == ("bindings_limit", {"rule": "bindings_limit"})
    assert not (await bind(few, asked[0])).created, "a repeat is answered as before"
    assert [(await bind(other, request_of())).created for _ in range(3)] == [True] * 3
    ended = pb.RevokeRequest(binding_id=bound[0])
    await call(store.Revoke, ended, timeout_s=10, authorization=bearer(world, few))
    assert (await bind(few, request_of())).created
    server.provision(Tenant(few, "Few", quotas=Quotas(bindings=3)))
    async with asyncio.timeout(10):
        while True:  # a changed quota holds within a second
            with contextlib.suppress(PolicyRefused):
                assert (await bind(few, request_of())).created
                break
            await asyncio.sleep(0.1)
