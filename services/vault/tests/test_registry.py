"""Who is a tenant, and how old that knowledge may be."""

import asyncio
from typing import Any

import pytest
from common.errors import PermissionDenied, Unavailable
from vault.hashicorp.login import Connection
from vault.hashicorp.provision import Tenant
from vault.registry import FRESH_S
from vault.rules import UNREADABLE, USUAL, Rules

STRICT = Rules(("transfer_enabled", "withdraw_enabled"), 90)
OLD = FRESH_S + 0.01


async def test_a_changed_rule_holds_after_a_second_and_the_usual_ones_where_none_is_left(
    parts: Any, server: Any, tenant: str, clock: Any
) -> None:
    async def rules() -> Rules:
        clock.ahead += OLD
        return (await parts.registry.tenant(tenant)).rules

    assert await rules() == USUAL
    assert f"tenant {tenant}: registered" in server.provision(Tenant(tenant, "Test", STRICT))
    assert await rules() == STRICT
    assert f"tenant {tenant}: registered already" in server.provision(Tenant(tenant, "Test", STRICT))
    stored = server.admin.read(f"strongroom/data/tenants/{tenant}")["data"]
    assert stored["data"] == {
        "name": "Test",
        "rules": {"errors": ["transfer_enabled", "withdraw_enabled"], "rotation_days": 90},
    }
    assert stored["metadata"]["version"] == 2
    server.provision(Tenant(tenant, "Test"))
    assert await rules() == USUAL


async def test_a_tenant_that_nobody_registered_is_none_until_somebody_does(parts: Any, server: Any, clock: Any) -> None:
    for _ in range(2):
        with pytest.raises(PermissionDenied) as refused:
            await parts.registry.tenant("z" * 26)
        assert refused.value.reason == "not_provisioned"
    server.provision(Tenant("z" * 26, "Late"))
    clock.ahead += OLD
    assert (await parts.registry.tenant("z" * 26)).rules == USUAL


async def test_a_hundred_callers_share_one_reading_and_old_knowledge_is_not_used_when_vault_is_gone(
    make: Any, proxy: Any, tenant: str, clock: Any
) -> None:
    registry = (await make(Connection(proxy.url))).registry
    clock.stop()
    await asyncio.gather(*(registry.tenant(tenant) for _ in range(100)))
    await registry.tenant(tenant)
    assert [call for call in proxy.seen if "/tenants/" in call] == [f"GET /v1/strongroom/data/tenants/{tenant}"]
    proxy.arm("sealed", method="", lasting=True)
    await registry.tenant(tenant)
    clock.ahead += OLD
    for _ in range(2):
        with pytest.raises(Unavailable):
            await registry.tenant(tenant)
    proxy.arm("")
    await registry.tenant(tenant)


async def test_who_is_asked_for_all_the_time_is_read_again_before_anybody_waits(
    make: Any, proxy: Any, tenant: str, clock: Any, server: Any
) -> None:
    registry = (await make(Connection(proxy.url))).registry
    clock.stop()
    await registry.tenant(tenant)
    server.provision(Tenant(tenant, "Test", STRICT))
    clock.ahead += 0.6 * FRESH_S
    assert (await registry.tenant(tenant)).rules == USUAL, "known for less than a second"
    async with asyncio.timeout(10):
        while (await registry.tenant(tenant)).rules != STRICT:
            await asyncio.sleep(0.01)


async def test_rules_that_nobody_can_read_deny_everything_and_are_told(
    parts: Any, server: Any, tenant: str, clock: Any, logged: list[Any]
) -> None:
    for number, rules in enumerate(({"rotation_days": "90"}, {"errors": ["a_code_of_tomorrow"]})):
        data = {"data": {"name": "Test", "rules": rules}, "options": {"cas": 1 + number}}
        server.admin.write_data(f"strongroom/data/tenants/{tenant}", data=data)
        clock.ahead += OLD
        read = (await parts.registry.tenant(tenant)).rules
        assert read == (UNREADABLE if number == 0 else Rules(("a_code_of_tomorrow",), 0))
        assert [entry["event"] for entry in logged] == ["tenant_rules_unreadable"]
