"""Pages of a tenant's bindings, and the scan of everybody's."""

from collections.abc import Callable
from typing import Any

from strongroom.types.v1.binding_pb2 import STATUS_REVOKED
from vault import listing
from vault.actor import Actor
from vault.asked import Asked


async def test_pages_follow_the_ids_and_hold_each_binding_once(
    parts: Any, actor: Actor, wanted: Callable[..., Asked], server: Any
) -> None:
    made = sorted([(await parts.bindings.bind(actor, wanted()))[0].id for _ in range(7)])
    other = Actor(server.tenant(), "gateway")
    elsewhere, _ = await parts.bindings.bind(other, wanted())
    await parts.bindings.records.mark(actor.tenant, "0" * 32, sweeping=False, cas=0)
    pages, after = [], ""
    for _ in range(4):
        found, after = await listing.page(parts.documents, actor.tenant, after, 3, lambda _: True)
        pages.append([binding.id for binding in found])
        if not after:
            break
    assert pages == [made[:3], made[3:6], made[6:]]
    found, after = await listing.page(parts.documents, actor.tenant, "", 7, lambda _: True)
    assert ([binding.id for binding in found], after) == (made, "")
    await parts.bindings.revoke(actor, made[5])
    ended, after = await listing.page(
        parts.documents, actor.tenant, "", 1, lambda binding: binding.verdict.status == STATUS_REVOKED
    )
    assert ([binding.id for binding in ended], after) == ([made[5]], "")
    everything = [binding.id async for binding in listing.everything(parts.documents, parts.directory)]
    assert {*made, elsewhere.id} <= set(everything)
    assert len(everything) == len(set(everything))
