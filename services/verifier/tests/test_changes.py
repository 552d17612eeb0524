"""Every fact that a customer sees is told when it changes, with what it was before."""

from typing import Any

import pytest
from strongroom.types.v1 import binding_pb2 as types
from strongroom.types.v1.binding_pb2 import Binding, Change, Observation, Verdict
from verifier import changes


def _verdict() -> Verdict:
    return Verdict(
        status=types.STATUS_CONNECTED,
        environment=types.ENVIRONMENT_LIVE,
        account=types.Account(uid="1", parent_uid="2", mode=types.ACCOUNT_MODE_CLASSIC, keys_bound=1, keys_limit=10),
        permissions=types.Permissions(
            read=types.ANSWER_YES, withdraw=types.ANSWER_NO, tokens=["b", "a"], unknown_tokens=["new"]
        ),
        ip_whitelist=types.IpWhitelist(bound=True, addresses=["203.0.113.10"], missing=["203.0.113.11"]),
        findings=[types.Finding(code="egress_ip_missing")],
        strategies=[types.Strategy(id="spot_trading", available=True), types.Strategy(id="usdt_futures")],
    )


def _between(before: Any, after: Any, seen: Any = None) -> list[Change]:
    return changes.between(
        changes.facts(Binding(verdict=before), Observation()), changes.facts(Binding(verdict=after), seen)
    )


def test_nothing_is_told_of_what_is_as_it_was() -> None:
    same = _verdict()
    same.permissions.tokens[:] = ["a", "b"]
    same.findings[0].detail = "in other words"
    assert _between(_verdict(), same, Observation()) == []


CHANGED: list[tuple[str, dict[str, Any], list[str], list[str]]] = [
    ("status", {"status": types.STATUS_LIMITED}, ["connected"], ["limited"]),
    ("reason", {"reason": types.REASON_POLICY_VIOLATION}, [], ["policy_violation"]),
    ("environment", {"environment": types.ENVIRONMENT_DEMO}, ["live"], ["demo"]),
    ("account.uid", {"account": {"uid": "3"}}, ["1"], ["3"]),
    ("account.parent_uid", {"account": {"parent_uid": "3"}}, ["2"], ["3"]),
    ("account.mode", {"account": {"mode": types.ACCOUNT_MODE_UNIFIED}}, ["classic"], ["unified"]),
    ("account.keys_bound", {"account": {"keys_bound": 2}}, ["1"], ["2"]),
    ("account.keys_limit", {"account": {"keys_limit": 20}}, ["10"], ["20"]),
    ("permissions.read", {"permissions": {"read": types.ANSWER_UNKNOWN}}, ["yes"], []),
    ("permissions.withdraw", {"permissions": {"withdraw": types.ANSWER_YES}}, ["no"], ["yes"]),
    ("permissions.spot_trade", {"permissions": {"spot_trade": types.ANSWER_YES}}, [], ["yes"]),
    ("permissions.futures_trade", {"permissions": {"futures_trade": types.ANSWER_YES}}, [], ["yes"]),
    ("permissions.margin_trade", {"permissions": {"margin_trade": types.ANSWER_YES}}, [], ["yes"]),
    ("permissions.copy_trade", {"permissions": {"copy_trade": types.ANSWER_YES}}, [], ["yes"]),
    ("permissions.transfer", {"permissions": {"transfer": types.ANSWER_YES}}, [], ["yes"]),
    ("permissions.sub_accounts", {"permissions": {"sub_accounts": types.ANSWER_NO}}, [], ["no"]),
    ("permissions.tokens", {"permissions": {"tokens": ["c"]}}, ["a", "b"], ["a", "b", "c"]),
    ("unknown_tokens", {"permissions": {"unknown_tokens": ["x"]}}, ["new"], ["new", "x"]),
    (
        "ip_whitelist.addresses",
        {"ip_whitelist": {"addresses": ["1.1.1.1"]}},
        ["203.0.113.10"],
        ["1.1.1.1", "203.0.113.10"],
    ),
    ("ip_whitelist.missing", {"ip_whitelist": {"missing": ["1.1.1.1"]}}, ["203.0.113.11"], ["1.1.1.1", "203.0.113.11"]),
    ("findings", {"findings": [{"code": "clock"}]}, ["egress_ip_missing"], ["clock", "egress_ip_missing"]),
    ("strategies", {"strategies": [{"id": "x", "available": True}]}, ["spot_trading"], ["spot_trading", "x"]),
]


@pytest.mark.parametrize(("field", "merged", "before", "after"), CHANGED)
def test_a_change_is_told_with_before_and_after(
    field: str, merged: dict[str, Any], before: list[str], after: list[str]
) -> None:
    changed = _verdict()
    changed.MergeFrom(Verdict(**merged))
    assert _between(_verdict(), changed, Observation()) == [Change(field=field, before=before, after=after)]


def test_an_address_list_that_is_gone_a_new_credential_and_staleness_are_told() -> None:
    bare = _verdict()
    bare.ClearField("ip_whitelist")
    told = {change.field: (list(change.before), list(change.after)) for change in _between(_verdict(), bare)}
    assert told["ip_whitelist.bound"] == (["true"], [])
    assert told["ip_whitelist.addresses"] == (["203.0.113.10"], [])
    stale = Observation(stale=True, stale_finding={"code": "exchange_unavailable"}, notes=[{"code": "clock_skew"}])
    assert [(one.field, list(one.after)) for one in _between(_verdict(), _verdict(), stale)] == [
        ("findings", ["egress_ip_missing", "exchange_unavailable"]),
        ("stale", ["true"]),
    ]
    old, new = (changes.facts(Binding(credential={"version": version}), None) for version in (1, 2))
    assert changes.between(old, new) == [Change(field="credential.version", before=["1"], after=["2"])]


def test_a_right_that_is_not_known_is_like_one_that_was_never_told() -> None:
    untold, unknown, known = (Verdict(permissions=rights) for rights in ({}, {"withdraw": 3}, {"withdraw": 2}))
    assert unknown.permissions.withdraw == types.ANSWER_UNKNOWN
    assert _between(untold, unknown, Observation()) == []
    assert _between(unknown, known, Observation()) == [Change(field="permissions.withdraw", before=[], after=["no"])]
    assert _between(known, unknown, Observation()) == [Change(field="permissions.withdraw", before=["no"], after=[])]


def test_what_was_only_noticed_is_no_change() -> None:
    noted = Observation(notes=[{"code": "clock_skew"}, {"code": "invalid_api_key"}])
    assert _between(_verdict(), _verdict(), noted) == []
    assert changes.codes(_verdict(), noted) == ["egress_ip_missing"]


def test_of_an_ended_binding_only_its_end_is_told() -> None:
    assert [one.field for one in _between(_verdict(), Verdict(status=types.STATUS_REVOKED))] == ["status"]
    assert changes.between({}, changes.facts(Binding(), None)) == [Change(field="stale", after=["false"])]


def test_every_field_of_a_verdict_is_watched() -> None:
    """A field that is added to the contract must be told, or left out here on purpose."""
    watched = {field.partition(".")[0] for field in changes.facts(Binding(verdict=_verdict()), None)}
    assert {field.name for field in Verdict.DESCRIPTOR.fields} <= watched | {"unknown_tokens"}
    rights = {field.name for field in types.Permissions.DESCRIPTOR.fields} - {"tokens", "unknown_tokens"}
    assert rights == set(changes.RIGHTS)
