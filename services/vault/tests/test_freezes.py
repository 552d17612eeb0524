"""What a freeze stops, by one table; that it is in force everywhere at once, survives, and holds up no revocation."""

import asyncio
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from common.errors import (
    BindingRevoked,
    IdempotencyMismatch,
    InvalidArgument,
    NotFound,
    PolicyRefused,
    Unavailable,
)
from strongroom.types.v1.binding_pb2 import EXCHANGE_BITGET, STATUS_REVOKED
from strongroom.types.v1.request_pb2 import ExchangeRequest
from strongroom.vault.v1.freezes_pb2 import (
    FREEZE_KIND_BINDING,
    FREEZE_KIND_EVERYTHING,
    FREEZE_KIND_EXCHANGE,
    FREEZE_KIND_SUBJECT,
    FREEZE_KIND_TENANT,
    CreateFreezeRequest,
    Freeze,
    FreezeTarget,
)
from strongroom.vault.v1.signer_pb2 import SignRequest
from vault import freezer, policy
from vault.actor import Actor
from vault.asked import Asked
from vault.canonical import canonical
from vault.freezes import Place, checked, refusing
from vault.hashicorp.login import Connection
from vault.store import Applied

Wanted = Callable[..., Asked]
A, B = "a" * 26, "b" * 26
ONE, OTHER = "1" * 32, "2" * 32
PLACE = Place(A, ONE, "customer-1", EXCHANGE_BITGET)
INFO = ExchangeRequest(method="GET", path="/api/v3/account/info")
CANCEL = ExchangeRequest(method="POST", path="/api/v3/trade/cancel-order", body=b"{}")
PLACE_ORDER = ExchangeRequest(method="POST", path="/api/v3/trade/place-order", body=b"{}")
REPLACE = ExchangeRequest(method="POST", path="/api/v2/spot/trade/cancel-replace-order", body=b"{}")
WITHDRAWAL = ExchangeRequest(method="POST", path="/api/v3/account/cancel-withdrawal", body=b"{}")

TARGETS = [
    (FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=A, binding_id=ONE), True),
    (FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=A, binding_id=OTHER), False),
    (FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=B, binding_id=ONE), False),
    (FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=A, subject="customer-1"), True),
    (FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=A, subject="customer-10"), False),
    (FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=B, subject="customer-1"), False),
    (FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=A), True),
    (FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=B), False),
    (FreezeTarget(kind=FREEZE_KIND_EXCHANGE, exchange=EXCHANGE_BITGET), True),
    (FreezeTarget(kind=FREEZE_KIND_EVERYTHING), True),
]
SHAPES = [(INFO, False), (CANCEL, True), (PLACE_ORDER, False), (REPLACE, False), (WITHDRAWAL, False)]


@pytest.mark.parametrize("allow_cancels", [False, True])
@pytest.mark.parametrize(("request_", "cancels"), SHAPES, ids=lambda value: getattr(value, "path", str(value)))
@pytest.mark.parametrize(("target", "covers"), TARGETS, ids=str)
def test_a_freeze_stops_what_it_covers_and_lets_through_cancels_alone_if_it_says_so(
    target: FreezeTarget, covers: bool, request_: ExchangeRequest, cancels: bool, allow_cancels: bool
) -> None:
    rules = policy.load()
    is_cancel = rules.is_cancel(canonical(request_, rules.camel_case_paths))
    assert is_cancel is cancels
    freeze = Freeze(id=ONE, target=target, allow_cancels=allow_cancels)
    stopped = refusing([freeze], PLACE, cancels=is_cancel)
    assert (stopped is freeze) is (covers and not (cancels and allow_cancels))


def test_one_freeze_that_lets_cancels_through_does_not_open_another() -> None:
    soft = Freeze(id=ONE, target=FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=A), allow_cancels=True)
    hard = Freeze(id=OTHER, target=FreezeTarget(kind=FREEZE_KIND_EVERYTHING))
    assert refusing([soft, hard], PLACE, cancels=True) is hard


def test_a_kind_that_only_a_newer_version_knows_stops_everything() -> None:
    newer = Freeze(id=ONE, target=FreezeTarget(kind=99))  # type: ignore[arg-type]
    assert refusing([newer], PLACE) is newer


