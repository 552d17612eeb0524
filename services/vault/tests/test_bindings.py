"""The write orders on a real server: bind, transition, revoke, and their repeats."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from common.errors import (
    Aborted,
    AlreadyExists,
    BindingRevoked,
    IdempotencyMismatch,
    InvalidArgument,
    NotFound,
    StrongroomError,
)
from cryptography.hazmat.primitives.serialization import PrivateFormat
from hvac.exceptions import InvalidPath
from strongroom.types.v1.binding_pb2 import (
    KEY_TYPE_HMAC,
    KEY_TYPE_RSA,
    REASON_INVALID_SECRET,
    STATUS_CONNECTED,
    STATUS_DISCONNECTED,
    STATUS_PENDING,
    STATUS_REJECTED,
    STATUS_REVOKED,
    Verdict,
)
from vault.actor import Actor
from vault.asked import Asked
from vault.asked import asked as asked_of
from vault.store import Applied

Wanted = Callable[..., Asked]


async def test_a_bind_makes_a_pending_record_that_shows_a_hint_and_no_secret(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    asked = wanted()
    binding, created = await parts.bindings.bind(actor, asked)
    assert created
    assert binding.id == asked.binding_id
    assert (binding.verdict.status, binding.revision, binding.proven) == (STATUS_PENDING, 1, False)
    api_key = asked.api_key.reveal()
    assert binding.credential.api_key_hint == f"{api_key[:5]}…{api_key[-4:]}"
    record = await parts.bindings.records.load(actor.tenant, asked.binding_id)
    assert record.binding == binding
    document = await parts.documents.read(actor.tenant, "bindings", asked.binding_id)
    for secret in (asked.api_key.reveal(), asked.material.content().decode(), asked.passphrase.reveal()):
        assert secret not in str(document)


async def test_swapped_values_leave_a_clue_in_the_record_and_no_part_of_the_secret(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted(api_key="5" * 64, secret_key="bg_" + "1" * 32))
    assert (list(made.credential.clues), made.credential.api_key_hint) == (["secret_like_api_key"], "…")
    assert (await parts.bindings.records.load(actor.tenant, made.id)).binding == made
    document = await parts.documents.read(actor.tenant, "bindings", made.id)
    assert "5555" not in str(document)


async def test_a_repeat_answers_the_stored_binding_and_another_body_is_refused(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    first = wanted("repeat-me", api_key="bg_the_same_key", secret_key="a" * 64)
    made, _ = await parts.bindings.bind(actor, first)
    again = wanted("repeat-me", api_key="bg_the_same_key", secret_key="a" * 64)
    assert await parts.bindings.bind(actor, again) == (made, False)
    for change in ({"secret_key": "b" * 64}, {"api_key": "bg_another_key"}, {"passphrase": "other"}):
        other = {"api_key": "bg_the_same_key", "secret_key": "a" * 64, **change}
        with pytest.raises(IdempotencyMismatch):
            await parts.bindings.bind(actor, wanted("repeat-me", **other))


async def test_an_rsa_bind_that_is_repeated_in_another_form_of_its_key_answers_the_stored_binding(
    parts: Any, actor: Actor, wanted: Wanted, rsa_key: Any, pem: Any
) -> None:
    credential = {"api_key": "bg_an_rsa_key", "key_type": KEY_TYPE_RSA}
    made, created = await parts.bindings.bind(actor, wanted("rsa", **credential, secret_key=pem(rsa_key(2048))))
    assert (created, made.credential.key_type) == (True, KEY_TYPE_RSA)
    other_form = pem(rsa_key(2048), PrivateFormat.TraditionalOpenSSL)
    assert await parts.bindings.bind(actor, wanted("rsa", **credential, secret_key=other_form)) == (made, False)
    with pytest.raises(IdempotencyMismatch):
        await parts.bindings.bind(actor, wanted("rsa", **credential, secret_key=pem(rsa_key(3072))))


@pytest.mark.parametrize("left", ["hmac", "rsa"])
async def test_a_key_that_an_unfinished_bind_left_must_be_the_same_whatever_its_type(
    parts: Any, actor: Actor, wanted: Wanted, rsa_key: Any, pem: Any, left: str
) -> None:
    hmac, rsa = {"secret_key": "a" * 64}, {"key_type": KEY_TYPE_RSA, "secret_key": pem(rsa_key(2048))}
    other_rsa = {"key_type": KEY_TYPE_RSA, "secret_key": pem(rsa_key(3072))}
    first = wanted("again", **(hmac if left == "hmac" else rsa))
    assert await parts.keys.import_key(actor.tenant, first.binding_id, first.material) == Applied(None)
    for other in (rsa if left == "hmac" else hmac, other_rsa):
        with pytest.raises(IdempotencyMismatch):
            await parts.bindings.bind(actor, wanted("again", **other))
    assert (await parts.bindings.bind(actor, first))[1]


@pytest.mark.bar(33)
async def test_sixty_binds_of_one_key_have_one_success(parts: Any, actor: Actor, wanted: Wanted) -> None:
    asks = [wanted(api_key="bg_everybody_wants_me") for _ in range(60)]
    answers = await asyncio.gather(*(parts.bindings.bind(actor, ask) for ask in asks), return_exceptions=True)
    made = [answer[0].id for answer in answers if isinstance(answer, tuple)]
    assert len(made) == 1
    refused = [answer for answer in answers if isinstance(answer, AlreadyExists)]
    assert len(refused) == 59
    assert {error.extra["binding_id"] for error in refused} == set(made)
    assert await parts.documents.names(actor.tenant, "bindings") == made


@pytest.mark.bar(32)
async def test_the_same_request_sent_fifty_times_at_once_makes_one_binding(
    parts: Any, actor: Actor, wanted: Wanted, server: Any, request_of: Any
) -> None:
    request = request_of("everywhere")
    asked = asked_of(actor.tenant, request)
    answers = await asyncio.gather(*(parts.bindings.bind(actor, asked) for _ in range(50)))
    assert sum(created for _, created in answers) == 1
    assert {binding.id for binding, _ in answers} == {asked.binding_id}
    assert len({binding.SerializeToString(deterministic=True) for binding, _ in answers}) == 1
    with pytest.raises(IdempotencyMismatch):
        await parts.bindings.bind(actor, wanted("everywhere"))
    other = Actor(server.tenant(), "gateway")
    theirs, created = await parts.bindings.bind(other, asked_of(other.tenant, request))
    assert (created, theirs.id == asked.binding_id) == (True, False)


async def test_a_revoked_key_can_be_bound_again_and_by_another_tenant_at_any_time(
    parts: Any, actor: Actor, wanted: Wanted, server: Any
) -> None:
    first, _ = await parts.bindings.bind(actor, wanted(api_key="bg_moving_about"))
    other = Actor(server.tenant(), "gateway")
    assert (await parts.bindings.bind(other, wanted(api_key="bg_moving_about")))[1]
    await parts.bindings.revoke(actor, first.id)
    second, created = await parts.bindings.bind(actor, wanted(api_key="bg_moving_about"))
    assert created
    with pytest.raises(AlreadyExists) as refused:
        await parts.bindings.bind(actor, wanted(api_key="bg_moving_about"))
    assert refused.value.extra == {"binding_id": second.id}


async def test_a_claim_without_a_record_is_waited_for_and_taken_over_when_old(
    parts: Any, actor: Actor, wanted: Wanted, clock: Any
) -> None:
    asked = wanted()
    _, fingerprint = await parts.keys.keyed([b"", asked.fingerprint_text()])
    await parts.bindings.claims.take(actor.tenant, fingerprint, "0" * 32)
    with pytest.raises(StrongroomError) as refused:
        await parts.bindings.bind(actor, asked)
    assert (refused.value.reason, refused.value.retry_after) == ("bind_in_progress", 2.0)
    clock.ahead = 61
    assert (await parts.bindings.bind(actor, asked))[1]


async def test_a_late_repeat_renews_its_own_claim(parts: Any, actor: Actor, wanted: Wanted, clock: Any) -> None:
    asked = wanted()
    _, fingerprint = await parts.keys.keyed([b"", asked.fingerprint_text()])
    await parts.bindings.claims.take(actor.tenant, fingerprint, asked.binding_id)
    await parts.bindings.claims.take(actor.tenant, fingerprint, asked.binding_id)
    assert (await parts.documents.read(actor.tenant, "fp", fingerprint)).version == 1
    clock.ahead = 31
    assert (await parts.bindings.bind(actor, asked))[1]
    claim = await parts.documents.read(actor.tenant, "fp", fingerprint)
    assert (claim.version, claim.data["binding_id"]) == (2, asked.binding_id)
    assert claim.data["claimed_at"] >= int(clock.unix()) - 5


async def test_a_verdict_is_recorded_once_and_against_the_revision_it_was_reached_from(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    verdict = Verdict(status=STATUS_CONNECTED)
    binding, changed = await parts.bindings.transition(actor, made.id, 1, verdict)
    assert (changed, binding.revision, binding.proven) == (True, 2, True)
    assert await parts.bindings.transition(actor, made.id, 1, verdict) == (binding, False)
    with pytest.raises(Aborted):
        await parts.bindings.transition(actor, made.id, 1, Verdict(status=STATUS_DISCONNECTED))


async def test_two_verdicts_at_once_leave_one(parts: Any, actor: Actor, wanted: Wanted) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    verdicts = [Verdict(status=STATUS_CONNECTED), Verdict(status=STATUS_REJECTED)]
    answers = await asyncio.gather(
        *(parts.bindings.transition(actor, made.id, 1, verdict) for verdict in verdicts), return_exceptions=True
    )
    assert [type(answer) for answer in answers].count(Aborted) == 1
    assert (await parts.bindings.records.load(actor.tenant, made.id)).binding.revision == 2


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        (STATUS_PENDING, STATUS_REJECTED, True),
        (STATUS_PENDING, STATUS_DISCONNECTED, False),
        (STATUS_CONNECTED, STATUS_DISCONNECTED, True),
        (STATUS_CONNECTED, STATUS_REJECTED, False),
        (STATUS_CONNECTED, STATUS_PENDING, False),
        (STATUS_REJECTED, STATUS_CONNECTED, True),
        (STATUS_CONNECTED, STATUS_REVOKED, False),
    ],
)
async def test_rejected_is_for_keys_that_never_worked_and_disconnected_for_those_that_did(
    parts: Any, actor: Actor, wanted: Wanted, before: int, after: int, allowed: bool
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    first, _ = await parts.bindings.transition(actor, made.id, 1, Verdict(status=before))  # type: ignore[arg-type]
    verdict = Verdict(status=after, reason=REASON_INVALID_SECRET)  # type: ignore[arg-type]
    if allowed:
        assert (await parts.bindings.transition(actor, made.id, first.revision, verdict))[1]
        return
    with pytest.raises(InvalidArgument):
        await parts.bindings.transition(actor, made.id, first.revision, verdict)


async def test_a_revoked_binding_stays_as_a_tombstone_without_key_or_credential(
    parts: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    revoked = await parts.bindings.revoke(actor, made.id)
    assert (revoked.verdict.status, revoked.verdict.reason) == (STATUS_REVOKED, 0)
    assert await parts.bindings.revoke(actor, made.id) == revoked
    assert await parts.keys.sign(actor.tenant, made.id, KEY_TYPE_HMAC, [b"x"], 1) is None
    assert (actor.tenant, made.id) not in await parts.directory.keys()
    credential = await parts.documents.read(actor.tenant, "credentials", made.id)
    assert credential is not None
    assert credential.data is None
    with pytest.raises(BindingRevoked):
        await parts.bindings.transition(actor, made.id, revoked.revision, Verdict(status=STATUS_CONNECTED))


async def test_another_tenants_binding_is_not_found_as_a_random_one(
    parts: Any, actor: Actor, wanted: Wanted, server: Any
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    other = Actor(server.tenant(), "gateway")
    for name in (made.id, "f" * 32):
        with pytest.raises(NotFound):
            await parts.bindings.revoke(other, name)
        with pytest.raises(NotFound):
            await parts.bindings.records.load(other.tenant, name)
    assert (await parts.bindings.records.load(actor.tenant, made.id)).binding == made


@pytest.mark.bar(43)
async def test_a_revocation_leaves_no_readable_version_of_the_credential(
    parts: Any, server: Any, actor: Actor, wanted: Wanted
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted())
    document = await parts.documents.read(actor.tenant, "credentials", made.id)
    await parts.documents.write(actor.tenant, "credentials", made.id, document.data, document.version)
    await parts.bindings.revoke(actor, made.id)
    path = f"credentials/{actor.tenant}/{made.id}"
    versions = server.admin.secrets.kv.v2.read_secret_metadata(path, mount_point="strongroom")["data"]["versions"]
    assert {number: version["destroyed"] for number, version in versions.items()} == {"1": True, "2": True}
    for number in (1, 2):
        with pytest.raises(InvalidPath):
            server.admin.secrets.kv.v2.read_secret_version(
                path, version=number, mount_point="strongroom", raise_on_deleted_version=True
            )
