"""Who holds an account and a key: what is told, to whom, and what each enrolment may cost."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import BindingRevoked, InvalidArgument, NotFound, Unavailable
from strongroom.types.v1.binding_pb2 import (
    ENVIRONMENT_DEMO,
    ENVIRONMENT_LIVE,
    STATUS_CONNECTED,
    Account,
    Binding,
    Verdict,
)
from vault.actor import Actor
from vault.asked import Asked
from vault.enrolment import Enrolled, Enrolments
from vault.hashicorp.login import Connection
from vault.store import Applied, NotApplied, Why

Wanted = Callable[..., Asked]
UID = "1234567890"
LIVE, DEMO = ENVIRONMENT_LIVE, ENVIRONMENT_DEMO


@pytest.fixture
def bind(parts: Any, wanted: Wanted) -> Callable[..., Any]:
    async def bind_one(actor: Actor, **credential: Any) -> Binding:
        binding: Binding = (await parts.bindings.bind(actor, wanted(**credential)))[0]
        return binding

    return bind_one


async def members(parts: Any, tenant: str, uid: str = UID) -> dict[str, str]:
    """Return what the account's document says."""
    found = await parts.documents.read(tenant, "accounts", uid)
    return dict(found.data["members"])


async def holders(parts: Any, actor: Actor, binding: Binding) -> list[str]:
    """Return what the key's document says."""
    record = await parts.bindings.records.load(actor.tenant, binding.id)
    found = await parts.own.read("holders", record.fingerprint)
    return list(found.data["holders"]) if found else []


async def test_the_bindings_of_an_account_learn_of_each_other_once(parts: Any, actor: Actor, bind: Any) -> None:
    first, second = await bind(actor), await bind(actor)
    enroll = parts.enrolments.enroll
    assert await enroll(actor, first.id, UID, LIVE) == Enrolled((), 1, bound_elsewhere=False, joined=True)
    assert await enroll(actor, second.id, UID, LIVE) == Enrolled((first.id,), 2, bound_elsewhere=False, joined=True)
    assert await enroll(actor, first.id, UID, LIVE) == Enrolled((second.id,), 2, bound_elsewhere=False, joined=False)
    assert await members(parts, actor.tenant) == {first.id: "live", second.id: "live"}
    assert await holders(parts, actor, first) == [f"{actor.tenant}.{first.id}"]


async def test_another_environment_counts_as_a_key_and_is_no_sibling(parts: Any, actor: Actor, bind: Any) -> None:
    live, demo, elsewhere = await bind(actor), await bind(actor), await bind(actor)
    enroll = parts.enrolments.enroll
    await enroll(actor, live.id, UID, LIVE)
    assert await enroll(actor, demo.id, UID, DEMO) == Enrolled((), 2, bound_elsewhere=False, joined=True)
    assert await enroll(actor, elsewhere.id, "another", LIVE) == Enrolled((), 1, bound_elsewhere=False, joined=True)
    assert await enroll(actor, live.id, UID, DEMO) == Enrolled((demo.id,), 2, bound_elsewhere=False, joined=True)


async def test_an_enrolment_that_changes_nothing_only_reads(
    make: Any, proxy: Any, parts: Any, actor: Actor, bind: Any
) -> None:
    first, second = await bind(actor), await bind(actor)
    for binding in (first, second):
        await parts.enrolments.enroll(actor, binding.id, UID, LIVE)
    proxied = await make(Connection(proxy.url))
    await proxied.enrolments.enroll(actor, first.id, UID, LIVE)
    calls = [call for call in proxy.seen if "auth/jwt/login" not in call and "sys/health" not in call]
    assert {call.split()[0] for call in calls} == {"GET"}
    assert len(calls) == 4, "the record, both documents and the one other member"
    assert proxied.audit_file.read_bytes() == b""


async def test_a_key_of_another_tenant_is_told_as_a_yes_and_alarmed_by_ids_alone(
    parts: Any, actor: Actor, bind: Any, server: Any, wanted: Wanted, logged: list[Any]
) -> None:
    other = Actor(server.tenant(), "worker")
    mine, theirs = [await bind(who, api_key="bg_shared_by_two") for who in (actor, other)]
    first = await parts.enrolments.enroll(other, theirs.id, UID, LIVE)
    assert not [entry for entry in logged if entry["event"] == "key_bound_elsewhere"]
    told = await parts.enrolments.enroll(actor, mine.id, UID, LIVE)
    (said,) = [entry for entry in logged if entry["event"] == "key_bound_elsewhere"]
    assert "bg_shared_by_two" not in str(said)
    assert other.tenant not in str(said)
    assert (first.bound_elsewhere, told.bound_elsewhere) == (False, True)
    assert (told.siblings, told.keys_bound) == ((), 1), "of the other tenant nothing else is told"
    assert await members(parts, actor.tenant) == {mine.id: "live"}
    assert (await parts.enrolments.enroll(other, theirs.id, UID, LIVE)).bound_elsewhere
    for who in (actor, other):
        raw = await parts.documents.read(who.tenant, "accounts", UID)
        assert (other if who is actor else actor).tenant not in str(raw)


