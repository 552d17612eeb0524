"""Verdicts on the simulated exchange: each mistake has its own, each with a remedy, and none is guessed."""

from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT, Verdict

pytestmark = pytest.mark.usefixtures("no_limits")

SECRET = "f" * 64


def _codes(verdict: Verdict) -> list[str]:
    return [finding.code for finding in verdict.findings]


def _words(verdict: Verdict) -> tuple[str, str]:
    return (
        types.Status.Name(verdict.status).removeprefix("STATUS_").lower(),
        types.Reason.Name(verdict.reason).removeprefix("REASON_").lower(),
    )


def _available(verdict: Verdict) -> set[str]:
    return {strategy.id for strategy in verdict.strategies if strategy.available}


async def test_every_sample_key_gets_the_verdict_it_is_made_for(bench: Any) -> None:
    for account in list(bench.exchange.accounts.values()):
        verdict = await bench.verdict(account)
        assert _words(verdict)[0] == account.expect, account.name


async def test_a_wrong_secret_a_wrong_passphrase_and_an_unknown_key_are_told_apart(bench: Any) -> None:
    secret = await bench.verdict("unified-trader", secret_key=SECRET)
    passphrase = await bench.verdict("unified-trader", passphrase="Wrong0000")
    unknown = await bench.verdict("unified-trader", api_key="bg_" + "0" * 32)
    assert _words(secret) == ("rejected", "invalid_secret")
    assert _words(passphrase) == ("rejected", "invalid_passphrase")
    assert _words(unknown) == ("rejected", "invalid_api_key")
    remedies = {verdict.findings[0].remedy for verdict in (secret, passphrase, unknown)}
    assert len(remedies) == 3
    assert [verdict.findings[0].evidence.exchange_code for verdict in (secret, passphrase, unknown)] == [
        "40009",
        "40012",
        "40037",
    ]


async def test_a_wrong_secret_of_a_classic_key_is_found_behind_the_gate_of_the_mode(bench: Any) -> None:
    assert _words(await bench.verdict("classic-trader", secret_key=SECRET)) == ("rejected", "invalid_secret")


async def test_an_address_that_is_not_listed_is_named_with_those_to_add(bench: Any) -> None:
    verdict = await bench.verdict("unified-other-ip")
    assert _words(verdict) == ("rejected", "ip_not_whitelisted")
    assert "127.0.0.1" in verdict.findings[0].detail
    assert "203.0.113.10, 203.0.113.11" in verdict.findings[0].remedy


async def test_an_address_of_ours_that_is_not_published_is_ours_to_fix(bench: Any, logged: list[Any]) -> None:
    bench.change("unified-other-ip", seen_ip="192.0.2.77")
    verdict = await bench.verdict("unified-other-ip")
    assert _words(verdict) == ("rejected", "ip_not_whitelisted")
    assert verdict.findings[0].actor == types.ACTOR_OPERATOR
    assert "192.0.2.77" in verdict.findings[0].detail
    assert "203.0.113.10, 203.0.113.11" in verdict.findings[0].detail
    assert "egress_unpublished" in [entry["event"] for entry in logged]


async def test_what_was_pasted_explains_a_refusal(bench: Any) -> None:
    account = bench.exchange.named("unified-trader")
    swapped = bench.vault.bind(account, api_key=account.secret_key, secret_key=account.api_key)
    swapped.credential.clues.append("secret_like_api_key")
    await bench.settled(swapped)
    found = bench.vault.records[swapped.id].verdict.findings[0]
    assert (found.code, "swapped" in found.detail) == ("invalid_api_key", True)
    wrong = bench.vault.bind(account, secret_key=SECRET)
    wrong.credential.key_type = types.KEY_TYPE_RSA
    await bench.verify(wrong)
    assert "RSA private key does not fit" in bench.vault.records[wrong.id].verdict.findings[0].detail


async def test_a_missing_futures_right_limits_a_binding_that_asks_for_futures(bench: Any) -> None:
    verdict = await bench.verdict("classic-spot-only")
    assert _words(verdict) == ("limited", "permission_denied")
    missing = next(finding for finding in verdict.findings if finding.code == "missing_permission")
    assert "Futures orders (read-write) and Futures holdings (read-write)" in missing.remedy
    assert missing.evidence.exchange_code == "40014"
    assert _available(verdict) == {"spot_trading"}


