"""Whatever stands in an answer, it ends in facts or in one failure, and the same answer tells the same."""

import asyncio
import json
from copy import deepcopy
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import SCOPE_FUTURES, SCOPE_SPOT, Binding
from verifier import observe, verdict
from verifier.bitget import clock, probe, reply
from verifier.bitget.codes import ExchangeFailure, Group
from verifier.bitget.facts import Facts
from verifier.enrolment import Enrolment

EGRESS: Final = ("203.0.113.10",)
SCOPES: Final = [SCOPE_SPOT, SCOPE_FUTURES]
ANSWERS: Final[dict[str, Any]] = {
    probe.UNIFIED_INFO: {
        "userId": "5000000001",
        "parentId": "",
        "ips": "127.0.0.1,203.0.113.10",
        "permType": "read_and_write",
        "permissions": ["uta_mgt", "uta_trade"],
    },
    probe.UNIFIED_SETTINGS: {"uid": "5000000001", "accountMode": "unified"},
    probe.UNIFIED_ASSETS: {
        "usdtEquity": "12.5",
        "effEquity": "12.5",
        "usdtUnrealisedPnl": "0",
        "assets": [{"coin": "USDT", "available": "10", "locked": "2.5", "balance": "12.5"}],
    },
    probe.CLASSIC_INFO: {
        "userId": 5000000002,
        "parentId": None,
        "ips": ["127.0.0.1"],
        "authorities": ["stor", "stow", "coor", "coow", "cpor", "cpow"],
    },
    probe.CLASSIC_SPOT: [{"coin": "USDT", "available": "10", "frozen": "0", "locked": "0"}],
    probe.CLASSIC_FUTURES: [
        {"marginCoin": "USDT", "available": "1", "accountEquity": "2", "usdtEquity": "2", "unrealizedPL": "-1"}
    ],
    probe.CLASSIC_OVERVIEW: [
        {"accountType": "spot", "usdtBalance": "10"},
        {"accountType": "futures", "usdtBalance": "2"},
    ],
}
UNIFIED: Final = (probe.UNIFIED_INFO, probe.UNIFIED_SETTINGS, probe.UNIFIED_ASSETS)
# JSON as it may stand on the wire: much of it no encoder of ours would write.
RAW: Final = (
    *("1e999", "-1e999", "1e-999", "0e999", "-0", "1.5", "9" * 400, "-1", "true", "null", "{}", "[]", "[[[]]]", '""'),
    *('"1e999"', '"-1e99999999999999999999"', '"0e-99999"', '"NaN"', '"Infinity"', '"1_0"', '" 1 "', '"\\u0661"'),
    *('"\\ud800"', '"fe80::1%\\ud800"', '["fe80::1%x", "1.1.1.1"]', '"::/0"', '"9.9.9.9-1.1.1.1"', '"\\u0000"', '"0"'),
    *('{"list": 1e999}', '{"list": [null, 1e999, {"coin": "USDT"}]}', '["a", 1e999, null, {}]', '"' + "x" * 300 + '"'),
)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
TEXT: Final = st.sampled_from(RAW) | JSON.map(json.dumps)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document, itself included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in _places(item, (*path, key)))]


PLACES: Final = [(path, place) for path, document in ANSWERS.items() for place in _places(document)]


def _body(path: str, odd: list[tuple[tuple[str, tuple[Any, ...]], str]]) -> bytes:
    """The answer to a path, with odd JSON in some places of it."""
    document, texts = {"code": "00000", "data": deepcopy(ANSWERS[path])}, {}
    for (where, place), text in odd:
        if where != path:
            continue
        parent: Any = document
        try:
            for key in ("data", *place)[:-1]:
                parent = parent[key]
            parent[("data", *place)[-1]] = mark = f"@{len(texts)}@"
        except (TypeError, KeyError, IndexError):  # something odd stands there already
            continue
        texts[mark] = text
    wire = json.dumps(document)
    for mark, text in texts.items():
        wire = wire.replace(f'"{mark}"', text)
    return wire.encode()


class _Told:
    """Reads of one account whose answers are these bytes."""

    def __init__(self, odd: list[tuple[tuple[str, tuple[Any, ...]], str]], unified: bool) -> None:
        self.demo = False
        self.environment = types.ENVIRONMENT_LIVE
        self._odd, self._unified = odd, unified

    async def get(self, path: str, *query: tuple[str, str]) -> Any:
        content = _body(path, self._odd)
        if path == probe.UNIFIED_INFO and not self._unified:
            content = b'{"code": "40084", "msg": "classic"}'
        return reply.read(f"GET {path}", 200, content, None, ()).data()

    async def once(self, path: str) -> Any:
        return await self.get(path)

    def begin(self, *wanted: Any) -> None:
        assert not wanted

    def known_as(self, uid: str) -> None:
        assert uid


def _probed(odd: Any, unified: bool) -> Facts | ExchangeFailure:
    try:
        return asyncio.run(probe.probe(_Told(odd, unified), set(SCOPES), 0))  # type: ignore[arg-type]
    except ExchangeFailure as failure:
        return failure


