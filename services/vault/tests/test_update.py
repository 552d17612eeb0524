"""What a tenant has told of a binding can be changed, and what was proven for less is not taken for more."""

from collections.abc import Callable
from typing import Any

import pytest
from common.errors import Aborted, BindingRevoked, InvalidArgument, NotFound
from strongroom.types.v1.binding_pb2 import (
    SCOPE_FUTURES,
    SCOPE_SPOT,
    STATUS_CONNECTED,
    STATUS_LIMITED,
    STATUS_PENDING,
    Binding,
    Verdict,
)
from strongroom.vault.v1.binding_store_pb2 import UpdateRequest
from vault.actor import Actor


@pytest.fixture
async def bound(parts: Any, actor: Actor, wanted: Callable[..., Any]) -> Binding:
    """A connected binding for spot alone."""
    made, _ = await parts.bindings.bind(actor, wanted())
    worker = Actor(actor.tenant, "worker")
    await parts.updates.update(actor, UpdateRequest(binding_id=made.id, scopes=[SCOPE_SPOT]))
    record = await parts.bindings.records.load(actor.tenant, made.id)
    verdict = Verdict(status=STATUS_CONNECTED)
    connected, _ = await parts.bindings.transition(worker, made.id, record.binding.revision, verdict)
    return connected


async def test_what_is_given_is_changed_on_record_and_the_rest_stays(
    parts: Any, actor: Actor, bound: Binding, told: Any
) -> None:
    changed, others = await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, label="new"))
    assert (changed.label, changed.subject, others) == ("new", bound.subject, False)
    assert changed.verdict.status == STATUS_CONNECTED
    again, _ = await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, label="new"))
    assert again.revision == changed.revision
    emptied, _ = await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, label="", subject=""))
    assert (emptied.label, emptied.subject) == ("", "")


async def test_more_scopes_than_before_are_not_called_connected(parts: Any, actor: Actor, bound: Binding) -> None:
    both = UpdateRequest(binding_id=bound.id, scopes=[SCOPE_FUTURES, SCOPE_SPOT])
    changed, others = await parts.updates.update(actor, both)
    assert (changed.verdict.status, others, sorted(changed.scopes)) == (
        STATUS_PENDING,
        True,
        [SCOPE_SPOT, SCOPE_FUTURES],
    )
    worker = Actor(actor.tenant, "worker")
    limited = Verdict(status=STATUS_LIMITED)
    await parts.bindings.transition(worker, bound.id, changed.revision, limited)
    fewer, _ = await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, scopes=[SCOPE_SPOT]))
    assert fewer.verdict.status == STATUS_LIMITED


async def test_a_change_of_another_revision_a_revoked_or_a_foreign_binding_is_refused(
    parts: Any, actor: Actor, bound: Binding
) -> None:
    with pytest.raises(Aborted):
        await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, expected_revision=1, label="x"))
    with pytest.raises(NotFound):
        await parts.updates.update(actor, UpdateRequest(binding_id="0" * 32, label="x"))
    for wrong in ({"label": "two\nlines"}, {"subject": "x" * 129}, {"scopes": [77]}):
        with pytest.raises(InvalidArgument):
            await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, **wrong))
    await parts.bindings.revoke(actor, bound.id)
    with pytest.raises(BindingRevoked):
        await parts.updates.update(actor, UpdateRequest(binding_id=bound.id, label="x"))
