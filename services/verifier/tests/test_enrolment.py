"""What is known beyond one key: the account's other keys, other holders of the key, the tenant's rules, its age."""

import asyncio
import time
from typing import Any

import pytest
from common.clock import timestamp
from common.decidable import DECIDABLE
from common.errors import Unavailable
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import (
    SEVERITY_ERROR,
    SEVERITY_INFO,
    SEVERITY_WARNING,
    Finding,
    TenantRules,
    Verdict,
)
from strongroom.vault.v1.binding_store_pb2 import EnrollResponse
from verifier import enrolment

pytestmark = pytest.mark.usefixtures("no_limits")

OTHER = "u" * 26


def _codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.findings]


def _severity(verdict: Verdict, code: str) -> int:
    return next(finding.severity for finding in verdict.findings if finding.code == code)


ASSETS = "/api/v3/account/assets"


async def _bound(bench: Any, name: str = "unified-trader", **fields: Any) -> Any:
    binding = bench.vault.bind(bench.exchange.named(name), **fields)
    await bench.verify(binding)
    return binding


def _verdict(bench: Any, binding: Any) -> Verdict:
    found: Verdict = bench.vault.records[binding.id].verdict
    return found


def _lost(bench: Any) -> None:
    async def enroll(*_: Any) -> EnrollResponse:
        raise Unavailable()

    bench.vault.enroll = enroll


async def test_two_keys_of_one_account_are_told_of_each_other(bench: Any) -> None:
    first = await _bound(bench)
    assert "account_bound_twice" not in _codes(_verdict(bench, first))
    second = bench.vault.bind(bench.exchange.named("unified-trader"))
    outcome = await bench.verify(second)
    assert outcome.also == (first.id,)
    assert first.id in next(f.detail for f in _verdict(bench, second).findings if f.code == "account_bound_twice")
    await bench.verify(first)
    assert second.id in next(f.detail for f in _verdict(bench, first).findings if f.code == "account_bound_twice")
    assert [_verdict(bench, one).account.keys_bound for one in (first, second)] == [2, 2]
    assert (await bench.verify(second)).also == ()


async def test_a_key_of_another_tenant_is_told_and_nothing_more(bench: Any) -> None:
    theirs = await _bound(bench, tenant=OTHER)
    ours = await _bound(bench)
    finding = next(f for f in _verdict(bench, ours).findings if f.code == "key_bound_elsewhere")
    assert "account_bound_twice" not in _codes(_verdict(bench, ours))
    assert theirs.id not in str(finding)
    assert OTHER not in str(finding)
    assert _verdict(bench, ours).account.keys_bound == 1


@pytest.mark.parametrize(("count", "told"), [(8, False), (9, True), (12, True)])
def test_an_account_with_nine_keys_is_near_its_limit(count: int, told: bool) -> None:
    found = enrolment.told(EnrollResponse(keys_bound=count)).found
    assert ("keys_near_limit" in [finding.code for finding in found]) is told


async def test_rules_make_a_finding_an_error_and_the_binding_limited(bench: Any) -> None:
    bench.vault.rules = TenantRules(errors=["ip_list_absent"])
    verdict = _verdict(bench, await _bound(bench))
    assert (verdict.status, verdict.reason) == (types.STATUS_LIMITED, types.REASON_POLICY_VIOLATION)
    assert verdict.findings[0].code == "ip_list_absent"


async def test_rules_may_tolerate_a_key_that_can_withdraw(bench: Any) -> None:
    bench.vault.rules = TenantRules()
    verdict = _verdict(bench, await _bound(bench, "unified-withdraw"))
    assert verdict.status == types.STATUS_CONNECTED
    assert _severity(verdict, "withdraw_enabled") == SEVERITY_WARNING


@pytest.mark.parametrize("code", sorted(DECIDABLE))
def test_every_code_that_rules_decide_follows_them(code: str) -> None:
    for mild in (SEVERITY_WARNING, SEVERITY_INFO, SEVERITY_ERROR):
        finding = Finding(code=code, severity=mild)
        strict = enrolment.told(EnrollResponse(rules=TenantRules(errors=[code]))).ruled([finding])
        lenient = enrolment.told(EnrollResponse(rules=TenantRules())).ruled([finding])
        assert strict[0].severity == SEVERITY_ERROR
        assert lenient[0].severity == (SEVERITY_WARNING if mild == SEVERITY_ERROR else mild)
        assert finding.severity == mild


def test_rules_decide_nothing_else() -> None:
    finding = Finding(code="missing_permission", severity=SEVERITY_ERROR)
    for rules in (TenantRules(), TenantRules(errors=["missing_permission"])):
        assert enrolment.told(EnrollResponse(rules=rules)).ruled([finding])[0].severity == SEVERITY_ERROR
    mild = Finding(code="missing_permission", severity=SEVERITY_WARNING)
    errors = TenantRules(errors=["missing_permission"])
    assert enrolment.told(EnrollResponse(rules=errors)).ruled([mild])[0].severity == SEVERITY_WARNING