async def test_a_key_that_was_bound_and_never_proven_elsewhere_is_not_told(
    parts: Any, actor: Actor, bind: Any, server: Any
) -> None:
    mine = await bind(actor, api_key="bg_copied_by_a_stranger")
    await bind(Actor(server.tenant(), "gateway"), api_key="bg_copied_by_a_stranger")
    assert not (await parts.enrolments.enroll(actor, mine.id, UID, LIVE)).bound_elsewhere


async def test_a_revoked_binding_cannot_be_enrolled_and_counts_for_nobody(
    parts: Any, actor: Actor, bind: Any, server: Any
) -> None:
    other = Actor(server.tenant(), "worker")
    mine, sibling = await bind(actor, api_key="bg_shared_again"), await bind(actor)
    theirs = await bind(other, api_key="bg_shared_again")
    for who, binding in ((actor, mine), (actor, sibling), (other, theirs)):
        await parts.enrolments.enroll(who, binding.id, UID, LIVE)
    await parts.bindings.revoke(actor, sibling.id)
    await parts.bindings.revoke(other, theirs.id)
    with pytest.raises(BindingRevoked):
        await parts.enrolments.enroll(other, theirs.id, UID, LIVE)
    assert await holders(parts, actor, mine) == sorted([f"{actor.tenant}.{mine.id}", f"{other.tenant}.{theirs.id}"])
    told = await parts.enrolments.enroll(actor, mine.id, UID, LIVE)
    assert told == Enrolled((), 1, bound_elsewhere=False, joined=False)
    assert await members(parts, actor.tenant) == {mine.id: "live"}, "the dead are dropped when met"
    assert await holders(parts, actor, mine) == [f"{actor.tenant}.{mine.id}"]


async def test_an_entry_without_a_record_or_of_a_tenant_that_is_gone_is_dropped(
    parts: Any, actor: Actor, bind: Any
) -> None:
    mine = await bind(actor)
    record = await parts.bindings.records.load(actor.tenant, mine.id)
    await parts.documents.write(actor.tenant, "accounts", UID, {"members": {"f" * 32: "live"}}, 0)
    await parts.own.write("holders", record.fingerprint, {"holders": ["z" * 26 + "." + "f" * 32]}, 0)
    assert await parts.enrolments.enroll(actor, mine.id, UID, LIVE) == Enrolled(
        (), 1, bound_elsewhere=False, joined=True
    )
    assert await members(parts, actor.tenant) == {mine.id: "live"}
    assert await holders(parts, actor, mine) == [f"{actor.tenant}.{mine.id}"]


async def test_enrolments_at_once_lose_nobody(parts: Any, make: Any, actor: Actor, bind: Any) -> None:
    made = [await bind(actor) for _ in range(10)]
    both = [parts, await make()]
    told = await asyncio.gather(
        *(both[number % 2].enrolments.enroll(actor, one.id, UID, LIVE) for number, one in enumerate(made))
    )
    assert all(one.joined for one in told)
    assert await members(parts, actor.tenant) == {one.id: "live" for one in made}
    assert (await parts.enrolments.enroll(actor, made[0].id, UID, LIVE)).keys_bound == 10


async def test_one_that_always_comes_too_late_gives_up(parts: Any, actor: Actor, bind: Any) -> None:
    writes = []

    class Contended(type(parts.documents)):  # type: ignore[misc]
        async def write(self, *args: Any) -> Any:
            writes.append(args)
            return NotApplied(Why.CONFLICT)

    made = await bind(actor)
    late = Enrolments(Contended(parts.http), parts.own, parts.audit)
    with pytest.raises(Unavailable) as refused:
        await late.enroll(actor, made.id, UID, LIVE)
    assert refused.value.reason == "busy"
    assert len(writes) == 12


