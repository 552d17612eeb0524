"""Asked twice, told the same: no verdict changes by the order of an answer, by a hiccup, or by asking again."""

from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import Verdict

pytestmark = pytest.mark.usefixtures("no_limits")

ASSETS, SETTINGS = "/api/v3/account/assets", "/api/v3/account/settings"
SPOT, FUTURES = "/api/v2/spot/account/assets", "/api/v2/mix/account/accounts"
OVERVIEW = "/api/v2/account/all-account-balance"
# One that is repeated quickly, one that is not; that all kinds of faults end alike is shown in test_faults.
HICCUPS: list[dict[str, Any]] = [{"kind": "html"}, {"kind": "error", "status": 400, "code": "49999"}]
# A key, what is changed of it, the read that fails.
CASES: list[tuple[str, dict[str, Any], str]] = [
    ("unified-trader", {}, ASSETS),
    ("unified-trader", {}, SETTINGS),
    ("unified-trader", {"permissions": ["uta_trade"]}, ASSETS),
    ("unified-trader", {"permissions": ["uta_trade"]}, SETTINGS),
    ("unified-demo", {}, ASSETS),
    ("unified-trader", {"balances": {}}, ASSETS),
    ("classic-trader", {}, SPOT),
    ("classic-trader", {}, FUTURES),
    ("classic-trader", {}, OVERVIEW),
    ("classic-spot-only", {}, FUTURES),
    ("classic-spot-only", {}, SPOT),
    ("classic-trader", {"authorities": ["coor", "coow", "cpor", "cpow"]}, FUTURES),
    ("classic-trader", {"authorities": ["stor", "stow", "coor", "cpor"]}, FUTURES),
    ("classic-trader", {"balances": {"spot": {"USDT": "1"}}}, FUTURES),
]


async def _recorded(bench: Any, binding: Any) -> Verdict:
    return Verdict.FromString(bench.vault.records[binding.id].verdict.SerializeToString())


@pytest.mark.parametrize("hiccup", HICCUPS, ids=lambda hiccup: f"{hiccup['kind']}-{hiccup.get('code', '')}")
@pytest.mark.parametrize(("name", "fields", "path"), CASES)
async def test_no_hiccup_of_a_read_that_can_be_missed_changes_a_verdict(
    bench: Any, name: str, fields: dict[str, Any], path: str, hiccup: dict[str, Any]
) -> None:
    bench.exchange.limits.enforced = False
    bench.change(name, **fields)
    binding = bench.vault.bind(bench.exchange.named(name))
    await bench.verify(binding)
    before = await _recorded(bench, binding)
    bench.fault(path=path, **hiccup)
    assert (await bench.verify(binding)).verified
    assert await _recorded(bench, binding) == before
    bench.exchange.faults.replace(())
    assert (await bench.verify(binding)).verified
    assert await _recorded(bench, binding) == before
    assert bench.vault.transitions == 1
    assert len(await bench.events()) == 1


async def test_every_sample_asked_twice_is_told_the_same(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    for account in list(bench.exchange.accounts.values()):
        binding = bench.vault.bind(account)
        await bench.settled(binding)
        writes, before = bench.vault.transitions, await _recorded(bench, binding)
        # Samples share nothing, so nobody's siblings change between the two.
        await bench.settled(binding)
        assert await _recorded(bench, binding) == before, account.name
        assert bench.vault.transitions == writes


async def test_the_order_of_tokens_and_addresses_is_no_change(bench: Any) -> None:
    bench.change("classic-trader", ips=["127.0.0.1", "203.0.113.10", "203.0.113.11"])
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("classic-trader"))
    await bench.verify(binding)
    bench.change(
        "classic-trader",
        authorities=["cpow", "cpor", "coow", "coor", "stow", "stor"],
        ips=["203.0.113.11", "203.0.113.10", "127.0.0.1"],
    )
    await bench.verify(binding)
    assert bench.vault.transitions == 1


async def test_a_permission_that_was_given_meanwhile_is_seen_although_one_product_hiccups(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("classic-spot-only"))
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_LIMITED
    bench.change("classic-spot-only", authorities=["stor", "stow", "coor", "coow", "cpor", "cpow"])
    bench.fault(kind="html", path=FUTURES, times=1)
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED


