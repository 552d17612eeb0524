"""What tokens allow: every spelling, and never a "no" where something is unknown."""

from typing import Any

import pytest
from strongroom.types.v1.binding_pb2 import ANSWER_NO, ANSWER_UNKNOWN, ANSWER_YES
from verifier.bitget import addresses, models, permissions
from verifier.bitget.models import KeyInfo

YES, NO, UNKNOWN = ANSWER_YES, ANSWER_NO, ANSWER_UNKNOWN

CLASSIC = [
    ("stor stow coor coow cpor cpow", {"read": YES, "spot_trade": YES, "futures_trade": YES, "withdraw": NO}),
    ("stor stow", {"spot_trade": YES, "futures_trade": NO, "transfer": NO}),
    ("coow", {"futures_trade": NO, "read": YES}),
    ("cpow", {"futures_trade": NO}),
    ("stor coor cpor", {"read": YES, "spot_trade": NO, "futures_trade": NO, "withdraw": NO}),
    ("wwow", {"withdraw": YES, "read": NO}),
    ("wtow smow ttow chow", {"transfer": YES, "margin_trade": YES, "copy_trade": YES, "sub_accounts": YES}),
    ("wtor smor ttor chor", {"transfer": NO, "margin_trade": NO, "copy_trade": NO, "sub_accounts": NO}),
    ("stow p2p taxr pllw", {"spot_trade": YES, "withdraw": NO}),
    ("stow p2pw", {"spot_trade": YES, "withdraw": NO}),
    ("readonly", {"read": YES, "spot_trade": NO, "futures_trade": NO, "withdraw": NO}),
    (
        "trade readonly",
        {"read": YES, "spot_trade": YES, "futures_trade": YES, "withdraw": UNKNOWN, "transfer": UNKNOWN},
    ),
    ("trade withdraw", {"spot_trade": YES, "withdraw": YES, "transfer": UNKNOWN}),
    ("stow newr", {"spot_trade": YES, "futures_trade": UNKNOWN, "withdraw": UNKNOWN, "transfer": UNKNOWN}),
    ("", {"read": NO, "withdraw": NO}),
]

UNIFIED = [
    ("uta_mgt uta_trade", "read_and_write", {"spot_trade": YES, "transfer": YES, "withdraw": UNKNOWN}),
    ("uta_mgt uta_trade", "read-and-write", {"futures_trade": YES, "sub_accounts": YES, "withdraw": UNKNOWN}),
    ("uta-mgt UTA_TRADE", "READ_AND_WRITE", {"spot_trade": YES, "transfer": YES}),
    ("uta_mgt uta_trade", "read-only", {"read": YES, "spot_trade": NO, "transfer": NO, "withdraw": NO}),
    ("uta_mgt uta_trade", "read_only", {"spot_trade": NO, "transfer": NO, "withdraw": NO}),
    ("uta_trade", "read_and_write", {"spot_trade": YES, "transfer": NO, "withdraw": NO}),
    ("uta_mgt", "read_and_write", {"spot_trade": NO, "read": YES}),
    ("uta_trade withdraw", "read_and_write", {"withdraw": YES}),
    ("uta_trade withdraw", "read_only", {"withdraw": YES}),
    ("uta_trade uta_p2p", "read_and_write", {"spot_trade": YES, "withdraw": UNKNOWN, "transfer": UNKNOWN}),
    ("uta_trade copy_futures_order", "read_and_write", {"copy_trade": YES}),
    ("uta_trade uta_mgt", "something_new", {"spot_trade": UNKNOWN, "withdraw": UNKNOWN}),
]


@pytest.mark.parametrize(("tokens", "expected"), CLASSIC)
def test_classic_authorities(tokens: str, expected: dict[str, int]) -> None:
    answer = permissions.classic(KeyInfo(tokens=tuple(tokens.split())))
    assert {name: getattr(answer, name) for name in expected} == expected


@pytest.mark.parametrize(("tokens", "perm_type", "expected"), UNIFIED)
def test_unified_permissions(tokens: str, perm_type: str, expected: dict[str, int]) -> None:
    answer = permissions.unified(KeyInfo(tokens=tuple(tokens.split()), perm_type=perm_type))
    assert {name: getattr(answer, name) for name in expected} == expected


def test_unknown_tokens_are_kept_as_they_were_spelled() -> None:
    assert list(permissions.classic(KeyInfo(tokens=("stow", "New-Token"))).unknown_tokens) == ["New-Token"]
    info = KeyInfo(tokens=("uta_mgt", "UTA-P2P"), perm_type="read_only")
    assert list(permissions.unified(info).unknown_tokens) == ["UTA-P2P"]


def test_a_key_that_may_not_read_its_permissions_is_unknown_throughout() -> None:
    for answer in (permissions.classic(KeyInfo()), permissions.unified(KeyInfo())):
        assert {answer.read, answer.spot_trade, answer.futures_trade, answer.withdraw, answer.transfer} == {UNKNOWN}


@pytest.mark.parametrize(
    ("tokens", "perm_type", "expected"),
    [
        (("stor", "coor"), "", True),
        (("stor", "coow"), "", False),
        (("stor", "new"), "", False),
        ((), "", False),
        (("uta_trade",), "read-only", True),
        (("uta_trade",), "read_and_write", False),
        (("uta_trade",), "odd", False),
    ],
)
def test_read_only_is_said_only_when_it_is_certain(tokens: tuple[str, ...], perm_type: str, expected: bool) -> None:
    assert permissions.read_only(KeyInfo(tokens=tokens, perm_type=perm_type)) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ()),
        ("", ()),
        ([], ()),
        ("203.0.113.7", ("203.0.113.7",)),
        ("203.0.113.7, 203.0.113.8", ("203.0.113.7", "203.0.113.8")),
        (["203.0.113.7"], ("203.0.113.7",)),
        ("203.0.113.0/24", ("203.0.113.0/24",)),
        ("office, home", ("home", "office")),
        ("*", ("*",)),
        ("203.0.113.010", ("203.0.113.010",)),
        ("a\u202eb,\ud800," + "x" * 70, ("?",)),
        ([None, "203.0.113.10", "", 7, "203.0.113.11"], ("203.0.113.10", "203.0.113.11")),
        (7, None),
        ([7], None),
        ({"a": 1}, None),
    ],
)
def test_ip_lists_of_every_shape(value: Any, expected: tuple[str, ...] | None) -> None:
    assert addresses.listed(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("5", "5"), (5, "5"), (0, ""), (None, ""), ("", ""), (True, ""), ([], ""), ("a b", "")]
)
def test_ids_are_text_or_number(value: Any, expected: str) -> None:
    assert models.uid(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1.50", "1.50"), (2, "2"), (None, "0"), ("", "0"), ("1e-7", "0.0000001"), ("x", ""), ("NaN", ""), ([], "")],
)
def test_amounts_stay_as_the_exchange_gave_them(value: Any, expected: str) -> None:
    assert models.amount(value) == expected


def test_oddly_shaped_lists_read_as_far_as_they_go() -> None:
    assert models.rows(None) == []
    assert models.rows({"list": None}) == []
    assert models.rows({"list": [{"a": 1}, None, 3]}) == [{"a": 1}]
    assert models.rows("text") == []
