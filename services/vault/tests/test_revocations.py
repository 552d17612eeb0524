"""Ending many bindings at once: the set is explicit, nothing counts before its fence, and any process carries it on."""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any

import pytest
from common.clock import timestamp
from common.errors import BindingRevoked, IdempotencyMismatch, InvalidArgument, NotFound, Unavailable
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.freezes_pb2 import FREEZE_KIND_TENANT, CreateFreezeRequest, FreezeTarget
from strongroom.vault.v1.revocations_pb2 import (
    REVOCATION_STATE_DONE,
    REVOCATION_STATE_MATCHING,
    REVOCATION_STATE_REVOKING,
    Revocation,
    RevocationSelector,
    RevokeManyRequest,
)
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import revocation, revocations
from vault.actor import Actor
from vault.asked import asked
from vault.hashicorp.login import Connection
from vault.revocation import Work, checked, fits, work_of

A = "a" * 26
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
Request = Callable[..., Any]


@pytest.fixture
def operator() -> Actor:
    return Actor("o" * 26, "gateway", "an-operator", "a-console")


def order(tenant: str, key: str = "", *, dry_run: bool = False, reason: str = "an incident", **selector: Any) -> Any:
    chosen = RevocationSelector(tenant_id=tenant, **selector)
    key = key or secrets.token_hex(8)
    return RevokeManyRequest(idempotency_key=key, selector=chosen, reason=reason, dry_run=dry_run)


async def bind_some(parts: Any, actor: Actor, request_of: Request, count: int, **changes: str) -> list[str]:
    names = []
    for _ in range(count):
        request = request_of()
        for name, value in changes.items():
            setattr(request, name, value)
        names.append((await parts.bindings.bind(actor, asked(actor.tenant, request)))[0].id)
    return sorted(names)


async def ended(parts: Any, tenant: str, name: str) -> bool:
    """Tell whether nothing is left of a binding but its tombstone."""
    record = await parts.bindings.records.load(tenant, name)
    credential = await parts.documents.read(tenant, "credentials", name)
    gone = (tenant, name) not in await parts.directory.keys() and credential.data is None
    assert not record.revoked or gone
    return bool(record.revoked)


async def lines(parts: Any, action: str) -> list[dict[str, Any]]:
    await parts.audit.append({"action": "mark"})
    found = [json.loads(line) for line in parts.audit_file.read_text().splitlines()]
    return [line for line in found if line["action"] == action]


SELECTORS = [
    ({}, True),
    ({"subject": "customer-1"}, True),
    ({"subject": "customer-10"}, False),
    ({"subject": ""}, False),
    ({"label": "Main"}, True),
    ({"label": "main"}, False),
    ({"bound_after": timestamp(100)}, True),
    ({"bound_after": timestamp(100.001)}, False),
    ({"bound_before": timestamp(100)}, False),
    ({"bound_before": timestamp(100.001)}, True),
    ({"subject": "customer-1", "label": "Other"}, False),
    ({"subject": "customer-1", "label": "Main", "bound_after": timestamp(99), "bound_before": timestamp(101)}, True),
]


