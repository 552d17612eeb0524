"""Tenants as an administrator makes and changes them, each change on the record."""

import asyncio
import json
from typing import Any

import pytest
from common.errors import Aborted, IdempotencyMismatch, NotFound
from common.ids import TENANT_ID
from vault.actor import Actor
from vault.asked import asked
from vault.hashicorp.provision import Tenant
from vault.quotas import Quotas
from vault.registry import Registered
from vault.rules import USUAL, Rules
from vault.tenants import Change, Tenants, fresh_id

OPERATOR = Actor("o" * 26, "gateway", "administrator", "console")
STRICT = Rules(("transfer_enabled",), 90)


@pytest.fixture
def tenants(parts: Any, clock: Any) -> Tenants:
    return Tenants(parts.own, parts.directory, parts.audit, clock)


def told(parts: Any, tenant: str) -> list[tuple[str, str, str]]:
    """Return what the audit file says of a tenant's registration."""
    lines = map(json.loads, parts.audit_file.read_text().splitlines())
    return [(line["action"], line["phase"], line.get("outcome", "")) for line in lines if line.get("tenant") == tenant]


async def test_a_tenant_is_made_once_for_a_key_under_an_id_of_fixed_length_and_can_bind_at_once(
    tenants: Tenants, parts: Any, request_of: Any
) -> None:
    wanted = Registered("Desk", STRICT, Quotas(concurrency=5))
    made = await asyncio.gather(*(tenants.create(OPERATOR, "one", wanted) for _ in range(8)))
    assert sorted(created for _, created in made) == [False] * 7 + [True]
    tenant = made[0][0]
    assert {one.id for one, _ in made} == {tenant.id}
    assert TENANT_ID.fullmatch(tenant.id)
    assert (tenant.name, list(tenant.rules.errors), tenant.quotas.concurrency) == ("Desk", ["transfer_enabled"], 5)
    assert tenant.HasField("created_at")
    with pytest.raises(IdempotencyMismatch):
        await tenants.create(OPERATOR, "one", Registered("Other desk", STRICT, Quotas(concurrency=5)))
    other, created = await tenants.create(OPERATOR, "two", wanted)
    assert created
    assert other.id != tenant.id
    assert (await parts.registry.tenant(tenant.id)).rules == STRICT
    actor = Actor(tenant.id, "gateway")
    binding, created = await parts.bindings.bind(actor, asked(tenant.id, request_of()))
    assert (binding.tenant_id, created) == (tenant.id, True)


def test_ids_of_different_keys_and_operators_differ_and_have_the_grammar_of_ids() -> None:
    made = {fresh_id(operator, str(key)) for operator in ("a" * 26, "b" * 26) for key in range(500)}
    assert len(made) == 1000
    assert all(TENANT_ID.fullmatch(one) for one in made)


async def test_a_change_holds_where_it_was_made_at_the_revision_it_expects_and_is_on_the_record(
    tenants: Tenants, parts: Any
) -> None:
    made, _ = await tenants.create(OPERATOR, "change", Registered("Desk"))
    assert list(made.rules.errors) == list(USUAL.errors)
    changed = await tenants.change(OPERATOR, made.id, 1, Change(name="Other", own_rules=STRICT))
    assert (changed.name, changed.revision, changed.rules.rotation_days) == ("Other", 2, 90)
    with pytest.raises(Aborted):
        await tenants.change(OPERATOR, made.id, 1, Change(name="Third"))
    assert (await tenants.change(OPERATOR, made.id, 0, Change(name="Other"))).revision == 2, "nothing to change"
    disabled = await tenants.change(OPERATOR, made.id, 0, Change(disabled=True))
    assert (disabled.disabled, disabled.revision, disabled.name, disabled.rules.rotation_days) == (True, 3, "Other", 90)
    enabled = await tenants.change(OPERATOR, made.id, 3, Change(disabled=False))
    assert enabled == await tenants.get(made.id)
    assert not enabled.disabled
    await parts.audit.append({"action": "end", "tenant": ""})
    actions = ("tenant_create", "tenant_change", "tenant_disable", "tenant_enable")
    expected = [(action, phase, done) for action in actions for phase, done in (("intent", ""), ("outcome", "done"))]
    assert told(parts, made.id) == expected
    [line, *_] = [json.loads(one) for one in parts.audit_file.read_text().splitlines() if made.id in one]
    assert (line["subject"], line["client"], line["operator"]) == ("administrator", "console", "o" * 26)


async def test_an_id_that_is_no_tenants_is_not_found(tenants: Tenants) -> None:
    for name in ("n" * 26, "", "*", "../tenants", "a/b"):
        with pytest.raises(NotFound):
            await tenants.get(name)
        with pytest.raises(NotFound):
            await tenants.change(OPERATOR, name, 0, Change(disabled=True))


async def test_pages_of_tenants_are_in_order_complete_and_end(tenants: Tenants) -> None:
    made = {(await tenants.create(OPERATOR, f"page-{number}", Registered("Desk")))[0].id for number in range(5)}
    found, after = [], ""
    while True:
        page, after = await tenants.page(after, 3)
        found += [one.id for one in page]
        if not after:
            break
    assert found == sorted(set(found))
    assert made <= set(found)


async def test_provisioning_says_what_the_file_says_and_keeps_what_an_administrator_did(
    tenants: Tenants, server: Any
) -> None:
    made, _ = await tenants.create(OPERATOR, "kept", Registered("Desk", STRICT))
    await tenants.change(OPERATOR, made.id, 0, Change(disabled=True))
    server.provision(Tenant(made.id, "From the file", quotas=Quotas(concurrency=3)))
    now = await tenants.get(made.id)
    assert (now.name, now.disabled, now.quotas.concurrency, now.created_at) == (
        "From the file",
        True,
        3,
        made.created_at,
    )
    assert list(now.rules.errors) == list(USUAL.errors)
    repeated, created = await tenants.create(OPERATOR, "kept", Registered("Desk", STRICT))
    assert (repeated.id, created) == (made.id, False)


async def test_what_a_newer_version_wrote_of_a_tenant_outlives_a_change(
    tenants: Tenants, parts: Any, server: Any, tenant: str, clock: Any
) -> None:
    rules = {"errors": [], "rotation_days": 30, "hours": "9-17"}
    written = {"name": "Test", "rules": rules, "region": "eu", "disabled": True}
    server.admin.write_data(f"strongroom/data/tenants/{tenant}", data={"data": written, "options": {"cas": 1}})
    for change, changed in (
        (Change(name="Other"), {"name": "Other"}),
        (Change(own_quotas=Quotas(concurrency=5)), {"quotas": Quotas(concurrency=5).document()}),
        (Change(own_rules=STRICT), {"rules": STRICT.document()}),
        (Change(disabled=False), {}),
    ):
        await tenants.change(OPERATOR, tenant, 0, change)
        written |= changed
        kept = (await parts.own.read("tenants", tenant)).data
        if change.disabled is False:
            del written["disabled"]
        assert kept == written
    server.provision(Tenant(tenant, "Provisioned"))
    kept = (await parts.own.read("tenants", tenant)).data
    assert kept == {"name": "Provisioned", "region": "eu"}


async def test_a_document_that_says_anything_of_being_disabled_is(parts: Any, server: Any, tenant: str) -> None:
    data = {"data": {"name": "Test", "disabled": "perhaps"}, "options": {"cas": 1}}
    server.admin.write_data(f"strongroom/data/tenants/{tenant}", data=data)
    assert (await parts.registry.tenant(tenant)).disabled