@pytest.mark.parametrize(
    ("target", "field"),
    [
        (FreezeTarget(), "target.kind"),
        (FreezeTarget(kind=99), "target.kind"),  # type: ignore[arg-type]
        (FreezeTarget(kind=FREEZE_KIND_TENANT), "target.tenant_id"),
        (FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=A), "target.binding_id"),
        (FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=A), "target.subject"),
        (FreezeTarget(kind=FREEZE_KIND_EXCHANGE), "target.exchange"),
        (FreezeTarget(kind=FREEZE_KIND_EXCHANGE, exchange=9), "target.exchange"),  # type: ignore[arg-type]
        (FreezeTarget(kind=FREEZE_KIND_EVERYTHING, tenant_id=A), "target.tenant_id"),
        (FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=A, subject="x"), "target.subject"),
        (FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id="../" + A[3:]), "tenant_id"),
        (FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=A, subject="x" * 129), "target.subject"),
    ],
    ids=str,
)
def test_a_target_has_what_its_kind_needs_and_nothing_else(target: FreezeTarget, field: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        checked(target)
    assert wrong.value.extra["field"] == field


@pytest.fixture
def operator() -> Actor:
    return Actor("o" * 26, "gateway", "an-operator", "a-console")


@pytest.fixture
async def bound(parts: Any, actor: Actor, wanted: Wanted) -> str:
    made, _ = await parts.bindings.bind(actor, wanted())
    name: str = made.id
    return name


def asked(target: FreezeTarget, key: str = "", reason: str = "an incident", cancels: bool = False) -> Any:
    return CreateFreezeRequest(
        idempotency_key=key or secrets.token_hex(8), target=target, reason=reason, allow_cancels=cancels
    )


def of_tenant(tenant: str) -> FreezeTarget:
    return FreezeTarget(kind=FREEZE_KIND_TENANT, tenant_id=tenant)


async def lines(parts: Any, action: str) -> list[dict[str, Any]]:
    """Return the audit's lines of an action, once everything that was to be written is."""
    await parts.audit.append({"action": "mark"})
    found = [json.loads(line) for line in parts.audit_file.read_text().splitlines()]
    return [line for line in found if line["action"] == action]


async def refused(parts: Any, actor: Actor, name: str) -> str:
    """Return the id of the freeze that refuses a signature."""
    with pytest.raises(PolicyRefused) as stopped:
        await parts.signer.sign(actor, SignRequest(binding_id=name, requests=[INFO]))
    assert (stopped.value.reason, stopped.value.extra["rule"]) == ("frozen", "frozen")
    return stopped.value.extra["freeze_id"]


async def signs(parts: Any, actor: Actor, name: str) -> bool:
    return bool((await parts.signer.sign(actor, SignRequest(binding_id=name, requests=[INFO]))).signed)


async def test_each_kind_stops_signing_at_once_until_it_is_lifted_and_says_so_in_the_audit(
    parts: Any, actor: Actor, operator: Actor, bound: str
) -> None:
    targets = [
        FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=actor.tenant, binding_id=bound),
        FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=actor.tenant, subject="customer-1"),
        of_tenant(actor.tenant),
        FreezeTarget(kind=FREEZE_KIND_EXCHANGE, exchange=EXCHANGE_BITGET),
        FreezeTarget(kind=FREEZE_KIND_EVERYTHING),
    ]
    for target in targets:
        made = await parts.freezer.make(operator, asked(target))
        assert await refused(parts, actor, bound) == made.id
        line = (await lines(parts, "sign"))[-1]
        assert (line["outcome"], line["rule"], line["freeze"]) == ("frozen", "frozen", made.id)
        assert "vault_request_id" not in line
        assert [(one.id, one.made_by, one.reason) for one in await parts.freezer.active() if one.id == made.id] == [
            (made.id, "an-operator", "an incident")
        ]
        lifted = await parts.freezer.lift(operator, made.id, "it is over")
        assert (lifted.lifted_by, lifted.lift_reason) == ("an-operator", "it is over")
        assert await signs(parts, actor, bound)
        assert await parts.freezer.lift(operator, made.id, "again") == lifted
    written = await lines(parts, "freeze") + await lines(parts, "unfreeze")
    told = [(line["action"], line["phase"], line["reason"]) for line in written]
    assert told.count(("freeze", "intent", "an incident")) == told.count(("freeze", "outcome", "an incident")) == 5
    assert told.count(("unfreeze", "outcome", "it is over")) == 5
    assert (written[0]["operator"], written[0]["tenant"]) == (operator.tenant, actor.tenant)