@pytest.mark.parametrize(("fields", "selected"), SELECTORS, ids=str)
def test_a_binding_is_selected_by_everything_that_is_asked(fields: dict[str, Any], selected: bool) -> None:
    binding = Binding(subject="customer-1", label="Main", created_at=timestamp(100))
    assert fits(RevocationSelector(tenant_id=A, **fields), binding) is selected


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "selector.tenant_id"),
        ({"subject": "customer-1"}, "selector.tenant_id"),
        ({"tenant_id": "../x"}, "tenant_id"),
        ({"tenant_id": A, "subject": "x" * 129}, "selector.subject"),
        ({"tenant_id": A, "label": "two\nlines"}, "selector.label"),
        ({"tenant_id": A, "bound_after": timestamp(5), "bound_before": timestamp(5)}, "selector.bound_before"),
    ],
    ids=str,
)
def test_a_selector_names_its_tenant_and_makes_sense(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        checked(RevocationSelector(**fields))
    assert wrong.value.extra["field"] == field


def test_failures_are_kept_apart_tried_again_and_never_counted() -> None:
    names = [f"{number:032x}" for number in range(revocation.BATCH + 3)]
    work = Work(Revocation(id="1" * 32)).matched(len(names))
    first = work.todo(names)
    work = work.tried({name: "vault_unavailable" if name in first[:2] else "" for name in first})
    assert (work.shown().revoked, [one.binding_id for one in work.shown().failed]) == (len(first) - 2, first[:2])
    work = work_of(work.document(), 7)
    assert (work.version, work.todo(names)) == (7, names[revocation.BATCH :])
    work = work.tried(dict.fromkeys(names[revocation.BATCH :], ""))
    assert work.todo(names) == first[:2], "what failed comes again once all was tried"
    work = work.tried({first[0]: "vault_unavailable", first[1]: ""})
    assert (work.shown().revoked, work.todo(names)) == (len(names) - 1, first[:1])
    work = work.tried({first[0]: ""})
    assert (work.shown().revoked, work.todo(names)) == (len(names), [])


def test_many_failures_are_tried_again_before_anything_new() -> None:
    names = [f"{number:032x}" for number in range(revocation.FAILED_LIMIT + 100)]
    work = Work(Revocation(id="1" * 32)).matched(len(names))
    while len(work.failed) < revocation.FAILED_LIMIT:
        work = work.tried(dict.fromkeys(work.todo(names), "vault_unavailable"))
    assert set(work.todo(names)) <= set(work.failed)
    again = work.todo(names)
    work = work.tried(dict.fromkeys(again, "vault_unavailable"))
    assert set(work.todo(names)).isdisjoint(again), "those that failed last wait longest"
    assert len(json.dumps(work.document())) < 500_000


async def test_what_fits_has_ended_when_it_is_done_and_the_rest_signs_on(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    chosen = await bind_some(parts, actor, request_of, 3, subject="customer-7")
    other = await bind_some(parts, actor, request_of, 2)
    taken = await parts.revocations.ask(operator, order(actor.tenant, subject="customer-7"))
    assert (taken.state, taken.matched, taken.revoked) == (REVOCATION_STATE_MATCHING, 0, 0)
    await parts.revocations.carry_out(taken.id)
    told = await parts.revocations.describe(taken.id)
    assert (told.state, told.matched, told.revoked, list(told.failed)) == (REVOCATION_STATE_DONE, 3, 3, [])
    assert (list(told.binding_ids), told.requested_by, told.reason) == (chosen, "an-operator", "an incident")
    assert told.finished_at.ToMilliseconds() >= told.requested_at.ToMilliseconds()
    for name in chosen:
        assert await ended(parts, actor.tenant, name)
        with pytest.raises(BindingRevoked):
            await parts.signer.sign(actor, SignRequest(binding_id=name, requests=[INFO]))
    for name in other:
        assert (await parts.signer.sign(actor, SignRequest(binding_id=name, requests=[INFO]))).signed
    asked_for, done = await lines(parts, "revoke_many"), await lines(parts, "revoke_many_done")
    assert (asked_for[0]["operator"], asked_for[0]["subject"]) == (operator.tenant, "an-operator")
    assert (done[-1]["matched"], done[-1]["revoked"], done[-1]["outcome"]) == (3, 3, "done")
    each = {line["binding"]: line["subject"] for line in await lines(parts, "revoke")}
    assert each == dict.fromkeys(chosen, "an-operator"), "each end names who ordered it"


async def test_a_window_of_time_selects_by_when_a_key_was_bound(
    parts: Any, actor: Actor, operator: Actor, request_of: Request, clock: Any
) -> None:
    early = await bind_some(parts, actor, request_of, 1)
    clock.ahead += 60
    middle = timestamp(clock.unix() - 30)
    late = await bind_some(parts, actor, request_of, 2)
    taken = await parts.revocations.ask(operator, order(actor.tenant, bound_after=middle))
    await parts.revocations.carry_out(taken.id)
    assert list((await parts.revocations.describe(taken.id)).binding_ids) == late
    taken = await parts.revocations.ask(operator, order(actor.tenant, bound_before=middle))
    await parts.revocations.carry_out(taken.id)
    assert list((await parts.revocations.describe(taken.id)).binding_ids) == early


async def test_a_dry_run_tells_what_fits_and_ends_nothing(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, 2)
    taken = await parts.revocations.ask(operator, order(actor.tenant, dry_run=True))
    await parts.revocations.carry_out(taken.id)
    told = await parts.revocations.describe(taken.id)
    assert (told.state, told.matched, told.revoked, list(told.binding_ids)) == (REVOCATION_STATE_DONE, 2, 0, names)
    assert not [name for name in names if await ended(parts, actor.tenant, name)]


async def test_a_repeat_is_one_order_and_another_body_is_refused(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    await bind_some(parts, actor, request_of, 1)
    wanted = order(actor.tenant, "incident-7", subject="customer-1")
    taken = await asyncio.gather(*(parts.revocations.ask(operator, wanted) for _ in range(5)))
    assert len({one.id for one in taken}) == 1
    await parts.revocations.carry_out(taken[0].id)
    assert (await parts.revocations.ask(operator, wanted)).state == REVOCATION_STATE_DONE
    for other in (
        order(actor.tenant, "incident-7"),
        order(actor.tenant, "incident-7", subject="customer-1", reason="x"),
    ):
        with pytest.raises(IdempotencyMismatch):
            await parts.revocations.ask(operator, other)


async def test_an_unknown_tenant_or_revocation_is_not_found(parts: Any, operator: Actor) -> None:
    with pytest.raises(NotFound):
        await parts.revocations.ask(operator, order("n" * 26))
    with pytest.raises(NotFound):
        await parts.revocations.describe("0" * 32)


async def test_tombstones_are_not_matched_and_a_revocation_that_was_only_recorded_is_finished(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, 2)
    await parts.bindings.revoke(actor, names[0])
    await parts.bindings._record_revoked(actor.tenant, names[1])
    assert (actor.tenant, names[1]) in await parts.directory.keys()
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    await parts.revocations.carry_out(taken.id)
    assert list((await parts.revocations.describe(taken.id)).binding_ids) == names[1:]
    assert await ended(parts, actor.tenant, names[1])


async def test_an_order_of_a_newer_version_that_may_select_less_is_left_to_that_version(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, 2)
    asked_for = await parts.revocations.ask(operator, order(actor.tenant))
    found = await parts.own.read("revocations", asked_for.id)
    told = json.loads(found.data["asked"])
    told["selector"]["only_mondays"] = True
    await parts.own.write("revocations", asked_for.id, {**found.data, "asked": json.dumps(told)}, found.version)
    for attempt in (parts.revocations.carry_out, parts.revocations.describe):
        with pytest.raises(Unavailable) as refused:
            await attempt(asked_for.id)
        assert refused.value.reason == "revocation_unreadable"
    assert [await ended(parts, actor.tenant, name) for name in names] == [False, False]


async def test_no_freeze_holds_it_up(parts: Any, actor: Actor, operator: Actor, request_of: Request) -> None:
    names = await bind_some(parts, actor, request_of, 2)
    target = FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=actor.tenant)
    request = CreateFreezeRequest(idempotency_key=secrets.token_hex(8), target=target, reason="an incident")
    freeze = await parts.freezer.make(operator, request)
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    await parts.revocations.carry_out(taken.id)
    for name in names:
        assert await ended(parts, actor.tenant, name)
    await parts.freezer.lift(operator, freeze.id, "done")


async def test_what_fails_is_named_never_counted_and_tried_again(
    make: Any, proxy: Any, parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, 3)
    proxied = await make(Connection(proxy.url))
    taken = await proxied.revocations.ask(operator, order(actor.tenant))
    proxy.arm("cut before", f"{names[1]}/config", lasting=True)
    carrying = asyncio.create_task(proxied.revocations.carry_out(taken.id))
    async with asyncio.timeout(30):
        while not (told := await parts.revocations.describe(taken.id)).failed:
            await asyncio.sleep(0.02)
    assert (told.state, told.matched, told.revoked) == (REVOCATION_STATE_REVOKING, 3, 2)
    assert [(one.binding_id, one.reason) for one in told.failed] == [(names[1], "vault_unavailable")]
    assert (actor.tenant, names[1]) in await parts.directory.keys()
    proxy.arm("")
    await asyncio.wait_for(carrying, 60)
    told = await parts.revocations.describe(taken.id)
    assert (told.state, told.revoked, list(told.failed)) == (REVOCATION_STATE_DONE, 3, [])
    assert await ended(parts, actor.tenant, names[1])


async def test_it_never_tells_of_an_end_before_the_fence(
    make: Any, proxy: Any, parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, revocation.BATCH + 8)
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    carrying = asyncio.create_task(parts.revocations.carry_out(taken.id))
    looks = 0
    while not carrying.done():
        told = await parts.revocations.describe(taken.id)
        keys = {name for tenant, name in await parts.directory.keys() if tenant == actor.tenant}
        assert told.revoked <= len(names) - len(keys), "the keys were listed after it was told"
        looks += 1
    await carrying
    assert looks > 1
    assert (await parts.revocations.describe(taken.id)).revoked == len(names)


async def test_one_process_is_at_it_and_another_goes_on_when_its_lease_has_ended(
    make: Any, parts: Any, actor: Actor, operator: Actor, request_of: Request, clock: Any
) -> None:
    names = await bind_some(parts, actor, request_of, 3)
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    work = await parts.revocations._load(taken.id)
    await parts.revocations._save(work)  # as a process does that is killed next
    other = await make()
    await other.revocations.carry_out(taken.id)
    assert (await other.revocations.describe(taken.id)).state == REVOCATION_STATE_MATCHING
    clock.ahead += revocations.LEASE_S
    await other.revocations.carry_out(taken.id)
    assert (await parts.revocations.describe(taken.id)).revoked == len(names)
    await parts.revocations.carry_out(taken.id)


async def test_two_processes_at_once_do_no_harm_and_count_each_binding_once(
    make: Any, parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names = await bind_some(parts, actor, request_of, 6)
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    other = await make()
    await asyncio.gather(*(one.revocations.carry_out(taken.id) for one in (parts, other)))
    told = await parts.revocations.describe(taken.id)
    assert (told.state, told.matched, told.revoked) == (REVOCATION_STATE_DONE, len(names), len(names))


async def test_a_process_carries_out_what_it_and_others_were_asked(
    make: Any, parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    names, runner, stopping = await bind_some(parts, actor, request_of, 2), await make(), asyncio.Event()
    left = await parts.revocations.ask(operator, order(actor.tenant, dry_run=True))
    running = asyncio.create_task(runner.revocations.run(stopping))
    taken = await runner.revocations.ask(operator, order(actor.tenant))
    async with asyncio.timeout(60):
        while (await parts.revocations.describe(taken.id)).state != REVOCATION_STATE_DONE:
            await asyncio.sleep(0.02)
        while (await parts.revocations.describe(left.id)).state != REVOCATION_STATE_DONE:
            await asyncio.sleep(0.02)
    for name in names:
        assert (await parts.bindings.records.load(actor.tenant, name)).binding.verdict.status == STATUS_REVOKED
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await runner.revocations.stop()


async def test_an_order_that_vault_did_not_take_is_not_acknowledged(
    make: Any, proxy: Any, actor: Actor, operator: Actor
) -> None:
    proxied = await make(Connection(proxy.url))
    proxy.arm("sealed", "/revocations/")
    with pytest.raises(Unavailable):
        await proxied.revocations.ask(operator, order(actor.tenant))


async def test_the_key_that_bound_a_revoked_binding_answers_its_tombstone(
    parts: Any, actor: Actor, operator: Actor, request_of: Request
) -> None:
    request = request_of()
    made, _ = await parts.bindings.bind(actor, asked(actor.tenant, request))
    taken = await parts.revocations.ask(operator, order(actor.tenant))
    await parts.revocations.carry_out(taken.id)
    again, created = await parts.bindings.bind(actor, asked(actor.tenant, request))
    assert (again.id, again.verdict.status, created) == (made.id, STATUS_REVOKED, False)
    assert (actor.tenant, made.id) not in await parts.directory.keys(), "an id is never used again"
    request.credential.secret_key = secrets.token_hex(32)
    with pytest.raises(IdempotencyMismatch):
        await parts.bindings.bind(actor, asked(actor.tenant, request))
