"""The table of what the exchange serves: method and path to reply, right and rate (docs/bitget.md 2.2-2.4). A new
endpoint is one line here and one function that makes its reply."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from simulator import replies
from simulator.accounts import AUTHORITIES, Scope
from simulator.replies import Call

SPOT_READ: Final = Scope("spot order read", frozenset(("stor", "stow")))
FUTURES_READ: Final = Scope("future order read", frozenset(("coor", "coow")))
ANY_READ: Final = Scope("read", AUTHORITIES)
MANAGE_READ: Final = Scope("uta manage read", frozenset(("uta_mgt",)))
TRADE_READ: Final = Scope("uta trade read", frozenset(("uta_trade",)))


Moment = int | str | None


@dataclass(frozen=True, slots=True)
class Private:
    """A call that needs a key; `rate` is calls per second and UID, `scope` None means any key may call it."""

    rate: int
    scope: Scope | None
    reply: Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Public:
    """A call for everybody; `rate` is calls per second and IP. The reply is made from the exchange's time in
    milliseconds, as far as it tells a sensible one."""

    rate: int
    reply: Callable[[Moment], Any]


Endpoint = Public | Private
Table = dict[tuple[str, bytes], Endpoint]


def server_time(told: Moment) -> dict[str, str | None]:
    return {"serverTime": None if told is None else str(told)}


ENDPOINTS: Final[Table] = {
    ("GET", b"/api/v2/public/time"): Public(20, server_time),
    ("GET", b"/api/v3/market/time"): Public(20, server_time),
    ("GET", b"/api/v3/account/info"): Private(5, None, replies.unified_info),
    ("GET", b"/api/v3/account/assets"): Private(20, MANAGE_READ, replies.unified_assets),
    ("GET", b"/api/v3/account/funding-assets"): Private(20, MANAGE_READ, replies.unified_funding),
    ("GET", b"/api/v3/account/settings"): Private(20, MANAGE_READ, replies.unified_settings),
    ("GET", b"/api/v3/account/switch-status"): Private(5, MANAGE_READ, replies.switch_status),
    ("GET", b"/api/v3/position/current-position"): Private(20, TRADE_READ, replies.unified_positions),
    ("GET", b"/api/v2/spot/account/info"): Private(1, SPOT_READ, replies.classic_info),
    ("GET", b"/api/v2/spot/account/assets"): Private(10, SPOT_READ, replies.classic_spot),
    ("GET", b"/api/v2/mix/account/accounts"): Private(10, FUTURES_READ, replies.classic_futures),
    ("GET", b"/api/v2/spot/account/upgrade-status"): Private(1, SPOT_READ, replies.upgrade_status),
    ("GET", b"/api/v2/account/all-account-balance"): Private(1, ANY_READ, replies.classic_overview),
    ("GET", b"/api/v2/account/funding-assets"): Private(10, ANY_READ, replies.classic_funding),
    ("GET", b"/api/v2/account/bot-assets"): Private(10, ANY_READ, replies.classic_bots),
}