async def test_another_tenants_freeze_and_another_bindings_stop_nothing_here(
    parts: Any, server: Any, actor: Actor, operator: Actor, bound: str, wanted: Wanted
) -> None:
    other, _ = await parts.bindings.bind(actor, wanted())
    made = [
        await parts.freezer.make(operator, asked(of_tenant(server.tenant()))),
        await parts.freezer.make(
            operator, asked(FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=actor.tenant, binding_id=other.id))
        ),
    ]
    assert await signs(parts, actor, bound)
    assert await refused(parts, actor, other.id) == made[1].id
    for one in made:
        await parts.freezer.lift(operator, one.id, "done")


async def test_a_freeze_is_in_force_on_another_process_and_survives_a_restart(
    parts: Any, make: Any, actor: Actor, operator: Actor, bound: str
) -> None:
    other = await make()
    assert await signs(other, actor, bound)
    made = await parts.freezer.make(operator, asked(of_tenant(actor.tenant)))
    began = time.monotonic()
    async with asyncio.timeout(5):
        while True:
            try:
                await other.signer.sign(actor, SignRequest(binding_id=bound, requests=[INFO]))
            except PolicyRefused:
                break
    print(f"frozen on another process after {(time.monotonic() - began) * 1000:.0f} ms")
    assert await refused(await make(), actor, bound) == made.id
    await parts.freezer.lift(operator, made.id, "done")


async def test_a_signature_asked_for_later_than_the_time_that_freezes_are_kept_is_refused(
    parts: Any, make: Any, actor: Actor, operator: Actor, bound: str, clock: Any
) -> None:
    other = await make()
    assert await signs(other, actor, bound)
    made = await parts.freezer.make(operator, asked(of_tenant(actor.tenant)))
    clock.ahead += 0.1  # what the contract promises, whatever the code says
    assert await refused(other, actor, bound) == made.id, "the very next signature, not one of the next"
    await parts.freezer.lift(operator, made.id, "done")


async def test_freezes_that_cannot_be_read_are_not_taken_for_none(
    make: Any, proxy: Any, actor: Actor, bound: str, clock: Any
) -> None:
    proxied = await make(Connection(proxy.url))
    assert await signs(proxied, actor, bound)
    clock.ahead += freezer.FRESH_S * 2
    proxy.arm("500 before", "/freezes/all", "GET", lasting=True)
    with pytest.raises(Unavailable):
        await proxied.signer.sign(actor, SignRequest(binding_id=bound, requests=[INFO]))
    assert (await lines(proxied, "sign"))[-1]["outcome"] == "vault_unavailable"
    proxy.arm("")
    assert await signs(proxied, actor, bound)


@pytest.fixture
def document(server: Any) -> Iterator[Callable[[dict[str, Any]], int]]:
    """Return a writer of the document of freezes, which gives its version; what was there comes back afterwards."""
    path = "strongroom/data/freezes/all"

    def write(data: Any) -> int:
        version = (server.admin.read(path) or {"data": {"metadata": {"version": 0}}})["data"]["metadata"]["version"]
        server.admin.write_data(path, data={"data": data, "options": {"cas": version}})
        return int(version) + 1

    before = (server.admin.read(path) or {"data": {"data": {}}})["data"]["data"]
    yield write
    write(before)


async def test_a_document_that_nobody_can_read_refuses(
    parts: Any, actor: Actor, bound: str, document: Any, clock: Any
) -> None:
    for odd in ({"active": 5}, {"active": [5]}, {"active": ["x"]}, {"active": [json.dumps({"made_at": "yesterday"})]}):
        document(odd)
        clock.ahead += freezer.FRESH_S * 2
        with pytest.raises(Unavailable) as stopped:
            await parts.signer.sign(actor, SignRequest(binding_id=bound, requests=[INFO]))
        assert stopped.value.reason == "freezes_unreadable"
    document({"active": [json.dumps({"id": OTHER, "target": {"kind": "FREEZE_KIND_OF_TOMORROW", "galaxy": 1}})]})
    clock.ahead += freezer.FRESH_S * 2
    assert await refused(parts, actor, bound) == OTHER


async def test_many_signatures_at_once_read_the_freezes_once(make: Any, proxy: Any, actor: Actor, bound: str) -> None:
    proxied = await make(Connection(proxy.url))
    await asyncio.gather(*(proxied.freezer.active() for _ in range(200)))
    assert [call for call in proxy.seen if "/freezes/" in call] == ["GET /v1/strongroom/data/freezes/all"]


