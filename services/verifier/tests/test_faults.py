"""Everything an exchange can do wrong: it never rejects a key, and the good status stays."""

from typing import Any

import pytest
from common.errors import Unavailable
from strongroom.types.v1 import binding_pb2 as types

pytestmark = pytest.mark.usefixtures("no_limits")

FAULTS: list[dict[str, Any]] = [
    {"kind": "html"},
    {"kind": "html", "status": 403},
    {"kind": "error", "status": 500},
    {"kind": "error", "status": 503, "code": "49999"},
    {"kind": "error", "status": 200, "code": "45001"},
    {"kind": "cut_json"},
    {"kind": "empty"},
    {"kind": "reset"},
    {"kind": "storm"},
    {"kind": "error", "status": 400, "code": "40017"},
    {"kind": "error", "status": 400, "code": "40010"},
    {"kind": "error", "status": 400, "code": "49999"},
    {"kind": "error", "status": 400, "code": "40085", "path": "/api/v3/account/info"},
    {"kind": "error", "status": 400, "code": "40008"},
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault['kind']}-{fault.get('code', '')}")
async def test_a_fault_of_the_exchange_leaves_every_status_as_it_was(bench: Any, fault: dict[str, Any]) -> None:
    proven, fresh = (bench.vault.bind(bench.exchange.named("unified-trader")) for _ in range(2))
    await bench.verify(proven)
    before = (await bench.status.read(proven.tenant_id, proven.id)).observation
    bench.fault(**fault)
    for binding, status in ((proven, types.STATUS_CONNECTED), (fresh, types.STATUS_PENDING)):
        outcome = await bench.verify(binding)
        known = await bench.status.read(binding.tenant_id, binding.id)
        assert not outcome.verified
        assert outcome.attempt == 1
        assert bench.vault.records[binding.id].verdict.status == status
        assert known.observation.stale
        assert known.observation.stale_finding.code in {"exchange_unavailable", "clock_skew", "unknown_exchange_code"}
        assert known.observation.stale_finding.remedy
    after = (await bench.status.read(proven.tenant_id, proven.id)).observation
    assert after.balances == before.balances
    assert after.last_verified_at == before.last_verified_at
    bench.exchange.faults.replace(())
    for binding in (proven, fresh):
        assert (await bench.verify(binding, attempt=1)).verified
        assert not (await bench.status.read(binding.tenant_id, binding.id)).observation.stale


async def test_two_short_faults_are_ridden_out_in_one_run(bench: Any) -> None:
    bench.fault(kind="html", times=2)
    verdict = await bench.verdict("unified-trader")
    assert verdict.status == types.STATUS_CONNECTED


async def test_a_slow_exchange_is_given_up_after_its_time(bench: Any) -> None:
    bench.fault(kind="latency", seconds=30)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    outcome = await bench.verify(binding)
    assert not outcome.verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING


async def test_an_unknown_code_is_shown_as_it_is(bench: Any) -> None:
    bench.fault(kind="error", status=400, code="49999", msg="something new")
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    finding = (await bench.status.read(binding.tenant_id, binding.id)).observation.stale_finding
    assert finding.code == "unknown_exchange_code"
    assert finding.severity == types.SEVERITY_ERROR
    assert (finding.evidence.exchange_code, finding.evidence.exchange_message) == ("49999", "something new")


async def test_an_exchange_that_echoes_credentials_is_not_quoted(bench: Any) -> None:
    account = bench.exchange.named("unified-trader")
    bench.fault(kind="echo", code="40009")
    binding = bench.vault.bind(account)
    await bench.verify(binding)
    record = bench.vault.records[binding.id]
    kept = [record.SerializeToString()]
    async for key in bench.redis.scan_iter():
        kept.append(await bench.redis.dump(key))
    assert record.verdict.reason == types.REASON_INVALID_SECRET
    assert record.verdict.findings[0].evidence.exchange_message == ""
    for secret in (account.api_key, account.passphrase, account.secret_key):
        assert not any(secret.encode() in blob for blob in kept)


