"""A replacement is looked at like a fresh key, beside the one in use, and promoted only if it may take its place."""

import secrets
from typing import Any

import pytest
from simulator import config
from strongroom.types.v1 import binding_pb2 as types
from verifier import changes
from verifier.jobs import Job
from verifier.reconcile import Reconciler
from verifier.schedule import LOOKS_S

SECRET = "0123456789abcdef" * 4
PROVEN = "5000000001"


def second_key(bench: Any, name: str = "unified-trader", **fields: Any) -> Any:
    """Make another key of a simulated account."""
    fresh = {"name": f"second-{secrets.token_hex(4)}", "api_key": f"bg_{secrets.token_hex(16)}"}
    fresh["secret_key"] = secrets.token_hex(32)
    made = config.account({**config.document(bench.exchange.named(name)), **fresh, **fields})
    bench.exchange.accounts[made.api_key] = made
    return made


async def proven(bench: Any, name: str = "unified-trader") -> Any:
    """Bind a key that works and verify it."""
    binding = bench.vault.bind(bench.exchange.named(name))
    await bench.settled(binding)
    return binding


async def told(bench: Any) -> list[dict[str, list[str]]]:
    """Return the changes that events told, by field, the first event left out."""
    return [{one.field: [*one.before, "→", *one.after] for one in event.changes} for event in await bench.events()][1:]