@pytest.mark.parametrize("document", ["data/accounts/", "data/holders/"])
@pytest.mark.parametrize("fault", ["cut after", "500 after", "half a reply"])
async def test_an_enrolment_written_without_a_reply_is_read_back(
    make: Any, proxy: Any, parts: Any, actor: Actor, bind: Any, document: str, fault: str
) -> None:
    made = await bind(actor)
    proxied = await make(Connection(proxy.url))
    proxy.arm(fault, document)
    told = await proxied.enrolments.enroll(actor, made.id, UID, LIVE)
    assert not proxy.fault, "the fault was met"
    assert told == Enrolled((), 1, bound_elsewhere=False, joined=True)
    assert await members(parts, actor.tenant) == {made.id: "live"}
    assert await holders(parts, actor, made) == [f"{actor.tenant}.{made.id}"]


@pytest.mark.parametrize("document", ["data/accounts/", "data/holders/"])
async def test_an_enrolment_that_never_arrived_is_unavailable_and_a_repeat_completes_it(
    make: Any, proxy: Any, parts: Any, actor: Actor, bind: Any, document: str
) -> None:
    made = await bind(actor)
    proxied = await make(Connection(proxy.url))
    proxy.arm("500 before", document)
    with pytest.raises(Unavailable):
        await proxied.enrolments.enroll(actor, made.id, UID, LIVE)
    assert (await proxied.enrolments.enroll(actor, made.id, UID, LIVE)).keys_bound == 1
    assert await members(parts, actor.tenant) == {made.id: "live"}


async def test_who_leaves_is_in_neither_document_and_leaving_can_be_repeated(
    parts: Any, actor: Actor, bind: Any
) -> None:
    made, other = await bind(actor), await bind(actor)
    for one in (made, other):
        await parts.enrolments.enroll(actor, one.id, UID, LIVE)
    verdict = Verdict(status=STATUS_CONNECTED, account=Account(uid=UID))
    await parts.bindings.transition(actor, made.id, 1, verdict)
    await parts.bindings.revoke(actor, made.id)
    for _ in range(2):
        await parts.enrolments.leave(actor, made.id)
        assert await members(parts, actor.tenant) == {other.id: "live"}
        assert await holders(parts, actor, made) == []


async def test_a_vault_that_goes_away_while_one_leaves_is_no_error(
    make: Any, proxy: Any, parts: Any, actor: Actor, bind: Any
) -> None:
    made = await bind(actor)
    await parts.enrolments.enroll(actor, made.id, UID, LIVE)
    await parts.bindings.revoke(actor, made.id)
    proxied = await make(Connection(proxy.url))
    proxy.arm("cut before", method="", lasting=True)
    await proxied.enrolments.leave(actor, made.id)
    assert await holders(parts, actor, made) != []


async def test_an_account_that_the_exchange_did_not_tell_is_recorded_nowhere(
    make: Any, proxy: Any, actor: Actor, parts: Any, bind: Any
) -> None:
    made = await bind(actor)
    proxied = await make(Connection(proxy.url))
    told = await proxied.enrolments.enroll(actor, made.id, "", LIVE)
    assert told == Enrolled((), 0, bound_elsewhere=False, joined=False)
    calls = [call for call in proxy.seen if "auth/jwt/login" not in call and "sys/health" not in call]
    assert [call.split()[0] for call in calls] == ["GET"]
    assert await holders(parts, actor, made) == []
    await parts.bindings.revoke(actor, made.id)
    with pytest.raises(BindingRevoked):
        await parts.enrolments.enroll(actor, made.id, "", LIVE)


@pytest.mark.parametrize("uid", ["../x", "1" * 41, "1.2", "1/2", "1\n", "é"])
async def test_an_account_id_outside_the_grammar_is_refused(parts: Any, actor: Actor, bind: Any, uid: str) -> None:
    made = await bind(actor)
    with pytest.raises(InvalidArgument) as refused:
        await parts.enrolments.enroll(actor, made.id, uid, LIVE)
    assert refused.value.extra == {"field": "uid"}
    with pytest.raises(InvalidArgument):
        await parts.enrolments.enroll(actor, made.id, UID, 0)


async def test_a_foreign_or_random_binding_is_not_found(parts: Any, actor: Actor, bind: Any, server: Any) -> None:
    theirs = await bind(Actor(server.tenant(), "worker"))
    for name in (theirs.id, "f" * 32):
        with pytest.raises(NotFound):
            await parts.enrolments.enroll(actor, name, UID, LIVE)
    assert await parts.documents.read(actor.tenant, "accounts", UID) is None


async def test_the_services_own_documents_are_written_by_check_and_set(parts: Any) -> None:
    name = "e" * 64
    found = await parts.own.read("holders", name)
    version = found.version if found else 0
    assert await parts.own.write("holders", name, {"holders": []}, version) == Applied(version + 1)
    assert await parts.own.write("holders", name, {"holders": ["x"]}, version) == NotApplied(Why.CONFLICT)
    assert (await parts.own.read("holders", name)).data == {"holders": []}