def _refusal(answer: reply.Reply) -> ExchangeFailure | None:
    try:
        answer.data()
    except ExchangeFailure as failure:
        return failure
    return None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(odd=st.lists(st.tuples(st.sampled_from(PLACES), TEXT), min_size=1, max_size=4), unified=st.booleans())
def test_an_odd_value_anywhere_ends_in_facts_or_in_one_failure(odd: Any, unified: bool) -> None:
    binding = Binding(scopes=SCOPES)
    facts = _probed(odd, unified)
    if isinstance(facts, ExchangeFailure):
        assert facts.rule.group in (Group.TRANSIENT, Group.REPROBE), "nothing is said about the key"
        assert facts.finding(EGRESS).SerializeToString()
        return
    assert facts.info.uid
    assert observe.judged(None, facts, 0.0).SerializeToString()
    reached = verdict.of_facts(binding, facts, Enrolment(), EGRESS, 0.0)
    binding.verdict.CopyFrom(types.Verdict.FromString(reached.SerializeToString()))
    assert verdict.of_facts(binding, facts, Enrolment(), EGRESS, 0.0) == reached


@settings(max_examples=200, deadline=None)
@given(code=TEXT, said=TEXT, status=st.sampled_from([200, 400, 403, 429, 500]))
def test_an_odd_refusal_is_one_failure(code: str, said: str, status: int) -> None:
    for body in (f'{{"code": {code}, "msg": {said}}}', f'{{"code": "40018", "msg": {said}, "requestTime": {code}}}'):
        answer = reply.read("GET /x", status, body.encode(), None, ("secret",))
        told = clock.milliseconds(answer.time)
        assert told is None or isinstance(told, int)
        failure = _refusal(answer)
        if failure is None:
            assert json.loads(code) == "00000"
        else:
            assert verdict.of_failure(Binding(), failure, EGRESS).SerializeToString()


@pytest.mark.parametrize("missing", [(), ("ips",), ("permissions", "permType"), ("ips", "permissions", "permType")])
@pytest.mark.parametrize("unified", [True, False])
async def test_what_is_not_in_an_answer_was_not_told(unified: bool, missing: tuple[str, ...]) -> None:
    path = probe.UNIFIED_INFO if unified else probe.CLASSIC_INFO
    names = missing if unified else [{"permissions": "authorities"}.get(name, name) for name in missing]
    told = {name: value for name, value in ANSWERS[path].items() if name not in names}
    facts = await probe.probe(_Told([((path, ()), json.dumps(told))], unified), set(SCOPES), 0)  # type: ignore[arg-type]
    reached = verdict.of_facts(Binding(scopes=SCOPES), facts, Enrolment(), EGRESS, 0.0)
    codes = {finding.code for finding in reached.findings}
    assert reached.HasField("ip_whitelist") == ("ips" not in missing)
    assert "ip_list_absent" not in codes
    assert ("unknown_permission" in codes) == ("permissions" in missing)
    assert all("may not read" not in finding.detail for finding in reached.findings)


@pytest.mark.parametrize("ips", ['""', "null", "[]"])
async def test_an_empty_list_that_is_told_is_no_list(ips: str) -> None:
    odd = [((probe.UNIFIED_INFO, ("ips",)), ips)]
    facts = await probe.probe(_Told(odd, unified=True), set(SCOPES), 0)  # type: ignore[arg-type]
    reached = verdict.of_facts(Binding(scopes=SCOPES), facts, Enrolment(), EGRESS, 0.0)
    assert "ip_list_absent" in {finding.code for finding in reached.findings}
    assert reached.HasField("ip_whitelist")


@pytest.mark.parametrize("unified", [True, False])
@pytest.mark.parametrize("data", ["{}", "null", "[]", '{"userId": null}', '{"userId": "0"}', '{"ips": ""}'])
async def test_an_answer_that_does_not_say_whose_key_it_is_says_nothing(data: str, unified: bool) -> None:
    path = probe.UNIFIED_INFO if unified else probe.CLASSIC_INFO
    with pytest.raises(ExchangeFailure) as refused:
        await probe.probe(_Told([((path, ()), data)], unified), set(SCOPES), 0)  # type: ignore[arg-type]
    assert refused.value.rule.group is Group.TRANSIENT


async def test_an_account_under_its_other_name_is_told_too() -> None:
    odd = [((probe.UNIFIED_INFO, ()), '{"uid": 5000000001, "permissions": ["uta_trade"], "permType": "read_only"}')]
    facts = await probe.probe(_Told(odd, unified=True), set(SCOPES), 0)  # type: ignore[arg-type]
    assert facts.info.uid == "5000000001"


async def test_null_instead_of_a_list_is_an_empty_wallet() -> None:
    odd = [((path, ()), "null") for path in (probe.CLASSIC_SPOT, probe.CLASSIC_FUTURES, probe.CLASSIC_OVERVIEW)]
    facts = await probe.probe(_Told(odd, unified=False), set(SCOPES), 0)  # type: ignore[arg-type]
    assert facts.balances is not None
    assert (facts.balances.total_usdt, facts.hiccup, facts.unread) == ("0", False, {})