@pytest.mark.parametrize("path", ["/api/v3/account/assets", "/api/v3/account/settings"])
async def test_a_fault_of_one_call_beside_leaves_the_verdict_whole(bench: Any, path: str) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    before = await bench.status.read(binding.tenant_id, binding.id)
    bench.fault(kind="cut_json", path=path)
    outcome = await bench.verify(binding)
    after = await bench.status.read(binding.tenant_id, binding.id)
    assert outcome.verified
    assert bench.vault.transitions == 1
    assert after.observation.balances.total_usdt == before.observation.balances.total_usdt


async def test_a_total_that_cannot_be_told_is_unknown_and_asked_for_again_soon(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("classic-trader"))
    bench.fault(kind="error", code="429", status=429, path="/api/v2/account/all-account-balance")
    outcome = await bench.verify(binding)
    balances = (await bench.status.read(binding.tenant_id, binding.id)).observation.balances
    assert {row.coin for row in balances.spot} > {"USDT"}
    assert balances.total_usdt == ""
    assert outcome.verified
    assert outcome.next_s is not None
    assert outcome.next_s <= 2


async def test_a_read_that_was_proven_stays_proven_through_a_hiccup(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"])
    binding = bench.vault.bind(bench.exchange.named("classic-trader"), [types.SCOPE_FUTURES])
    await bench.verify(binding)
    bench.fault(kind="html", path="/api/v2/mix/account/accounts")
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.permissions.read == types.ANSWER_YES
    assert bench.vault.transitions == 1


@pytest.mark.parametrize("path", ["/api/v2/spot/account/assets", "/api/v2/mix/account/accounts"])
async def test_a_fault_of_one_classic_call_changes_no_state(bench: Any, path: str) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("classic-trader"))
    await bench.verify(binding)
    bench.fault(kind="html", path=path)
    outcome = await bench.verify(binding)
    assert outcome.verified
    assert outcome.next_s is not None
    assert outcome.next_s <= 2
    assert bench.vault.transitions == 1
    assert len(await bench.events()) == 1


@pytest.mark.parametrize("mode", ["upgrading", "switching"])
async def test_an_account_that_changes_its_mode_is_asked_again_later(bench: Any, mode: str) -> None:
    bench.change("unified-trader", mode=mode)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    assert not (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING
    bench.change("unified-trader", mode="hybrid")
    assert (await bench.verify(binding)).verified


async def test_a_changed_mode_is_found_again_at_the_next_verification(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("classic-trader"))
    await bench.verify(binding)
    bench.change("classic-trader", mode="unified", permissions=["uta_mgt", "uta_trade"])
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.account.mode == types.ACCOUNT_MODE_UNIFIED


async def test_a_vault_that_cannot_answer_changes_nothing_and_is_tried_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.vault.down = Unavailable()
    outcome = await bench.verify(binding)
    assert (outcome.verified, outcome.attempt) == (False, 1)
    assert outcome.next_s is not None
    assert (await bench.status.read(binding.tenant_id, binding.id)).revision == -1


async def test_a_record_that_changes_meanwhile_is_judged_again(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))

    def relabel() -> None:
        bench.vault.before_transition = None
        bench.vault.records[binding.id].label = "renamed"
        bench.vault.records[binding.id].revision += 1

    bench.vault.before_transition = relabel
    assert (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].label == "renamed"
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED


async def test_a_binding_revoked_during_its_verification_stays_revoked(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))

    def revoke() -> None:
        bench.vault.before_transition = None
        bench.vault.revoke(binding.id)

    bench.vault.before_transition = revoke
    outcome = await bench.verify(binding)
    assert (outcome.verified, outcome.next_s) == (False, None)
    assert [event.status for event in await bench.events()] == [types.STATUS_REVOKED]
