"""An operator's freeze stops the looks at a key and changes nothing that is known of it."""

from typing import Any

from common.errors import PolicyRefused
from strongroom.types.v1 import binding_pb2 as types


async def test_a_freeze_changes_no_status_and_makes_nothing_stale(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    record = bench.vault.records[binding.id]
    before, writes = types.Verdict.FromString(record.verdict.SerializeToString()), bench.vault.transitions
    seen = (await bench.status.read(binding.tenant_id, binding.id)).observation
    record.frozen = True
    signed = len(bench.vault.signed)
    outcome = await bench.verify(binding)
    assert not outcome.verified
    assert outcome.reply, "whoever waits is told at once"
    assert outcome.next_s is not None, "it is looked at again"
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert (record.verdict, bench.vault.transitions, len(bench.vault.signed)) == (before, writes, signed)
    assert (known.stale, known.binding.frozen) == (False, True)
    assert known.observation.balances == seen.balances
    assert known.observation.last_verified_at == seen.last_verified_at
    assert len(await bench.events()) == 1
    record.frozen = False
    assert (await bench.verify(binding)).verified
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert not known.binding.frozen
    assert len(await bench.events()) == 1


async def test_a_key_that_is_bound_under_a_freeze_of_its_own_stays_pending(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.vault.records[binding.id].frozen = True
    assert not (await bench.verify(binding)).verified
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert (known.pending, known.stale, known.observation) == (True, False, None)


async def test_any_other_refusal_of_the_signer_is_put_off_and_publishes_nothing(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.vault.down = PolicyRefused(rule="query_name")
    assert not (await bench.verify(binding)).verified
    assert (await bench.status.read(binding.tenant_id, binding.id)).revision == -1
