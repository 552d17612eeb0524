"""Pages of a tenant's bindings, many records at once, and the names of everybody's."""

from collections.abc import Callable
from typing import Any

from strongroom.types.v1.binding_pb2 import STATUS_REVOKED
from vault.actor import Actor
from vault.asked import Asked
from vault.listing import Listing


async def test_pages_follow_the_ids_and_hold_each_binding_once(
    parts: Any, actor: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    made = sorted([(await parts.bindings.bind(actor, wanted()))[0].id for _ in range(7)])
    await parts.bindings.records.mark(actor.tenant, "0" * 32, sweeping=False, cas=0)
    pages, after = [], ""
    for _ in range(4):
        found, after = await parts.listing.page(actor.tenant, after, 3, lambda _: True)
        pages.append([binding.id for binding in found])
        if not after:
            break
    assert pages == [made[:3], made[3:6], made[6:]]
    found, after = await parts.listing.page(actor.tenant, "", 7, lambda _: True)
    assert ([binding.id for binding in found], after) == (made, "")
    await parts.bindings.revoke(actor, made[5])
    ended, after = await parts.listing.page(
        actor.tenant, "", 1, lambda binding: binding.verdict.status == STATUS_REVOKED
    )
    assert ([binding.id for binding in ended], after) == ([made[5]], "")


async def test_the_names_of_everybody_come_tenant_by_tenant_in_messages_of_a_thousand(
    parts: Any, actor: Actor, server: Any
) -> None:
    other = server.tenant()
    made = {actor.tenant: [f"{number:032x}" for number in range(5)], other: ["f" * 32]}
    for tenant, names in made.items():
        for name in (*names, "not-an-id"):
            await parts.documents.write(tenant, "bindings", name, {"sweeping": False}, 0)
    seen = [(tenant, names) async for tenant, names in parts.listing.names()]
    assert [tenant for tenant, _ in seen] == sorted(tenant for tenant, _ in seen)
    assert {tenant: names for tenant, names in seen if tenant in made} == made


async def test_a_tenant_without_bindings_is_named(parts: Any, server: Any) -> None:
    tenant = server.tenant()
    assert (tenant, []) in [chunk async for chunk in parts.listing.names()]


async def test_names_beyond_a_thousand_go_into_the_next_message(parts: Any) -> None:
    names = [f"{number:032x}" for number in range(2001)]

    class Many:
        async def tenants(self) -> list[str]:
            return ["a" * 26, "not a tenant"]

        async def names(self, tenant: str, collection: str) -> list[str]:
            return names

    listing = Listing(parts.documents, Many())  # type: ignore[arg-type]
    chunks = [chunk async for _, chunk in listing.names()]
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 1]
    assert [name for chunk in chunks for name in chunk] == names


async def test_many_records_are_read_in_the_order_asked_without_those_that_are_not_there(
    parts: Any, actor: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    first, second = [(await parts.bindings.bind(actor, wanted()))[0] for _ in range(2)]
    await parts.bindings.revoke(actor, second.id)
    foreign, _ = await parts.bindings.bind(Actor(server.tenant(), "gateway"), wanted())
    await parts.bindings.records.mark(actor.tenant, "0" * 32, sweeping=False, cas=0)
    asked = [second.id, "f" * 32, foreign.id, "0" * 32, "../" + first.id, first.id]
    found = await parts.listing.many(actor.tenant, asked)
    assert [(one.id, one.verdict.status == STATUS_REVOKED) for one in found] == [(second.id, True), (first.id, False)]
