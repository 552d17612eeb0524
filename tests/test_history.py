"""Each checker finds the fault that it is for, is content with a good history, and builds nothing on an unknown end."""

from typing import Any

import pytest

from tests.history import History, Op, away, mute

TAGGED = {"tag": "a", "live": True}
GOOD = [
    Op("bind", "a", "b1", "k1", 0, 1, "ok"),
    Op("read", "a", "b1", "", 2, 3, "ok", TAGGED),
    Op("sign", "a", "b1", "", 2, 6, "ok", TAGGED),
    Op("revoke", "a", "b1", "", 3, 5, "ok"),
    Op("sign", "a", "b1", "", 4, 7, "ok", TAGGED),  # begun before the acknowledgement
    Op("sign", "a", "b1", "", 6, 7, "fail"),
    Op("bind", "a", "b2", "k1", 6, 7, "ok"),  # the same key again, after the first has ended
    Op("read", "a", "b1", "", 8, 9, "ok", {"tag": "a", "live": False}),
    Op("rotate", "a", "b2", "k2", 10, 12, "ok", version=2),
    Op("sign", "a", "b2", "", 11, 13, "ok", TAGGED, version=1),  # begun before the acknowledgement
    Op("sign", "a", "b2", "", 13, 14, "ok", TAGGED, version=2),
]


def test_a_good_history_is_good() -> None:
    assert History(GOOD).check() == []


@pytest.mark.parametrize(
    ("checker", "planted"),
    [
        ("lost", Op("read", "a", "b1", "", 8, 9, "ok", None)),
        ("foreign", Op("read", "a", "b2", "", 8, 9, "ok", {"tag": "z", "live": True})),
        ("foreign", Op("sign", "a", "b2", "", 8, 9, "ok", {"tag": "z", "live": True})),
        ("late", Op("sign", "a", "b1", "", 5.1, 6, "ok", TAGGED)),
        ("late", Op("read", "a", "b1", "", 8, 9, "ok", TAGGED)),
        ("stale", Op("sign", "a", "b2", "", 13, 14, "ok", TAGGED, version=1)),
        ("doubled", Op("bind", "a", "b3", "k1", 8, 9, "ok")),
        ("doubled", Op("bind", "a", "b4", "k2", 13, 14, "ok")),
        ("doubled", Op("rotate", "a", "b4", "k2", 13, 14, "ok", version=2)),
    ],
)
def test_a_planted_fault_is_found(checker: str, planted: Op) -> None:
    found = History([*GOOD, planted]).check()
    assert [line.partition(":")[0] for line in found] == [checker]


@pytest.mark.parametrize(
    "harmless",
    [
        Op("sign", "a", "b1", "", 5.1, 6, "info", None),
        Op("read", "a", "b9", "", 8, 9, "ok", None),  # nobody was told that it exists
        Op("bind", "a", "", "k1", 8, 9, "info"),
        Op("bind", "z", "b4", "k1", 8, 9, "ok"),  # another tenant's
        Op("bind", "a", "b2", "k1", 8, 9, "ok"),  # a repeat that answers the same
        Op("bind", "a", "b4", "k1", 11, 12, "ok"),  # the key that a rotation may have left already
        Op("rotate", "a", "b4", "k2", 13, 14, "info", version=2),
        Op("read", "z", "b2", "", 13, 14, "ok", None),  # nobody else's business
    ],
)
def test_what_nobody_knows_and_what_is_allowed_is_no_fault(harmless: Op) -> None:
    assert History([*GOOD, harmless]).check() == []


def test_a_revocation_nobody_knows_of_ends_a_life_but_fences_nothing() -> None:
    begun = [
        Op("bind", "a", "b1", "k1", 0, 1, "ok"),
        Op("revoke", "a", "b1", "", 2, 3, "info"),
        Op("sign", "a", "b1", "", 4, 5, "ok", TAGGED),
        Op("bind", "a", "b2", "k1", 4, 5, "ok"),
    ]
    assert History(begun).check() == []


def asked(client: int, *ends: float, **fields: Any) -> list[Op]:
    """Return the operations of a client, each a second long."""
    return [Op("sign", "a", "b1", "", end - 1, end, "ok", TAGGED, client=client, **fields) for end in ends]


@pytest.mark.bar(51)
@pytest.mark.parametrize(
    ("planted", "who"),
    [
        (asked(2, 1, 5, 26, 30), 2),  # in the middle
        (asked(2, 25, 30), 2),  # at the beginning: it asked at once and was refused
        (asked(2, 1, 5), 2),  # to the end
        ([Op("bind", "a", "b2", "k1", 0, 1, "fail", client=3)], 3),  # it never succeeded
    ],
)
def test_a_client_that_is_refused_for_too_long_is_found_beside_one_that_is_not(planted: list[Op], who: int) -> None:
    begun = [Op("sign", "a", "b1", "", 0, 1, "fail", client=2)]
    others = [] if who == 2 else asked(2, 15, 30)
    [line] = away(History([*begun, *asked(1, 1, 10, 20, 30), *planted, *others]), 20)
    assert line.startswith(f"away: client {who} ")


@pytest.mark.bar(51)
def test_a_gap_within_the_limit_is_no_fault() -> None:
    assert away(History([*asked(1, 1, 10, 30), *asked(2, 1, 21, 30)]), 20) == []
    assert away(History([]), 20) == []


@pytest.mark.bar(51)
def test_a_refusal_that_names_no_time_is_found() -> None:
    refused = [Op("bind", "a", "b1", "k1", 0, 1, "fail", retry_after=wait) for wait in (2.0, None, 0.0)]
    assert len(mute(History(refused))) == 2
    assert mute(History([Op("sign", "a", "b1", outcome="ok"), Op("read", "a", "b1", outcome="info")])) == []
