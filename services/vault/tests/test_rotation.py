"""Rotation on a real server: the old credential signs until the new one is proven, and never afterwards."""

import asyncio
import contextlib
import secrets
from typing import Any

import hvac
import pytest
from common.errors import (
    Aborted,
    AlreadyExists,
    BindingRevoked,
    IdempotencyMismatch,
    InvalidArgument,
    StrongroomError,
    Unavailable,
)
from hvac.exceptions import InvalidPath, InvalidRequest
from strongroom.types.v1.binding_pb2 import (
    ENVIRONMENT_LIVE,
    KEY_TYPE_RSA,
    ROTATION_STATE_FAILED,
    ROTATION_STATE_VERIFYING,
    STATUS_CONNECTED,
    STATUS_PENDING,
    STATUS_REJECTED,
    Finding,
    Verdict,
)
from strongroom.vault.v1.binding_store_pb2 import StageRequest
from vault.actor import Actor
from vault.asked import asked

from services.vault.tests.rotations import WORKS, Replace, Wanted, api_key_of, proven, rotated


async def test_a_staged_version_is_signed_with_for_its_verification_alone(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    old = wanted()
    binding = await proven(parts, actor, old)
    request = replace(binding.id)
    staged, attempt = await parts.rotations.stage(actor, request)
    assert (staged.rotation.state, staged.rotation.credential.version) == (ROTATION_STATE_VERIFYING, 2)
    assert (staged.credential, staged.verdict) == (binding.credential, binding.verdict)
    assert attempt.version == 2
    assert await api_key_of(parts, actor, binding.id) == (old.api_key.reveal(), 1)
    assert await api_key_of(parts, worker, binding.id, 2) == (request.credential.api_key, 2)
    for who, version in ((actor, 2), (worker, 3), (worker, 1)):
        with pytest.raises(Aborted) as refused:
            await api_key_of(parts, who, binding.id, version)
        assert refused.value.reason == "version_not_staged"


@pytest.mark.bar(43, 44)
async def test_a_promoted_version_is_alone_and_vault_itself_refuses_the_old_one(
    parts: Any, server: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    old = wanted()
    binding = await proven(parts, actor, old)
    request = replace(binding.id)
    done = await rotated(parts, actor, request)
    assert (done.credential.version, done.credential.api_key_hint[-4:]) == (2, request.credential.api_key[-4:])
    assert (done.HasField("rotation"), done.verdict, done.proven) == (False, WORKS, True)
    assert await api_key_of(parts, actor, binding.id) == (request.credential.api_key, 2)
    admin: hvac.Client = server.admin
    path = f"{actor.tenant}.{binding.id}"
    message = {"input": "aGVsbG8="}
    assert admin.write_data(f"transit/hmac/{path}/sha2-256", data={**message, "key_version": 2})
    with pytest.raises(InvalidRequest, match="too old"):
        admin.write_data(f"transit/hmac/{path}/sha2-256", data={**message, "key_version": 1})
    with pytest.raises(InvalidRequest):  # not even an administrator brings it back: its material is gone
        admin.write_data(f"transit/keys/{path}/config", data={"min_encryption_version": 1, "min_decryption_version": 1})
    document = f"strongroom/data/credentials/{actor.tenant}/{binding.id}"
    newest = admin.read(document)["data"]
    assert list(newest["data"]["versions"]) == ["2"]
    for number in range(1, newest["metadata"]["version"]):
        with pytest.raises(InvalidPath):
            admin.secrets.kv.v2.read_secret_version(
                f"credentials/{actor.tenant}/{binding.id}",
                version=number,
                mount_point="strongroom",
                raise_on_deleted_version=True,
            )
    record = await parts.bindings.records.load(actor.tenant, binding.id)
    assert (record.staged, record.left, [one.version for one in record.past]) == (None, None, [2])


async def test_a_replaced_key_may_be_bound_again_and_the_new_one_may_not(
    parts: Any, actor: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted(api_key="bg_the_old_one"))
    other, _ = await parts.bindings.bind(actor, wanted(api_key="bg_of_another"))
    with pytest.raises(AlreadyExists) as refused:
        await parts.rotations.stage(actor, replace(binding.id, api_key="bg_of_another"))
    assert refused.value.extra == {"binding_id": other.id}
    staged, _ = await parts.rotations.stage(actor, replace(binding.id, api_key="bg_the_new_one"))
    for taken in ("bg_the_old_one", "bg_the_new_one"):
        with pytest.raises(AlreadyExists) as refused:
            await parts.bindings.bind(actor, wanted(api_key=taken))
        assert refused.value.extra == {"binding_id": binding.id}
    await parts.settlements.promote(actor, staged.id, staged.revision, 2, WORKS)
    with pytest.raises(AlreadyExists):
        await parts.bindings.bind(actor, wanted(api_key="bg_the_new_one"))
    assert (await parts.bindings.bind(actor, wanted(api_key="bg_the_old_one")))[1]


async def test_a_failed_rotation_leaves_the_old_key_untouched_and_says_why(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    old = wanted()
    binding = await proven(parts, actor, old)
    request = replace(binding.id, "turn")
    await parts.rotations.stage(actor, request)
    finding = Finding(code="account_mismatch", remedy="Use a key of the same account.")
    failed = await parts.settlements.abandon(worker, binding.id, 2, "account_mismatch", [finding])
    assert (failed.rotation.state, failed.rotation.reason) == (ROTATION_STATE_FAILED, "account_mismatch")
    assert list(failed.rotation.findings) == [finding]
    assert (failed.credential, failed.verdict, failed.proven) == (binding.credential, binding.verdict, True)
    assert await api_key_of(parts, actor, binding.id) == (old.api_key.reveal(), 1)
    with pytest.raises(Aborted):
        await api_key_of(parts, worker, binding.id, 2)
    with pytest.raises(Aborted):
        await parts.settlements.promote(worker, binding.id, failed.revision, 2, WORKS)
    document = await parts.documents.read(actor.tenant, "credentials", binding.id)
    assert list(document.data["versions"]) == ["1"]
    assert (await parts.bindings.bind(actor, wanted(api_key=request.credential.api_key)))[1]
    repeated, attempt = await parts.rotations.stage(actor, request)
    assert (repeated, attempt.version, attempt.reason) == (failed, 2, "account_mismatch")


async def test_the_rotation_after_a_failed_one_takes_the_next_number(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted())
    first = replace(binding.id)
    await parts.rotations.stage(actor, first)
    await parts.settlements.abandon(worker, binding.id, 2, "invalid_secret", [])
    again = replace(binding.id, api_key=first.credential.api_key, secret_key=first.credential.secret_key)
    done = await rotated(parts, actor, again)
    assert (done.credential.version, done.HasField("rotation")) == (3, False)
    assert await api_key_of(parts, actor, binding.id) == (first.credential.api_key, 3)


async def test_a_mistyped_secret_is_replaced_under_the_same_api_key(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    made, _ = await parts.bindings.bind(actor, wanted(api_key="bg_mistyped_once"))
    await parts.bindings.transition(worker, made.id, 1, Verdict(status=STATUS_REJECTED))
    done = await rotated(parts, actor, replace(made.id, api_key="bg_mistyped_once"))
    assert (done.credential.version, done.verdict.status) == (2, STATUS_CONNECTED)
    with pytest.raises(AlreadyExists):
        await parts.bindings.bind(actor, wanted(api_key="bg_mistyped_once"))


@pytest.mark.parametrize("verdict", [WORKS, Verdict(status=STATUS_CONNECTED), Verdict(status=STATUS_PENDING)])
async def test_a_version_of_another_account_or_one_that_does_not_work_is_never_promoted(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace, verdict: Verdict
) -> None:
    other = Verdict()
    other.CopyFrom(verdict)
    if verdict.account.uid:
        other.account.uid = "8"
    binding = await proven(parts, actor, wanted())
    staged, _ = await parts.rotations.stage(actor, replace(binding.id))
    with pytest.raises(InvalidArgument):
        await parts.settlements.promote(worker, binding.id, staged.revision, 2, other)
    with pytest.raises(Aborted):
        await parts.settlements.promote(worker, binding.id, staged.revision - 1, 2, WORKS)
    assert (await parts.bindings.records.load(actor.tenant, binding.id)).binding == staged


async def test_a_key_of_another_kind_is_refused_with_the_remedy_before_anything_is_written(
    parts: Any, actor: Actor, wanted: Wanted, replace: Replace, rsa_key: Any, pem: Any
) -> None:
    binding = await proven(parts, actor, wanted())
    rsa = await proven(parts, actor, wanted(key_type=KEY_TYPE_RSA, secret_key=pem(rsa_key(2048))))
    for held, other in (
        (binding, {"key_type": KEY_TYPE_RSA, "secret_key": pem(rsa_key(2048))}),
        (rsa, {"key_type": KEY_TYPE_RSA, "secret_key": pem(rsa_key(3072))}),
        (rsa, {}),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await parts.rotations.stage(actor, replace(held.id, **other))
        assert (refused.value.reason, refused.value.extra) == ("key_type_changed", {"field": "credential.key_type"})
        assert "new binding" in refused.value.detail
        assert (await parts.bindings.records.load(actor.tenant, held.id)).binding == held
    assert (await rotated(parts, actor, replace(rsa.id, key_type=KEY_TYPE_RSA, secret_key=pem(rsa_key(2048))))).proven


@pytest.mark.bar(32)
async def test_one_rotation_sent_fifty_times_at_once_stages_one_version(
    parts: Any, actor: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted())
    request = replace(binding.id, "once")

    async def stage() -> Any:
        """Stage, and again where Vault could not answer, as every client does."""
        while True:
            with contextlib.suppress(Unavailable):
                return await parts.rotations.stage(actor, request)
            await asyncio.sleep(0.1)

    answers = await asyncio.gather(*(stage() for _ in range(50)))
    assert len({attempt.version for _, attempt in answers}) == 1
    assert len({made.SerializeToString(deterministic=True) for made, _ in answers}) == 1
    other = replace(binding.id, "once", api_key=request.credential.api_key)
    with pytest.raises(IdempotencyMismatch):
        await parts.rotations.stage(actor, other)
    with pytest.raises(Aborted) as refused:
        await parts.rotations.stage(actor, replace(binding.id, "twice"))
    assert refused.value.reason == "rotation_in_progress"
    version, revision = answers[0][1].version, answers[0][0].revision
    done = await parts.settlements.promote(actor, binding.id, revision, version, WORKS)
    repeated, attempt = await parts.rotations.stage(actor, request)
    assert (repeated, attempt.version, attempt.reason) == (done, version, "")
    with pytest.raises(IdempotencyMismatch):
        await parts.rotations.stage(actor, other)


@pytest.mark.bar(33)
async def test_of_many_bindings_that_are_given_one_key_at_once_one_gets_it(
    parts: Any, actor: Actor, wanted: Wanted, replace: Replace
) -> None:
    bound = [await proven(parts, actor, wanted()) for _ in range(6)]
    asks = [replace(one.id, api_key="bg_everybody_wants_me") for one in bound for _ in range(10)]
    answers = await asyncio.gather(*(parts.rotations.stage(actor, ask) for ask in asks), return_exceptions=True)
    won = {answer[0].id for answer in answers if isinstance(answer, tuple)}
    assert len(won) == 1
    assert all(isinstance(answer, tuple | AlreadyExists | Aborted | Unavailable) for answer in answers)
    [taker] = won
    taken = {answer.extra["binding_id"] for answer in answers if isinstance(answer, AlreadyExists)}
    assert taken <= {taker}


async def test_a_revocation_ends_a_rotation_and_frees_both_keys(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace
) -> None:
    binding = await proven(parts, actor, wanted(api_key="bg_old_and_gone"))
    request = replace(binding.id, api_key="bg_new_and_gone")
    staged, _ = await parts.rotations.stage(actor, request)
    revoked = await parts.bindings.revoke(actor, binding.id)
    assert not revoked.HasField("rotation")
    for call in (
        parts.rotations.stage(actor, request),
        parts.settlements.promote(worker, binding.id, staged.revision, 2, WORKS),
        parts.settlements.abandon(worker, binding.id, 2, "invalid_secret", []),
        api_key_of(parts, worker, binding.id, 2),
    ):
        with pytest.raises(BindingRevoked):
            await call
    assert (await parts.documents.read(actor.tenant, "credentials", binding.id)).data is None
    for free in ("bg_old_and_gone", "bg_new_and_gone"):
        assert (await parts.bindings.bind(actor, wanted(api_key=free)))[1]


async def test_a_rotated_key_is_no_longer_told_to_be_bound_elsewhere(
    parts: Any, server: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace, request_of: Any
) -> None:
    api_key = f"bg_{secrets.token_hex(16)}"
    other = Actor(server.tenant(), "worker")
    mine = await proven(parts, actor, wanted(api_key=api_key))
    theirs, _ = await parts.bindings.bind(other, asked(other.tenant, request_of(api_key=api_key)))
    await parts.enrolments.enroll(worker, mine.id, "7", ENVIRONMENT_LIVE)
    assert (await parts.enrolments.enroll(other, theirs.id, "7", ENVIRONMENT_LIVE)).bound_elsewhere
    staged, _ = await parts.rotations.stage(actor, replace(mine.id))
    assert not (await parts.enrolments.enroll(worker, mine.id, "7", ENVIRONMENT_LIVE, 2)).bound_elsewhere
    await parts.settlements.promote(worker, mine.id, staged.revision, 2, WORKS)
    assert not (await parts.enrolments.enroll(other, theirs.id, "7", ENVIRONMENT_LIVE)).bound_elsewhere


async def test_a_sealed_secret_replaces_a_plain_one_and_serves_its_binding_only(
    parts: Any, actor: Actor, worker: Actor, wanted: Wanted, replace: Replace, sealed_request_of: Any
) -> None:
    binding, other = await proven(parts, actor, wanted()), await proven(parts, actor, wanted())
    credential = (await sealed_request_of()).credential
    request = StageRequest(binding_id=binding.id, idempotency_key="sealed", credential=credential)
    staged, attempt = await parts.rotations.stage(actor, request)
    assert (staged.rotation.credential.sealed, attempt.version) == (True, 2)
    for name, key in ((other.id, "other"), (binding.id, "again")):
        stolen = StageRequest(binding_id=name, idempotency_key=key, credential=credential)
        stolen.credential.api_key = f"bg_{secrets.token_hex(16)}"
        with pytest.raises(StrongroomError) as refused:
            await parts.rotations.stage(actor, stolen)
        assert refused.value.reason in ("wrapped_secret_used", "rotation_in_progress")
    failed = (await parts.bindings.records.load(actor.tenant, other.id)).binding
    assert (failed.rotation.state, failed.credential) == (ROTATION_STATE_FAILED, other.credential)
    assert (await rotated(parts, actor, replace(other.id))).credential.version == 2
    done = await parts.settlements.promote(worker, staged.id, staged.revision, 2, WORKS)
    assert (done.credential.sealed, done.credential.version) == (True, 2)
    assert await api_key_of(parts, actor, binding.id) == (credential.api_key, 2)
