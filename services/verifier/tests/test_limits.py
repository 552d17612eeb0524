"""The exchange's limits as data: whose they are, what is no limit, and that spacings keep them."""

import pytest
from verifier.bitget import limits
from verifier.bitget.budget import BURST, CALLS_PER_MINUTE, DOUBT_S, PRIORITY_BURST
from verifier.bitget.limits import LIMITS, Limit


@pytest.mark.parametrize("limit", [*sorted({limit.per_second for limit in LIMITS.values()}), 4, 7, 2.5, 100])
def test_as_many_slots_as_the_limit_are_free_again_when_the_exchange_counts_their_calls_no_more(limit: float) -> None:
    one = Limit(limit, "uid")
    assert one.slots <= max(limit, 1) < one.slots + 1
    assert one.slots / one.span_s <= limit
    assert one.held_s > one.span_s >= 1


def test_no_minute_holds_more_than_bitget_allows_with_trading_either() -> None:
    assert CALLS_PER_MINUTE * (1 + BURST) < CALLS_PER_MINUTE * (1 + PRIORITY_BURST) + 60 / DOUBT_S < 6000


PATHS = ("/api/v3/account/info", "/api/v3/account/assets", "/api/v2/spot/account/info")


def test_the_limits_are_bitgets_own() -> None:
    assert [LIMITS[f"GET {path}"].per_second for path in PATHS] == [5, 20, 1]
    assert limits.of("GET /api/v2/public/time").scope == "ip"
    assert limits.of("GET /api/v9/nobody/knows") == limits.UNKNOWN
    assert len(LIMITS) > 500


NO_LIMITS = (
    "GET,/api/v2/x,0,uid",
    "GET,/api/v2/x,nan,uid",
    "GET,/api/v2/x,five,uid",
    "GET,/api/v2/x,5,user",
    "GET,/api/v2/x,5",
    "GET,/api/v2/x,5,uid,more",
    "GET,/api/v2/x,5,uid\n" * 2,
    "GET,/x,5,uid",
    "PUT,/api/v2/x,5,uid",
)


@pytest.mark.parametrize("row", NO_LIMITS)
def test_a_row_that_is_no_limit_is_refused(row: str) -> None:
    with pytest.raises(ValueError, match="limits"):
        limits.parse("method,path,per_second,scope\n" + row)
