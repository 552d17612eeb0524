"""The process is killed at each durable step; afterwards there is one record, and nothing acknowledged is lost."""

import secrets
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import BindingRevoked, NotFound
from google.protobuf import json_format
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.binding_store_pb2 import BindRequest
from strongroom.vault.v1.revocations_pb2 import REVOCATION_STATE_DONE, RevocationSelector, RevokeManyRequest
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import steps
from vault.actor import Actor
from vault.asked import asked, derived_id
from vault.revocation import BATCH
from vault.revocations import LEASE_S

INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
SHORT, LONG = 2, 40


Request = Callable[..., BindRequest]


async def killed_bind(kill: Any, parts: Any, actor: Actor, request: BindRequest, step: str) -> None:
    """Kill a bind at `step`, repeat it, and hold it against what must be."""
    wanted = asked(actor.tenant, request)
    before = await parts.documents.names(actor.tenant, "bindings")
    assert kill(actor.tenant, step, bind=json_format.MessageToDict(request)) == 137
    committed = step == "bind.recorded"
    if committed:
        first = 2 if wanted.sealed else 1  # the slot of a sealed bind is claimed before
        assert (await parts.bindings.records.load(actor.tenant, wanted.binding_id)).binding.revision == first
    else:
        with pytest.raises(NotFound):
            await parts.bindings.records.load(actor.tenant, wanted.binding_id)
        with pytest.raises(NotFound):
            await parts.signer.sign(actor, SignRequest(binding_id=wanted.binding_id, requests=[INFO]))
    binding, created = await parts.bindings.bind(actor, wanted)
    assert created is not committed
    assert set(await parts.documents.names(actor.tenant, "bindings")) == {*before, binding.id}
    assert await parts.signer.sign(actor, SignRequest(binding_id=binding.id, requests=[INFO]))
    assert await parts.bindings.bind(actor, wanted) == (binding, False)


async def killed_revoke(kill: Any, parts: Any, actor: Actor, request: BindRequest, step: str, back: Any = None) -> None:
    """Kill a revocation at `step`, finish it by a repeat or by the first round of `back`, and hold it to what must be.

    `back` are the parts of a process that has just started, as the killed one would.
    """
    made, _ = await parts.bindings.bind(actor, asked(actor.tenant, request))
    assert kill(actor.tenant, step, revoke=made.id) == 137
    if step != "revoke.intent":
        with pytest.raises(BindingRevoked):
            await parts.signer.sign(actor, SignRequest(binding_id=made.id, requests=[INFO]))
    if back and step != "revoke.intent":
        await back.reconciler.round()
    else:
        await parts.bindings.revoke(actor, made.id)
    record = await parts.bindings.records.load(actor.tenant, made.id)
    assert (record.binding.verdict.status, record.binding.revision) == (STATUS_REVOKED, 2)
    assert (actor.tenant, made.id) not in await parts.directory.keys()
    assert (await parts.documents.read(actor.tenant, "credentials", made.id)).data is None


async def killed_many(kill: Any, parts: Any, actor: Actor, requests: list[BindRequest], step: str, clock: Any) -> None:
    """Kill the end of many bindings at `step`, let another process carry it on, and hold it to what must be."""
    subject = secrets.token_hex(8)
    names = []
    for request in requests:
        request.subject = subject
        names.append((await parts.bindings.bind(actor, asked(actor.tenant, request)))[0].id)
    order = RevokeManyRequest(
        idempotency_key=subject, selector=RevocationSelector(tenant_id=actor.tenant, subject=subject), reason="drill"
    )
    assert kill(actor.tenant, step, many=json_format.MessageToDict(order)) == 137
    taken = derived_id(actor.tenant, subject)
    told = await parts.revocations.describe(taken)
    keys = await parts.directory.keys()
    left = [name for name in names if (actor.tenant, name) in keys]
    assert told.revoked <= len(names) - len(left), "nothing counts before its fence"
    assert (told.state == REVOCATION_STATE_DONE) is (step == "many.done")
    clock.ahead += LEASE_S
    await parts.revocations.carry_out(taken)
    told = await parts.revocations.describe(taken)
    assert (told.state, told.matched, told.revoked) == (REVOCATION_STATE_DONE, len(names), len(names))
    assert list(told.binding_ids) == sorted(names)
    keys = await parts.directory.keys()
    for name in names:
        record = await parts.bindings.records.load(actor.tenant, name)
        assert (record.binding.verdict.status, record.binding.revision) == (STATUS_REVOKED, 2)
        assert (actor.tenant, name) not in keys
        assert (await parts.documents.read(actor.tenant, "credentials", name)).data is None


@pytest.mark.bar(31)
@pytest.mark.parametrize("step", steps.BIND)
async def test_a_bind_killed_at_a_step_is_completed_by_a_repeat(
    kill: Any, parts: Any, actor: Actor, request_of: Request, step: str
) -> None:
    for _ in range(SHORT):
        await killed_bind(kill, parts, actor, request_of(), step)


@pytest.mark.bar(31)
@pytest.mark.parametrize("step", steps.SEALED_BIND)
async def test_a_sealed_bind_killed_at_a_step_is_completed_by_a_repeat(
    kill: Any, parts: Any, actor: Actor, sealed_request_of: Any, step: str
) -> None:
    for _ in range(SHORT):
        await killed_bind(kill, parts, actor, await sealed_request_of(), step)