async def test_a_vault_that_cannot_enroll_loses_no_verdict_and_changes_none(bench: Any) -> None:
    bench.vault.rules = TenantRules(errors=["ip_list_absent", "account_bound_twice"])
    await _bound(bench)
    await _bound(bench, tenant=OTHER)
    binding = await _bound(bench)
    before, writes = Verdict.FromString(_verdict(bench, binding).SerializeToString()), bench.vault.transitions
    assert {"account_bound_twice", "key_bound_elsewhere"} <= set(_codes(before))
    _lost(bench)
    outcome = await bench.verify(binding)
    assert outcome.verified
    assert outcome.next_s <= 2.4  # what could not be asked is asked again soon
    assert _verdict(bench, binding) == before
    assert bench.vault.transitions == writes


async def test_a_first_verdict_does_not_wait_for_the_enrolment(bench: Any) -> None:
    _lost(bench)
    binding = bench.vault.bind(bench.exchange.named("unified-withdraw"))
    outcome = await bench.verify(binding)
    assert (outcome.verified, outcome.attempt) == (True, 1)
    assert _verdict(bench, binding).status == types.STATUS_LIMITED  # by the usual rules


async def test_an_account_is_enrolled_while_its_balances_are_read(bench: Any) -> None:
    enroll = bench.vault.enroll

    async def once_balances_are_asked_for(*about: Any) -> EnrollResponse:
        async with asyncio.timeout(10):
            while ASSETS not in bench.vault.signed:
                await asyncio.sleep(0.01)
        answer: EnrollResponse = await enroll(*about)
        return answer

    bench.vault.enroll = once_balances_are_asked_for
    binding = await _bound(bench)
    assert _verdict(bench, binding).account.keys_bound == 1


async def test_an_enrolment_outdates_other_verdicts_although_this_one_could_not_be_reached(bench: Any) -> None:
    other = await _bound(bench)
    bench.fault(kind="error", code="40012", status=400, path=ASSETS)
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    outcome = await bench.verify(binding)
    assert outcome.also == (other.id,)


async def test_only_a_proven_account_is_enrolled(bench: Any) -> None:
    refused = bench.vault.bind(bench.exchange.named("unified-trader"), secret_key="f" * 64)
    await bench.verify(refused)
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"])
    untold = bench.vault.bind(bench.exchange.named("classic-trader"), [types.SCOPE_FUTURES])
    await bench.verify(untold)
    assert _verdict(bench, untold).status == types.STATUS_CONNECTED
    assert bench.vault.enrolled == {}


async def test_the_rules_hold_for_a_key_that_may_not_tell_its_account(bench: Any) -> None:
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"])
    bench.vault.rules = TenantRules(errors=["unknown_permission"])
    binding = bench.vault.bind(bench.exchange.named("classic-trader"), [types.SCOPE_FUTURES])
    outcome = await bench.verify(binding)
    verdict = _verdict(bench, binding)
    assert (verdict.status, verdict.reason) == (types.STATUS_LIMITED, types.REASON_POLICY_VIOLATION)
    assert (verdict.account.uid, verdict.account.keys_bound, outcome.also) == ("", 0, ())
    assert bench.vault.enrolled == {}


async def test_a_key_that_changes_its_account_is_disconnected_and_not_enrolled_there(bench: Any) -> None:
    binding = await _bound(bench)
    bench.change("unified-trader", uid="6000000001", permissions=["uta_mgt", "uta_trade", "withdraw"])
    for _ in range(2):
        await bench.verify(binding)
        verdict = _verdict(bench, binding)
        assert (verdict.status, verdict.reason) == (types.STATUS_DISCONNECTED, types.REASON_ACCOUNT_MISMATCH)
        assert _codes(verdict) == ["account_mismatch"]
        assert verdict.account.uid == "5000000001"
        assert verdict.permissions.withdraw != types.ANSWER_YES
        assert not [one.id for one in verdict.strategies if one.available]
        assert not (await bench.status.read(binding.tenant_id, binding.id)).observation.HasField("balances")
    assert bench.vault.enrolled[binding.id][0] == "5000000001"
    assert bench.vault.transitions == 2
    bench.change("unified-trader", uid="5000000001", permissions=["uta_mgt", "uta_trade"])
    await bench.verify(binding)
    assert _verdict(bench, binding).status == types.STATUS_CONNECTED


async def test_a_uid_that_was_known_stays_known_while_the_key_may_not_tell_it(bench: Any) -> None:
    binding = await _bound(bench, "classic-trader", scopes=[types.SCOPE_FUTURES])
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"])
    bench.exchange.limits.enforced = False
    await bench.verify(binding)
    assert _verdict(bench, binding).account.uid == "5000000002"


async def test_a_key_is_to_be_replaced_from_its_day_on(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    binding.credential.rotate_by.CopyFrom(timestamp(time.time() + 100))
    outcome = await bench.verify(binding)
    assert "rotation_due" not in _codes(_verdict(bench, binding))
    assert outcome.next_s <= 101
    bench.clock.ahead = 101
    await bench.verify(binding)
    assert _severity(_verdict(bench, binding), "rotation_due") == SEVERITY_WARNING
    writes = bench.vault.transitions
    bench.clock.ahead = 40 * 86_400
    await bench.verify(binding)
    assert bench.vault.transitions == writes  # the day it was due does not change
