"""Own what a key's permission tokens allow. A token nobody here knows makes a "no" into "unknown", never the reverse.

Tables after Bitget's pages for GET /api/v2/spot/account/info (authorities) and GET /api/v3/account/info (permissions).
"""

from typing import Final

from strongroom.types.v1.binding_pb2 import ANSWER_NO, ANSWER_UNKNOWN, ANSWER_YES, Answer, Permissions

from verifier.bitget.models import KeyInfo

# What each classic token gives; a futures bot needs the orders and the holdings right together.
CLASSIC: Final[dict[str, tuple[str, ...]]] = {
    "coor": ("read",),
    "coow": ("read", "futures_orders"),
    "cpor": ("read",),
    "cpow": ("read", "futures_holdings"),
    "stor": ("read",),
    "stow": ("read", "spot_trade"),
    "smor": ("read",),
    "smow": ("read", "margin_trade"),
    "ttor": (),
    "ttow": ("copy_trade",),
    "wtor": (),
    "wtow": ("transfer",),
    "wwow": ("withdraw",),
    "chor": (),
    "chow": ("sub_accounts",),
    "p2pr": (),
    "p2p": (),
    "p2pw": (),
    "taxr": (),
    "taxw": (),
    "pllr": (),
    "pllw": (),
    "readonly": ("read",),
}
# Older words, still in the sample replies of the documentation. They give what they say, but nobody knows all of them:
# what such a list does not name is unknown.
OLDER: Final[dict[str, tuple[str, ...]]] = {
    "trade": ("read", "spot_trade", "futures_orders", "futures_holdings"),
    "transfer": ("transfer",),
    "withdraw": ("withdraw",),
}
CLASSIC_READING: Final = frozenset(
    ("coor", "cpor", "stor", "smor", "ttor", "wtor", "chor", "p2pr", "taxr", "pllr", "readonly")
)
UNIFIED: Final = frozenset(("uta_mgt", "uta_trade", "withdraw", "copy_futures_position", "copy_futures_order"))
# permType: one value for the whole key, spelled with - in the documentation and with _ on the wire.
WRITES: Final = {
    "read_only": False,
    "readonly": False,
    "read_and_write": True,
    "read_write": True,
    "readwrite": True,
}


def unreadable() -> Permissions:
    """Return the permissions of a key that may not read its own."""
    unknown = ANSWER_UNKNOWN
    return Permissions(
        read=unknown,
        spot_trade=unknown,
        futures_trade=unknown,
        margin_trade=unknown,
        copy_trade=unknown,
        transfer=unknown,
        withdraw=unknown,
        sub_accounts=unknown,
    )


def classic(info: KeyInfo) -> Permissions:
    """Return what a classic key's `authorities` allow."""
    if info.tokens is None:
        return unreadable()
    words = [word(token) for token in info.tokens]
    unknown = [token for token, name in zip(info.tokens, words, strict=True) if name not in CLASSIC]
    granted = {right for name in words for right in CLASSIC.get(name, OLDER.get(name, ()))}
    absent = ANSWER_UNKNOWN if unknown else ANSWER_NO

    def answer(*rights: str) -> Answer.ValueType:
        return ANSWER_YES if granted.issuperset(rights) else absent

    return Permissions(
        read=answer("read"),
        spot_trade=answer("spot_trade"),
        futures_trade=answer("futures_orders", "futures_holdings"),
        margin_trade=answer("margin_trade"),
        copy_trade=answer("copy_trade"),
        transfer=answer("transfer"),
        withdraw=answer("withdraw"),
        sub_accounts=answer("sub_accounts"),
        unknown_tokens=sorted(set(unknown)),
        tokens=sorted(set(info.tokens)),
    )


def unified(info: KeyInfo) -> Permissions:
    """Return what a unified key's `permissions` and `permType` allow."""
    if info.tokens is None:
        return unreadable()
    words = {word(token) for token in info.tokens}
    unknown = [token for token in info.tokens if word(token) not in UNIFIED]
    absent = ANSWER_UNKNOWN if unknown else ANSWER_NO
    writes = WRITES.get(word(info.perm_type))
    if writes is None:
        unknown.append(info.perm_type or "permType")
    writing = {True: ANSWER_YES, False: ANSWER_NO, None: ANSWER_UNKNOWN}[writes]
    trade = writing if "uta_trade" in words else absent
    manage = writing if "uta_mgt" in words else absent
    copy = writing if words & {"copy_futures_position", "copy_futures_order"} else absent
    # Bitget's pages disagree whether uta_mgt with read-write withdraws too, so that is no "no".
    withdraw = ANSWER_UNKNOWN if "uta_mgt" in words and writes is not False else absent
    return Permissions(
        read=ANSWER_YES if words & {"uta_mgt", "uta_trade"} else absent,
        spot_trade=trade,
        futures_trade=trade,
        margin_trade=trade,
        copy_trade=copy,
        transfer=manage,
        withdraw=ANSWER_YES if "withdraw" in words else withdraw,
        sub_accounts=manage,
        unknown_tokens=sorted(set(unknown)),
        tokens=sorted({*info.tokens, f"permType={info.perm_type}"}),
    )


def read_only(info: KeyInfo) -> bool:
    """Tell whether the key surely can only read: the unified switch says so, or all its classic tokens do."""
    if info.perm_type:
        return WRITES.get(word(info.perm_type)) is False
    return bool(info.tokens) and all(word(token) in CLASSIC_READING for token in info.tokens or ())


def word(token: str) -> str:
    """Return a token in the spelling of the tables here."""
    return token.replace("-", "_").lower()