async def test_the_same_key_is_connected_when_only_spot_is_asked_for(bench: Any) -> None:
    verdict = await bench.verdict("classic-spot-only", [SCOPE_SPOT])
    assert _words(verdict) == ("connected", "unspecified")
    assert [s.reasons[0] for s in verdict.strategies if not s.available] == ["The scope futures was not requested."] * 3


async def test_a_stopped_exchange_leaves_a_new_binding_pending_and_stale(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="reset")
    outcome = await bench.verify(binding)
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert not outcome.verified
    assert outcome.next_s is not None
    assert outcome.next_s <= 2
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_PENDING
    assert bench.vault.transitions == 0
    assert known.observation.stale
    assert known.observation.stale_finding.code == "exchange_unavailable"
    assert known.observation.stale_finding.actor == types.ACTOR_EXCHANGE
    assert "Nothing has to be done" in known.observation.stale_finding.remedy


async def test_a_demo_key_is_recognised_and_remembered(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-demo"))
    await bench.verify(binding)
    verdict = bench.vault.records[binding.id].verdict
    assert _words(verdict) == ("connected", "unspecified")
    assert verdict.environment == types.ENVIRONMENT_DEMO
    assert "environment_demo" in _codes(verdict)
    bench.exchange.log.clear()
    await bench.verify(binding)
    assert {seen.code for seen in bench.exchange.log} == {"00000"}


async def test_a_key_recorded_as_demo_that_is_live_is_found_in_the_other_environment(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    binding.verdict.environment = types.ENVIRONMENT_DEMO
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.environment == types.ENVIRONMENT_LIVE
    assert [seen.code for seen in bench.exchange.log][:2] == ["40099", "00000"]


async def test_a_key_that_fits_neither_environment_is_a_mismatch(bench: Any) -> None:
    bench.fault(kind="error", code="40099", status=400)
    assert _words(await bench.verdict("unified-trader")) == ("rejected", "environment_mismatch")


async def test_a_key_that_can_withdraw_is_limited_by_rule(bench: Any) -> None:
    for name in ("unified-withdraw", "classic-withdraw"):
        verdict = await bench.verdict(name)
        assert _words(verdict) == ("limited", "policy_violation")
        assert _codes(verdict)[0] == "withdraw_enabled"
        assert verdict.permissions.withdraw == types.ANSWER_YES
        assert "switch Withdraw off" in verdict.findings[0].remedy


async def test_a_key_that_can_withdraw_from_anywhere_is_told_so(bench: Any) -> None:
    bench.change("unified-withdraw", ips=[])
    assert "withdraw_without_ip_list" in _codes(await bench.verdict("unified-withdraw"))


async def test_a_read_only_key_is_limited_once_for_all_scopes(bench: Any) -> None:
    verdict = await bench.verdict("unified-read-only")
    assert _words(verdict) == ("limited", "permission_denied")
    assert _codes(verdict).count("read_only_key") == 1
    assert "missing_permission" not in _codes(verdict)
    assert _available(verdict) == set()


async def test_a_read_only_classic_key_is_told_like_a_unified_one(bench: Any) -> None:
    bench.change("classic-trader", authorities=["stor", "coor", "cpor"])
    verdict = await bench.verdict("classic-trader")
    assert _words(verdict) == ("limited", "permission_denied")
    assert "read_only_key" in _codes(verdict)


@pytest.mark.parametrize(
    ("ips", "perm_type", "parent_id"),
    [("text", "underscore", "text"), ("list", "hyphen", "number"), ("null", "hyphen", "null")],
)
async def test_both_spellings_of_a_reply_give_the_same_verdict(
    bench: Any, ips: str, perm_type: str, parent_id: str
) -> None:
    bench.change(
        "unified-trader",
        style={"ips": ips, "perm_type": perm_type, "parent_id": parent_id, "lists": "null", "success": "message"},
    )
    verdict = await bench.verdict("unified-trader")
    assert _words(verdict) == ("connected", "unspecified")
    assert verdict.account.uid == "5000000001"
    assert verdict.account.parent_uid == ""
    assert verdict.account.mode == types.ACCOUNT_MODE_UNIFIED


async def test_a_sub_account_names_its_parent(bench: Any) -> None:
    verdict = await bench.verdict("unified-sub")
    assert verdict.account.parent_uid == "5000000001"
    assert verdict.account.keys_limit == 10


async def test_a_futures_bot_needs_orders_and_holdings(bench: Any) -> None:
    bench.change("classic-trader", authorities=["stor", "stow", "coor", "coow", "cpor"])
    verdict = await bench.verdict("classic-trader")
    missing = [finding for finding in verdict.findings if finding.code == "missing_permission"]
    assert _words(verdict) == ("limited", "permission_denied")
    assert ["Futures holdings (read-write)" in finding.remedy for finding in missing] == [True]


async def test_a_classic_key_without_spot_proves_itself_by_its_futures_account(bench: Any) -> None:
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"])
    verdict = await bench.verdict("classic-trader", [SCOPE_FUTURES])
    assert _words(verdict) == ("connected", "unspecified")
    assert "unknown_permission" in _codes(verdict)
    assert verdict.permissions.withdraw == types.ANSWER_UNKNOWN
    both = await bench.verdict("classic-trader")
    assert _words(both) == ("limited", "permission_denied")
    assert _available(both) == {"usdt_futures", "usdc_futures", "coin_futures"}


async def test_a_key_that_may_not_read_its_permissions_shows_what_is_known_and_nothing_more(bench: Any) -> None:
    bench.change("classic-trader", authorities=["coor", "coow", "cpor", "cpow"], ips=["127.0.0.1"])
    verdict = await bench.verdict("classic-trader", [SCOPE_FUTURES])
    finding = next(finding for finding in verdict.findings if finding.code == "unknown_permission")
    assert (finding.evidence.endpoint, finding.evidence.exchange_code) == ("GET /api/v2/spot/account/info", "40014")
    assert verdict.permissions.read == types.ANSWER_YES  # the futures account was read
    assert not verdict.HasField("ip_whitelist")  # a list that was not told is not "no list"


async def test_a_unified_key_that_is_refused_everything_is_not_called_connected(bench: Any) -> None:
    bench.fault(kind="error", status=400, code="40014", msg="Incorrect permissions, need uta manage read permissions")
    verdict = await bench.verdict("unified-trader")
    assert _words(verdict) == ("limited", "permission_denied")
    assert _available(verdict) == set()
    assert verdict.permissions.withdraw == types.ANSWER_UNKNOWN


async def test_a_trade_only_unified_key_trades_without_showing_balances(bench: Any) -> None:
    bench.change("unified-trader", permissions=["uta_trade"])
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    verdict = bench.vault.records[binding.id].verdict
    known = await bench.status.read(binding.tenant_id, binding.id)
    finding = next(finding for finding in verdict.findings if finding.code == "missing_permission")
    assert _words(verdict) == ("connected", "unspecified")
    assert finding.severity == types.SEVERITY_WARNING
    assert not known.observation.HasField("balances")


async def test_an_unknown_token_is_shown_and_makes_withdrawal_unknown(bench: Any) -> None:
    bench.change("unified-trader", permissions=["uta_mgt", "uta_trade", "uta_p2p"])
    verdict = await bench.verdict("unified-trader")
    assert _words(verdict) == ("connected", "unspecified")
    assert list(verdict.permissions.unknown_tokens) == ["uta_p2p"]
    assert "unknown_permission" in _codes(verdict)


async def test_our_missing_addresses_are_named_unless_the_key_works_from_this_machine(bench: Any) -> None:
    here = await bench.verdict("unified-read-only")
    assert "egress_ip_missing" not in _codes(here)
    bench.change("unified-trader", ips=["203.0.113.10", "198.51.100.1"], seen_ip="203.0.113.10")
    verdict = await bench.verdict("unified-trader")
    finding = next(finding for finding in verdict.findings if finding.code == "egress_ip_missing")
    assert _words(verdict) == ("connected", "unspecified")
    assert "203.0.113.11" in finding.remedy
    assert "203.0.113.10" not in finding.remedy
    assert list(verdict.ip_whitelist.missing) == ["203.0.113.11"]


async def test_removed_spaces_are_reported_with_good_and_bad_keys(bench: Any) -> None:
    for changed in ({}, {"secret_key": SECRET}):
        binding = bench.vault.bind(bench.exchange.named("unified-trader"), **changed)
        binding.whitespace_removed.extend(["secret_key"])
        await bench.verify(binding)
        assert "whitespace_removed" in _codes(bench.vault.records[binding.id].verdict)


async def test_a_key_that_worked_and_is_deleted_is_disconnected(bench: Any) -> None:
    account = bench.exchange.named("unified-trader")
    binding = bench.vault.bind(account)
    await bench.verify(binding)
    bench.exchange.accounts.pop(account.api_key)
    await bench.settled(binding)
    verdict = bench.vault.records[binding.id].verdict
    assert _words(verdict) == ("disconnected", "key_deleted")
    assert _codes(verdict) == ["key_deleted"]
    assert verdict.account.uid == "5000000001"
    bench.exchange.accounts[account.api_key] = account
    await bench.verify(binding)
    assert _words(bench.vault.records[binding.id].verdict) == ("connected", "unspecified")


async def test_a_proven_key_loses_its_secret_only_when_a_repeat_agrees(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.vault.credentials[binding.id].secret_key = SECRET
    first = await bench.verify(binding)
    assert (first.verified, first.reply, first.next_s) == (False, False, 5)
    assert _words(bench.vault.records[binding.id].verdict)[0] == "connected"
    bench.clock.ahead = 5
    second = await bench.verify(binding)
    assert second.verified
    assert _words(bench.vault.records[binding.id].verdict) == ("disconnected", "invalid_secret")


@pytest.mark.parametrize(
    ("code", "reason"),
    [("40013", "account_restricted"), ("40035", "kyc_required"), ("40103", "region_blocked")],
)
async def test_the_state_of_the_account_is_told_apart_from_the_key(bench: Any, code: str, reason: str) -> None:
    bench.fault(kind="error", code=code, status=400, msg="account state")
    assert _words(await bench.verdict("unified-trader")) == ("rejected", reason)


async def test_balances_of_a_unified_account_are_summed_once(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    balances = (await bench.status.read(binding.tenant_id, binding.id)).observation.balances
    # 1250.5 + 750.25 USDT, 0.015 BTC at 65000, 1 ETH at 3200, 100 USDC.
    assert balances.total_usdt == "6275.75"
    assert {row.coin: row.total for row in balances.spot}["USDT"] == "2000.75"
    assert [(row.product, row.equity) for row in balances.futures] == [("UNIFIED", "6275.75")]


async def test_balances_of_a_classic_account_cover_the_requested_scopes(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("classic-trader"), [SCOPE_SPOT])
    await bench.verify(binding)
    balances = (await bench.status.read(binding.tenant_id, binding.id)).observation.balances
    assert balances.total_usdt == "1580"
    assert {row.coin: (row.available, row.locked, row.total) for row in balances.spot}["BTC"] == (
        "0.01",
        "0.002",
        "0.012",
    )
    assert not balances.futures


async def test_an_empty_coin_futures_answer_is_no_fault(bench: Any) -> None:
    bench.change("classic-trader", balances={"spot": {"USDT": "1"}, "futures": {"USDT": "1"}})
    verdict = await bench.verdict("classic-trader")
    assert _words(verdict)[0] == "connected"
    assert _available(verdict) == {"spot_trading", "usdt_futures", "usdc_futures"}


async def test_a_changed_address_list_changes_the_verdict_and_new_balances_do_not(bench: Any) -> None:
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    bench.change("unified-trader", balances={"spot": {"USDT": "7"}})
    await bench.verify(binding)
    assert bench.vault.transitions == 1
    bench.change("unified-trader", ips=["127.0.0.1"])
    await bench.verify(binding)
    assert bench.vault.transitions == 2