async def test_a_mode_that_is_just_changing_is_no_verdict_and_the_binding_follows_it(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    await bench.verify(binding)
    before = await _recorded(bench, binding)
    bench.change("unified-trader", mode="classic", authorities=["stor", "stow", "coor", "coow", "cpor", "cpow"])
    bench.fault(kind="error", status=400, code="40085", path="/api/v2/spot/account/info")
    outcome = await bench.verify(binding)
    known = await bench.status.read(binding.tenant_id, binding.id)
    assert (outcome.verified, known.observation.stale) == (False, True)
    assert "changing" in known.observation.stale_finding.detail
    assert await _recorded(bench, binding) == before
    bench.exchange.faults.replace(())
    assert (await bench.verify(binding)).verified
    after = bench.vault.records[binding.id]
    assert (after.verdict.status, after.verdict.account.mode) == (types.STATUS_CONNECTED, types.ACCOUNT_MODE_CLASSIC)
    assert after.verdict.account.uid == before.account.uid


async def test_coin_futures_that_cannot_be_told_are_not_promised_and_once_known_not_forgotten(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    bench.fault(kind="html", path=FUTURES)
    binding = bench.vault.bind(bench.exchange.named("classic-trader"))
    outcome = await bench.verify(binding)
    coin = bench.vault.records[binding.id].verdict.strategies[-1]
    assert (coin.id, coin.available) == ("coin_futures", False)
    assert outcome.next_s <= 2.4
    bench.exchange.faults.replace(())
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.strategies[-1].available
    bench.fault(kind="html", path=FUTURES)
    await bench.verify(binding)
    assert bench.vault.records[binding.id].verdict.strategies[-1].available


@pytest.mark.parametrize(
    ("name", "path", "code"), [("unified-trader", ASSETS, "40084"), ("classic-trader", SPOT, "40085")]
)
async def test_a_mode_that_changes_between_two_calls_is_asked_anew_at_once(
    bench: Any, name: str, path: str, code: str
) -> None:
    bench.exchange.limits.enforced = False
    bench.fault(kind="error", status=400, code=code, path=path, times=1)
    binding = bench.vault.bind(bench.exchange.named(name))
    assert (await bench.verify(binding)).verified
    assert bench.vault.records[binding.id].verdict.status == types.STATUS_CONNECTED
    bench.fault(kind="error", status=400, code=code, path=path)
    assert not (await bench.verify(binding)).verified
    assert (await bench.status.read(binding.tenant_id, binding.id)).observation.stale
    assert bench.vault.transitions == 1


@pytest.mark.parametrize(
    ("code", "first", "then"),
    [
        ("40018", "Invalid IP: 203.0.113.10", "Invalid IP: 203.0.113.11 is not allowed"),
        ("40018", "Invalid IP: 203.0.113.10", ""),
        ("40009", "sign signature error", "Signature error"),
        ("40012", "apikey/password is incorrect", "apikey/passphrase is incorrect"),
        ("40199", "lead trader", "no rights for a lead trader"),
    ],
)
async def test_a_refusal_in_other_words_is_the_same_refusal(bench: Any, code: str, first: str, then: str) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    bench.fault(kind="error", status=400, code=code, msg=first)
    await bench.verify(binding)
    before = await _recorded(bench, binding)
    for words in (then, first, then):
        bench.fault(kind="error", status=400, code=code, msg=words)
        assert (await bench.verify(binding)).verified
    assert (bench.vault.transitions, await _recorded(bench, binding)) == (1, before)
    assert len(await bench.events()) == 1
    bench.egress = ("203.0.113.10", "203.0.113.77")  # our own words follow what we publish
    await bench.verify(binding)
    assert bench.vault.transitions == (2 if code == "40018" else 1)


async def test_an_address_that_we_have_not_published_is_another_matter_than_one_that_we_have(bench: Any) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named("unified-trader"))
    actors = []
    for address in ("203.0.113.10", "198.51.100.7", "203.0.113.10"):
        bench.fault(kind="error", status=400, code="40018", msg=f"Invalid IP: {address}")
        await bench.verify(binding)
        actors.append((await _recorded(bench, binding)).findings[0].actor)
    assert actors == [types.ACTOR_CUSTOMER, types.ACTOR_OPERATOR, types.ACTOR_CUSTOMER]


@pytest.mark.parametrize(
    ("name", "path"),
    [("unified-trader", ASSETS), ("classic-trader", FUTURES), ("classic-trader", "/api/v2/spot/account/info")],
)
async def test_a_permission_refused_in_other_words_is_no_change(bench: Any, name: str, path: str) -> None:
    bench.exchange.limits.enforced = False
    binding = bench.vault.bind(bench.exchange.named(name))
    words = ("Incorrect permissions, need trade read permissions", "need futures_read permissions", "")
    for said in (*words, *words):
        bench.fault(kind="error", status=400, code="40014", msg=said, path=path)
        assert (await bench.verify(binding)).verified
    verdict = await _recorded(bench, binding)
    assert bench.vault.transitions == 1
    assert words[0] in {finding.evidence.exchange_message for finding in verdict.findings}
    assert len(await bench.events()) == 1


@pytest.mark.parametrize("name", ["unified-trader", "classic-trader"])
async def test_the_spelling_of_tokens_is_no_change(bench: Any, name: str) -> None:
    bench.exchange.limits.enforced = False
    field, new = ("permissions", "uta_new") if name == "unified-trader" else ("authorities", "new_r")
    known = list(getattr(bench.exchange.named(name), field))
    bench.change(name, **{field: [*known, new]})
    binding = bench.vault.bind(bench.exchange.named(name))
    await bench.verify(binding)
    before = await _recorded(bench, binding)
    spelled = [*known, new.upper().replace("_", "-")]
    for perm_type in ("underscore", "hyphen", "underscore"):
        bench.change(name, **{field: spelled, "style": {"perm_type": perm_type}})
        assert (await bench.verify(binding)).verified
    assert (bench.vault.transitions, await _recorded(bench, binding)) == (1, before)
    bench.change(name, **{field: [*spelled, "withdraw"]})
    await bench.verify(binding)
    assert bench.vault.transitions == 2
    assert set(before.permissions.tokens) < set((await _recorded(bench, binding)).permissions.tokens)