async def test_another_ciphertext_under_the_key_of_a_killed_sealed_bind_is_refused(
    kill: Any, parts: Any, actor: Actor, sealed_request_of: Any
) -> None:
    request, other = await sealed_request_of(), await sealed_request_of()
    assert kill(actor.tenant, "bind.sealed", bind=json_format.MessageToDict(request)) == 137
    other.idempotency_key = request.idempotency_key
    with pytest.raises(Exception, match="idempotency_key_reused"):
        await parts.bindings.bind(actor, asked(actor.tenant, other))
    assert not await parts.keys.exists(actor.tenant, asked(actor.tenant, request).binding_id)
    assert (await parts.bindings.bind(actor, asked(actor.tenant, request)))[1]


@pytest.mark.bar(31)
@pytest.mark.parametrize("step", steps.REVOKE)
async def test_a_revocation_killed_at_a_step_is_completed_by_a_repeat_or_the_reconciler(
    kill: Any, make: Any, parts: Any, actor: Actor, request_of: Request, step: str
) -> None:
    for back in (None, await make()):
        await killed_revoke(kill, parts, actor, request_of(), step, back)


@pytest.mark.bar(31)
@pytest.mark.parametrize("step", [*steps.MANY, *steps.REVOKE])
async def test_the_end_of_many_bindings_killed_at_a_step_is_carried_on_by_another_process(
    kill: Any, parts: Any, actor: Actor, request_of: Request, step: str, clock: Any
) -> None:
    for _ in range(SHORT):
        await killed_many(kill, parts, actor, [request_of() for _ in range(3)], step, clock)


async def test_a_bind_killed_again_and_again_at_later_steps_is_still_one_binding(
    kill: Any, parts: Any, actor: Actor, request_of: Request
) -> None:
    request = request_of()
    for step in steps.BIND:
        assert kill(actor.tenant, step, bind=json_format.MessageToDict(request)) == 137
    binding, created = await parts.bindings.bind(actor, asked(actor.tenant, request))
    assert not created
    assert await parts.documents.names(actor.tenant, "bindings") == [binding.id]


async def test_another_credential_under_the_key_of_a_killed_bind_is_refused_and_stores_nothing(
    kill: Any, parts: Any, actor: Actor, request_of: Request
) -> None:
    request = request_of()
    assert kill(actor.tenant, "bind.imported", bind=json_format.MessageToDict(request)) == 137
    request.credential.secret_key = secrets.token_hex(32)
    with pytest.raises(Exception, match="idempotency_key_reused"):
        await parts.bindings.bind(actor, asked(actor.tenant, request))
    assert await parts.documents.names(actor.tenant, "bindings") == []
    assert await parts.documents.read(actor.tenant, "credentials", asked(actor.tenant, request).binding_id) is None


async def test_the_audit_file_of_killed_processes_keeps_its_chain(
    kill: Any, actor: Actor, request_of: Request, told: Any
) -> None:
    before = told(kill.audit_folder) if kill.audit_folder.exists() else []
    assert kill(actor.tenant, "bind.stored", bind=json_format.MessageToDict(request_of())) == 137
    assert kill(actor.tenant, "never", bind=json_format.MessageToDict(request_of())) == 0
    phases = [line["phase"] for line in told(kill.audit_folder)[len(before) :]]
    assert phases == ["intent", "intent", "outcome"]


@pytest.mark.bar(31)
@pytest.mark.drill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", steps.SEALED_BIND)
async def test_forty_kills_at_each_step_of_a_sealed_bind(
    kill: Any, parts: Any, actor: Actor, sealed_request_of: Any, step: str
) -> None:
    for _ in range(LONG):
        await killed_bind(kill, parts, actor, await sealed_request_of(), step)


@pytest.mark.drill
@pytest.mark.timeout(600)
@pytest.mark.parametrize("step", [*steps.BIND, *steps.REVOKE])
async def test_forty_kills_at_each_step(
    kill: Any, make: Any, parts: Any, actor: Actor, request_of: Request, step: str
) -> None:
    for number in range(LONG):
        if step in steps.BIND:
            await killed_bind(kill, parts, actor, request_of(), step)
        else:
            await killed_revoke(kill, parts, actor, request_of(), step, None if number % 4 else await make())


@pytest.mark.drill
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", [*steps.MANY, *steps.REVOKE])
async def test_the_end_of_many_bindings_is_killed_forty_times_at_each_step(
    kill: Any, parts: Any, actor: Actor, request_of: Request, step: str, clock: Any
) -> None:
    for _ in range(LONG):
        await killed_many(kill, parts, actor, [request_of() for _ in range(3)], step, clock)


@pytest.mark.drill
@pytest.mark.timeout(900)
async def test_five_hundred_bindings_end_although_each_process_is_killed(
    kill: Any, parts: Any, actor: Actor, request_of: Request, clock: Any
) -> None:
    names = [(await parts.bindings.bind(actor, asked(actor.tenant, request_of())))[0].id for _ in range(500)]
    selector = RevocationSelector(tenant_id=actor.tenant)
    order = RevokeManyRequest(idempotency_key="all", selector=selector, reason="drill")
    taken, before, killed = derived_id(actor.tenant, "all"), 0, 0
    while kill(actor.tenant, "many.counted", many=json_format.MessageToDict(order), ahead=killed * LEASE_S) == 137:
        killed += 1
        told = await parts.revocations.describe(taken)
        assert (told.matched, told.revoked) == (500, before + min(BATCH, 500 - before)), "each one gets a batch further"
        before = told.revoked
    told = await parts.revocations.describe(taken)
    assert (told.state, told.revoked, list(told.failed)) == (REVOCATION_STATE_DONE, 500, [])
    assert killed == -(-500 // BATCH)
    assert set(names).isdisjoint({name for tenant, name in await parts.directory.keys() if tenant == actor.tenant})
