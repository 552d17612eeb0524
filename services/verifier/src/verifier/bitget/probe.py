"""Own the order in which an account is asked: environment, mode, the key itself, then balances for each scope.

Returns facts or raises the one failure that decided; it judges nothing and knows no binding.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_CLASSIC,
    ACCOUNT_MODE_UNIFIED,
    ACCOUNT_MODE_UNSPECIFIED,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    AccountMode,
    Environment,
)

from verifier.bitget import balances, codes, models, permissions
from verifier.bitget.balances import Scopes
from verifier.bitget.codes import DEFINITE, ExchangeFailure, Group
from verifier.bitget.facts import ACCOUNT_ITSELF, Facts, Gap, Product
from verifier.bitget.models import KeyInfo
from verifier.bitget.reads import Pairs, Reads

UNIFIED_INFO: Final = "/api/v3/account/info"
UNIFIED_ASSETS: Final = "/api/v3/account/assets"
UNIFIED_SETTINGS: Final = "/api/v3/account/settings"
CLASSIC_INFO: Final = "/api/v2/spot/account/info"
CLASSIC_SPOT: Final = "/api/v2/spot/account/assets"
CLASSIC_FUTURES: Final = "/api/v2/mix/account/accounts"
CLASSIC_OVERVIEW: Final = "/api/v2/account/all-account-balance"
PRODUCTS: Final = {"usdt_futures": "USDT-FUTURES", "usdc_futures": "USDC-FUTURES", "coin_futures": "COIN-FUTURES"}
DECISIVE: Final = ("usdt_futures", "usdc_futures")
NOT_UNIFIED: Final = ("40084", "25245")
CHANGING: Final = ("upgrading", "switching")
T = TypeVar("T")


class _Moved(Exception):
    """The account answered as one mode and then as the other."""

    def __init__(self, failure: ExchangeFailure) -> None:
        super().__init__(failure.code)
        self.failure = failure


async def probe(
    reads: Reads,
    scopes: Scopes,
    recorded: Environment.ValueType,
    mode: AccountMode.ValueType = ACCOUNT_MODE_UNSPECIFIED,
) -> Facts:
    """Return the facts of a key; raise ExchangeFailure. The environment recorded last is tried first, else live.

    With a `mode` everything that an account of it is asked is asked at once. The answers are looked at in their order,
    as ever, and what turns out otherwise is asked anew.
    """
    reads.demo = recorded == binding_pb2.ENVIRONMENT_DEMO
    reads.begin(*_expected(mode, scopes))
    try:
        return await _settled(reads, scopes)
    except ExchangeFailure as failure:
        if failure.rule.group is not Group.ENVIRONMENT:
            raise
    reads.demo = not reads.demo
    return await _settled(reads, scopes)


def _expected(mode: AccountMode.ValueType, scopes: Scopes) -> list[tuple[str, Pairs]]:
    """Return the reads that an account of `mode` is asked, each a path and a query; none for an unknown mode."""
    if mode == ACCOUNT_MODE_UNIFIED:
        return [(UNIFIED_INFO, ()), (UNIFIED_SETTINGS, ()), (UNIFIED_ASSETS, ())]
    if mode != ACCOUNT_MODE_CLASSIC:
        return []
    spot = [(CLASSIC_SPOT, ())] if SCOPE_SPOT in scopes else []
    products = PRODUCTS.values() if SCOPE_FUTURES in scopes else ()
    futures = [(CLASSIC_FUTURES, (("productType", product),)) for product in products]
    return [(UNIFIED_INFO, ()), (CLASSIC_INFO, ()), (CLASSIC_OVERVIEW, ()), *spot, *futures]


async def _settled(reads: Reads, scopes: Scopes) -> Facts:
    """Ask once more when the account changed its mode while it was being asked."""
    try:
        return await _account(reads, scopes)
    except _Moved:
        pass
    try:
        return await _account(reads, scopes)
    except _Moved as moved:
        raise moved.failure from None


async def _account(reads: Reads, scopes: Scopes) -> Facts:
    """Ask as for a unified account; a refusal of the mode leads to the classic calls, any other is not a mode."""
    unread = None
    try:
        info = _told_key(UNIFIED_INFO, await reads.get(UNIFIED_INFO), "permissions")
    except ExchangeFailure as failure:
        if failure.code in NOT_UNIFIED:
            return await _classic(reads, scopes)
        if failure.rule.group is not Group.PERMISSION:
            raise
        info, unread = KeyInfo(), failure  # permissions are looked at last: the credentials are good
    reads.known_as(info.uid)
    return await _unified(reads, scopes, info, unread)


async def _unified(reads: Reads, scopes: Scopes, info: KeyInfo, unread: ExchangeFailure | None) -> Facts:
    settings, assets = await _together(_optional(reads, UNIFIED_SETTINGS), _optional(reads, UNIFIED_ASSETS))
    _stayed(settings, assets)
    if isinstance(settings, dict):
        if settings.get("accountMode") in CHANGING:
            raise ExchangeFailure(codes.CODES["40084"], f"GET {UNIFIED_SETTINGS}")
        info = replace(info, uid=info.uid or models.uid(settings.get("uid")))
    refused: dict[int, ExchangeFailure] = {}
    funded = None
    if isinstance(assets, Gap):
        if assets.group is Group.PERMISSION:
            refused = {ACCOUNT_ITSELF: assets.failure}
    elif isinstance(assets, dict):
        equity = models.total(models.told(assets, "usdtEquity"))
        funded = equity != "0" if equity else None
    return Facts(
        environment=reads.environment,
        mode=ACCOUNT_MODE_UNIFIED,
        info_endpoint=f"GET {UNIFIED_INFO}",
        info=info,
        permissions=permissions.unified(info),
        products={name: Product(True, funded) for name in ("spot_trading", *PRODUCTS)},
        balances=balances.unified(assets, scopes),
        refused=refused,
        unread={} if isinstance(assets, dict) or refused else {ACCOUNT_ITSELF: f"GET {UNIFIED_ASSETS}"},
        hiccup=(not isinstance(assets, dict) and not refused) or _passing(settings),
        info_refused=unread,
    )


async def _classic(reads: Reads, scopes: Scopes) -> Facts:
    refused: dict[int, ExchangeFailure] = {}
    untold = None
    try:
        info = _told_key(CLASSIC_INFO, await reads.get(CLASSIC_INFO), "authorities")
    except ExchangeFailure as failure:
        if failure.rule.group is not Group.PERMISSION:
            raise
        info, untold, refused[SCOPE_SPOT] = KeyInfo(), failure, failure
        if SCOPE_FUTURES not in scopes:  # else the balances below prove the credentials
            await _optional(reads, CLASSIC_FUTURES, ("productType", "USDT-FUTURES"))
    reads.known_as(info.uid)
    names = [name for name in PRODUCTS if SCOPE_FUTURES in scopes]
    reads_spot = SCOPE_SPOT in scopes and SCOPE_SPOT not in refused
    overview, spot, *answers = await _together(
        _overview(reads),
        _rows(_optional(reads, CLASSIC_SPOT)) if reads_spot else _nothing(),
        *(_rows(_futures(reads, name)) for name in names),
    )
    _stayed(overview, spot, *answers)
    futures = dict(zip(names, answers, strict=True))
    unread = _sort_out(spot, futures, refused)
    incomplete = any(map(_gap, (spot, *(futures.get(name) for name in DECISIVE))))
    known = {PRODUCTS[name]: answer for name, answer in futures.items()}
    readable = (reads_spot and isinstance(spot, list)) or any(isinstance(answer, list) for answer in answers)
    held = balances.classic(spot, known, overview, scopes) if readable and not incomplete else None
    unpriced = (
        held is not None and not held.total_usdt and isinstance(overview, Gap) and overview.group in codes.PASSING
    )
    return Facts(
        environment=reads.environment,
        mode=ACCOUNT_MODE_CLASSIC,
        info_endpoint=f"GET {CLASSIC_INFO}",
        info=info,
        permissions=permissions.classic(info),
        products={"spot_trading": _spot_product(spot), **{n: _futures_product(n, a) for n, a in futures.items()}},
        balances=held,
        refused=refused,
        unread=unread,
        hiccup=incomplete or unpriced or _passing(futures.get("coin_futures")),
        info_refused=untold,
    )


def _sort_out(spot: Any, futures: Mapping[str, Any], refused: dict[int, ExchangeFailure]) -> dict[int, str]:
    """Put permission refusals where they belong; return by scope the calls of which nothing is known this time.

    COIN-FUTURES may fail. What one product answers, or refuses, speaks for the right to read the others.
    """
    unread: dict[int, str] = {}
    for scope, answers in ((SCOPE_SPOT, [spot]), (SCOPE_FUTURES, [futures.get(name) for name in DECISIVE])):
        gaps = [answer for answer in answers if isinstance(answer, Gap)]
        denied = [gap.failure for gap in gaps if gap.group is Group.PERMISSION]
        if denied:
            refused.setdefault(scope, denied[0])
        elif len(gaps) == len(answers):
            unread[scope] = gaps[0].failure.endpoint
    return unread


def _stayed(*answers: Any) -> None:
    """Raise _Moved when one of the answers says that the account is of the other mode."""
    for answer in answers:
        if isinstance(answer, Gap) and answer.group is Group.REPROBE:
            raise _Moved(answer.failure)


def _gap(answer: Any) -> bool:
    return isinstance(answer, Gap) and answer.group is not Group.PERMISSION


def _passing(answer: Any) -> bool:
    return isinstance(answer, Gap) and answer.group in codes.PASSING


def _spot_product(answer: Any) -> Product:
    known = isinstance(answer, list)
    return Product(True, balances.funded(answer, "available", "frozen", "locked") if known else None)


def _futures_product(name: str, answer: Any) -> Product:
    """COIN-FUTURES is being delisted on classic accounts: there, no row means no product, and an error nothing."""
    if isinstance(answer, Gap):
        return Product(doubtful=name == "coin_futures" and answer.group is not Group.PERMISSION)
    found = models.rows(answer)
    return Product(bool(found) or name != "coin_futures", balances.funded(answer, "accountEquity"))


async def _overview(reads: Reads) -> Any:
    """Return the value of each wallet; it may be asked once a second only and is never worth a wait."""
    try:
        return await reads.once(CLASSIC_OVERVIEW)
    except ExchangeFailure as failure:
        return Gap(failure)


async def _futures(reads: Reads, name: str) -> Any:
    query = ("productType", PRODUCTS[name])
    if name != "coin_futures":
        return await _optional(reads, CLASSIC_FUTURES, query)
    try:
        return await reads.get(CLASSIC_FUTURES, query)
    except ExchangeFailure as failure:
        return Gap(failure)


async def _optional(reads: Reads, path: str, *query: tuple[str, str]) -> Any:
    """Return a read's data, or a gap where the failure says nothing definite about the key."""
    try:
        return await reads.get(path, *query)
    except ExchangeFailure as failure:
        if failure.rule.group in DEFINITE and failure.rule.group is not Group.PERMISSION:
            raise
        return Gap(failure)


async def _rows(call: Awaitable[Any]) -> Any:
    """Return a list's answer; null is an empty list."""
    answer = await call
    return [] if answer is None else answer


async def _nothing() -> None:
    return None


async def _together(*calls: Awaitable[T]) -> list[T]:
    """Return all results in order; raise the first error only when every call has ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


def _told_key(path: str, data: Any, tokens_field: str) -> KeyInfo:
    """Return what an answer tells of the key; one that does not even say whose key it is could not be read."""
    info = models.key_info(data, tokens_field) if isinstance(data, dict) else KeyInfo()
    if not info.uid:
        raise ExchangeFailure(codes.UNREACHABLE, f"GET {path}")
    return info