async def test_a_second_key_of_the_account_takes_the_first_ones_place_by_one_event(bench: Any) -> None:
    binding = await proven(bench)
    bench.vault.stage(binding.id, second_key(bench))
    before = len(await bench.events())
    outcome = await bench.verify(binding)
    record = bench.vault.records[binding.id]
    assert (outcome.verified, outcome.reply) == (True, True)
    assert (record.credential.version, record.HasField("rotation")) == (2, False)
    assert (record.verdict.status, record.verdict.account.uid) == (types.STATUS_CONNECTED, PROVEN)
    assert len(await bench.events()) == before + 1
    assert (await told(bench))[-1]["credential.version"] == ["1", "→", "2"]
    assert (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED


async def test_a_key_of_another_account_is_given_up_and_the_old_one_stays_as_it_was(bench: Any) -> None:
    binding = await proven(bench)
    verdict = types.Verdict.FromString(bench.vault.records[binding.id].verdict.SerializeToString())
    balances = (await bench.status.read(binding.tenant_id, binding.id)).observation.balances
    other = next(one for one in bench.exchange.accounts.values() if one.name == "unified-sub")
    bench.vault.stage(binding.id, second_key(bench, other.name))
    outcome = await bench.verify(binding)
    record = bench.vault.records[binding.id]
    assert (outcome.verified, outcome.reply) == (True, True)
    assert (record.rotation.state, record.rotation.reason) == (types.ROTATION_STATE_FAILED, "account_mismatch")
    assert [finding.code for finding in record.rotation.findings] == ["account_mismatch"]
    assert record.rotation.findings[0].remedy
    assert (record.credential.version, record.verdict) == (1, verdict)
    seen = (await bench.status.read(binding.tenant_id, binding.id)).observation
    assert (seen.balances, seen.stale) == (balances, False)
    assert (await told(bench))[-1] == {
        "rotation.reason": ["→", "account_mismatch"],
        "rotation.state": ["→", "failed"],
        "rotation.version": ["→", "2"],
    }
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict == verdict


@pytest.mark.parametrize(
    ("changed", "reason"), [({"secret_key": SECRET}, "invalid_secret"), ({"passphrase": "other"}, "invalid_passphrase")]
)
async def test_a_key_that_does_not_work_is_given_up_with_the_remedy(
    bench: Any, changed: dict[str, str], reason: str
) -> None:
    binding = await proven(bench)
    bench.vault.stage(binding.id, second_key(bench), **changed)
    await bench.settled(binding)
    record = bench.vault.records[binding.id]
    assert (record.rotation.state, record.rotation.reason) == (types.ROTATION_STATE_FAILED, reason)
    assert all(finding.remedy for finding in record.rotation.findings)
    assert (record.credential.version, record.verdict.status) == (1, types.STATUS_CONNECTED)


async def test_a_key_just_made_is_looked_at_as_long_as_a_fresh_one_before_it_is_given_up(bench: Any) -> None:
    binding = await proven(bench)
    verdict, looks = bench.vault.records[binding.id].verdict.SerializeToString(), []
    bench.vault.stage(binding.id, second_key(bench), api_key="bg_" + "0" * 32)
    while not (outcome := await bench.verify(binding)).reply:
        seen = (await bench.status.read(binding.tenant_id, binding.id)).observation
        assert [note.code for note in seen.rotation.notes] == ["invalid_api_key"]
        assert (seen.notes, seen.stale, bool(seen.balances.spot)) == ([], False, True)
        bench.clock.ahead += outcome.next_s
        looks.append(bench.clock.unix() - seen.rotation.refused.since.ToMilliseconds() / 1000)
    assert looks == pytest.approx(LOOKS_S, abs=0.9)
    record = bench.vault.records[binding.id]
    assert (record.rotation.state, record.rotation.reason) == (types.ROTATION_STATE_FAILED, "invalid_api_key")
    assert record.verdict.SerializeToString() == verdict


async def test_a_key_that_becomes_known_while_it_is_looked_at_is_promoted(bench: Any) -> None:
    binding, late = await proven(bench), second_key(bench)
    bench.exchange.accounts.pop(late.api_key)
    bench.vault.stage(binding.id, late)
    outcome = await bench.verify(binding)
    assert not outcome.reply
    bench.exchange.accounts[late.api_key] = late
    bench.clock.ahead += outcome.next_s
    assert (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].credential.version == 2


async def test_while_the_exchange_is_silent_nothing_is_decided_until_a_day_has_passed(bench: Any) -> None:
    binding = await proven(bench)
    bench.vault.stage(binding.id, second_key(bench))
    bench.fault(kind="html", status=502)
    for attempt in range(2):
        outcome = await bench.verify(binding, attempt)
        assert (outcome.verified, outcome.reply, outcome.attempt) == (False, True, attempt + 1)
        seen = (await bench.status.read(binding.tenant_id, binding.id)).observation
        assert (seen.stale, seen.rotation.stale) == (False, True)
        assert bench.vault.records[binding.id].rotation.state == types.ROTATION_STATE_VERIFYING
    bench.clock.ahead += 86_400
    await bench.verify(binding)
    record = bench.vault.records[binding.id]
    assert (record.rotation.state, record.rotation.reason) == (types.ROTATION_STATE_FAILED, "exchange_unavailable")
    assert record.verdict.status == types.STATUS_CONNECTED


async def test_a_connected_key_is_not_replaced_by_one_that_would_be_limited(bench: Any) -> None:
    binding = await proven(bench)
    rights = config.document(bench.exchange.named("unified-withdraw"))["permissions"]
    bench.vault.stage(binding.id, second_key(bench, permissions=rights))
    await bench.verify(binding)
    record = bench.vault.records[binding.id]
    assert (record.rotation.state, record.rotation.reason) == (types.ROTATION_STATE_FAILED, "policy_violation")
    assert "withdraw_enabled" in [finding.code for finding in record.rotation.findings]
    record.verdict.status = types.STATUS_LIMITED
    bench.vault.stage(binding.id, second_key(bench, permissions=rights))
    await bench.verify(binding)
    assert record.credential.version == 2


async def test_a_binding_that_never_worked_takes_a_key_of_any_account(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"), secret_key=SECRET)
    await bench.settled(binding)
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_REJECTED
    other = next(one for one in bench.exchange.accounts.values() if one.name == "unified-sub")
    bench.vault.stage(binding.id, second_key(bench, other.name))
    await bench.verify(binding)
    record = bench.vault.records[binding.id]
    assert (record.credential.version, record.verdict.account.uid, record.proven) == (2, other.uid, True)


async def test_a_promotion_that_was_cut_short_is_finished_by_the_next_look(bench: Any) -> None:
    binding = await proven(bench)
    record = bench.vault.records[binding.id]
    record.rotation.state = types.ROTATION_STATE_FENCING
    record.revision += 1
    assert (await bench.verify(binding)).verified
    assert not record.HasField("rotation")


async def test_changes_of_label_subject_and_scopes_are_told(bench: Any) -> None:
    binding = await proven(bench)
    record = bench.vault.records[binding.id]
    record.label, record.subject = "New", "customer-2"
    record.ClearField("scopes")
    record.scopes.append(types.SCOPE_SPOT)
    record.revision += 1
    await bench.status.recorded(await bench.vault.describe(binding.tenant_id, binding.id))
    found = (await told(bench))[-1]
    assert found["label"] == ["→", "New"]
    assert found["subject"] == ["→", "customer-2"]
    assert found["scopes"] == ["futures", "spot", "→", "spot"]
    assert changes.facts(record, None)["scopes"] == ("spot",)


async def test_a_replacement_that_nobody_submitted_is_brought_forward_by_a_rebuild(bench: Any) -> None:
    binding = await proven(bench)
    outcome = await bench.verify(binding)
    await bench.queue.plan([(_job(binding), bench.clock.unix() + outcome.next_s)])
    bench.vault.stage(binding.id, second_key(bench))
    await Reconciler(
        redis=bench.redis,
        vault=bench.vault,
        status=bench.status,
        queue=bench.queue,
        schedule=bench.schedule,
        interval_s=86_400,
        calls_per_minute=6000,
        clock=bench.clock,
    ).run()
    [(_, due_ms)] = await bench.redis.zrange("sr:{jobs}:plan", 0, -1, withscores=True)
    assert due_ms / 1000 < bench.clock.unix() + 60


def _job(binding: Any) -> Any:

    return Job(binding.tenant_id, binding.id, "schedule")
