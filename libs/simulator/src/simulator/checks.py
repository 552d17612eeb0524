"""Who is calling: the exchange's checks in the order of docs/bitget.md 3.1. Every check fails closed; none looks at
the clock, the socket or global state."""

import re
from collections.abc import Mapping
from typing import Final

from simulator.accounts import Account
from simulator.codes import ELITE_TRADER, STATES, Refusal
from simulator.request import DEMO, KEY, PASSPHRASE, SIGN, TIMESTAMP, Request
from simulator.signature import prehash

WINDOW_MS: Final = 30_000

_KEY_ID: Final = re.compile(rb"[!-~]{1,128}")
_MILLISECONDS: Final = re.compile(rb"[1-9][0-9]{0,15}")


def find(accounts: Mapping[str, Account], request: Request) -> Account | None:
    """Return the account whose key id the request names, proven or not."""
    return accounts.get(request.checked.get(KEY, b"").decode("latin-1"))


def authenticate(account: Account | None, request: Request, now_ms: int, *, unified_api: bool) -> Account:
    """Return the account once the request has proven to be its key's; raise Refusal with the first check that fails."""
    known = _existing(account, request)
    if request.checked.get(DEMO, b"0") != (b"1" if known.demo else b"0"):
        raise Refusal("40099")
    if unified_api == known.classic:
        raise Refusal("40084" if unified_api else "40085")
    _check_address(known, request.peer)
    _check_timestamp(request, now_ms)
    _check_signature(known, request)
    _check_passphrase(known, request)
    _check_state(known, unified_api=unified_api)
    return known


def _existing(account: Account | None, request: Request) -> Account:
    if not _KEY_ID.fullmatch(request.checked.get(KEY, b"")):
        raise Refusal("40006")
    if account is None:
        raise Refusal("40037")
    return account


def _check_address(account: Account, peer: str) -> None:
    address = account.seen_ip or peer
    if account.ips and address not in account.ips:
        raise Refusal("40018", address)


def _check_timestamp(request: Request, now_ms: int) -> None:
    timestamp = request.checked.get(TIMESTAMP, b"")
    if not _MILLISECONDS.fullmatch(timestamp):
        raise Refusal("40005")
    if abs(now_ms - int(timestamp)) > WINDOW_MS:
        raise Refusal("40008")


def _check_signature(account: Account, request: Request) -> None:
    signature = request.checked.get(SIGN, b"")
    if not signature:
        raise Refusal("40002")
    timestamp = request.checked[TIMESTAMP]
    message = prehash(timestamp, request.method.encode(), request.path, request.query, request.body)
    if not account.verifier.accepts(message, signature):
        raise Refusal("40009")


def _check_passphrase(account: Account, request: Request) -> None:
    passphrase = request.checked.get(PASSPHRASE, b"")
    if not passphrase:
        raise Refusal("40011")
    if passphrase != account.passphrase.encode():
        raise Refusal("40012")


def _check_state(account: Account, *, unified_api: bool) -> None:
    """Refuse what the exchange holds against the account; only who has proven to own the key learns it."""
    if account.state == ELITE_TRADER and not unified_api:
        raise Refusal("40731")
    if account.state in STATES:
        raise Refusal(STATES[account.state][0])