async def test_a_revocation_is_held_up_by_no_freeze(parts: Any, actor: Actor, operator: Actor, bound: str) -> None:
    made = await parts.freezer.make(operator, asked(FreezeTarget(kind=FREEZE_KIND_EVERYTHING)))
    ended = await parts.bindings.revoke(actor, bound)
    assert ended.verdict.status == STATUS_REVOKED
    assert (actor.tenant, bound) not in await parts.directory.keys()
    with pytest.raises(BindingRevoked):
        await parts.signer.sign(actor, SignRequest(binding_id=bound, requests=[INFO]))
    await parts.freezer.lift(operator, made.id, "done")


async def test_what_does_not_exist_cannot_be_frozen_by_a_slip_of_the_pen(
    parts: Any, actor: Actor, operator: Actor
) -> None:
    for target in (
        of_tenant("n" * 26),
        FreezeTarget(kind=FREEZE_KIND_BINDING, tenant_id=actor.tenant, binding_id=OTHER),
        FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id="n" * 26, subject="x"),
    ):
        with pytest.raises(NotFound):
            await parts.freezer.make(operator, asked(target))
    with pytest.raises(NotFound):
        await parts.freezer.lift(operator, OTHER, "never was")


@pytest.mark.parametrize("reason", ["", " ", "x" * 201, "two\nlines"])
async def test_a_reason_is_needed_to_freeze_and_to_lift(parts: Any, actor: Actor, operator: Actor, reason: str) -> None:
    with pytest.raises(InvalidArgument):
        await parts.freezer.make(operator, asked(of_tenant(actor.tenant), reason=reason))
    with pytest.raises(InvalidArgument):
        await parts.freezer.lift(operator, OTHER, reason)


async def test_a_repeat_makes_one_freeze_and_another_body_is_refused(parts: Any, actor: Actor, operator: Actor) -> None:
    request = asked(of_tenant(actor.tenant), key="incident-7")
    made = await asyncio.gather(*(parts.freezer.make(operator, request) for _ in range(10)))
    assert len({one.id for one in made}) == 1
    assert [one.id for one in await parts.freezer.active()].count(made[0].id) == 1
    for other in (
        asked(of_tenant(actor.tenant), "incident-7", "another"),
        asked(request.target, "incident-7", cancels=True),
    ):
        with pytest.raises(IdempotencyMismatch):
            await parts.freezer.make(operator, other)
    await parts.freezer.lift(operator, made[0].id, "done")
    with pytest.raises(IdempotencyMismatch) as told:
        await parts.freezer.make(operator, request)
    assert "lifted" in told.value.detail, "one that is lifted is not told as if it were in force"


async def test_freezes_made_and_lifted_at_once_by_two_processes_all_count(
    parts: Any, make: Any, actor: Actor, operator: Actor
) -> None:
    other = await make()
    first = await asyncio.gather(
        *(one.freezer.make(operator, asked(of_tenant(actor.tenant))) for one in (parts, other) for _ in range(3))
    )
    ids = {one.id for one in first}
    assert ids <= {one.id for one in await other.freezer.active()}
    await asyncio.gather(*(parts.freezer.lift(operator, name, "done") for name in ids))
    assert ids.isdisjoint({one.id for one in await parts.freezer.active()})


async def test_their_number_is_bounded_and_the_longest_texts_fit(
    parts: Any, actor: Actor, operator: Actor, document: Any
) -> None:
    version = document({})
    target = FreezeTarget(kind=FREEZE_KIND_SUBJECT, tenant_id=actor.tenant, subject="\U0001f512" * 128)
    locks = "\U0001f512" * 200

    def of_length(number: int, **ended: str) -> Freeze:
        return Freeze(id=f"{number:032x}", target=target, reason=locks, made_by="s" * 64, **ended)

    active = tuple(map(of_length, range(freezer.LIMIT)))
    lifted = tuple(of_length(number, lift_reason=locks) for number in range(freezer.KEPT))
    known = freezer.Known(0.0, active, lifted, 0)
    assert await parts.own.write("freezes", "all", known.document(), version) == Applied(version + 1)
    with pytest.raises(InvalidArgument) as stopped:
        await parts.freezer.make(operator, asked(of_tenant(actor.tenant)))
    assert stopped.value.reason == "too_many_freezes"
