"""Compares what was told about a binding with what a scenario expects: the whole verdict, each difference by its field.
Works on the REST resource as JSON; knows nothing of how the verdict was reached."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from simulator.scenarios import Book, Expectation

RIGHTS: Final = (
    *("read", "spot_trade", "futures_trade", "margin_trade", "copy_trade", "transfer", "withdraw", "sub_accounts"),
)
STRATEGIES: Final = ("spot_trading", "usdt_futures", "usdc_futures", "coin_futures")
ACCOUNT: Final = ("uid", "parent_uid", "mode", "keys_bound", "keys_limit")
KEYS_LIMIT: Final = 10
SEVERITIES: Final = ("error", "warning", "info")
ACTORS: Final = ("customer", "operator", "exchange")
Verdict = dict[str, Any]


def expected(book: Book, expect: Expectation, uid: str, tokens: Sequence[str]) -> Verdict:
    """Return an expectation written out; `uid` is the account's and `tokens` are its key's."""
    known = expect["uid"] is not None or bool(expect["may"])
    return {
        **{name: expect[name] for name in ("status", "reason", "stale", "environment")},
        "account": {
            **{name: uid if expect[name] == "own" else expect[name] for name in ACCOUNT[:-1]},
            "keys_limit": KEYS_LIMIT if expect["mode"] else None,
        },
        "permissions": {right: _answer(expect, right) for right in RIGHTS},
        "tokens": sorted(tokens) if known and expect["ip"]["bound"] is not None else [],
        "unknown_tokens": sorted(expect["unknown_tokens"]),
        "ip_whitelist": {**expect["ip"], "addresses": sorted(expect["ip"]["addresses"])},
        "findings": sorted(finding(book, item) for item in expect["findings"]),
        "strategies": _strategies(expect),
        "total_usdt": expect["total_usdt"],
    }


def told(book: Book, binding: Mapping[str, Any]) -> Verdict:
    """Return the compared part of a binding resource in the same form."""
    permissions, listed = binding["permissions"], binding["ip_whitelist"]
    total = (binding["balances"] or {}).get("total_usdt")
    return {
        **{name: binding[name] for name in ("status", "reason", "stale", "environment")},
        "account": {name: binding["account"][name] for name in ACCOUNT},
        "permissions": {right: permissions[right] for right in RIGHTS},
        "tokens": sorted(permissions["tokens"]),
        "unknown_tokens": sorted(binding["unknown_tokens"]),
        "ip_whitelist": {**listed, "addresses": sorted(listed["addresses"])},
        "findings": sorted(_shown(one) for one in binding["findings"]),
        "strategies": {
            one["id"]: (one["available"], sorted(_reason(book, text) for text in one["reasons"]))
            for one in binding["strategies"]
        },
        "total_usdt": None if total is None else format(Decimal(total).normalize() + 0, "f"),
    }


def differences(wanted: Mapping[str, Any], got: Mapping[str, Any], place: str = "") -> list[str]:
    """Return one line for each field that is not as wanted."""
    lines = []
    for name in sorted({*wanted, *got}):
        one, other = wanted.get(name), got.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            lines += differences(one, other, f"{place}{name}.")
        elif one != other:
            lines.append(f"{place}{name}: expected {one!r}, was told {other!r}")
    return lines


def untold(expect: Expectation, binding: Mapping[str, Any]) -> list[str]:
    """Return the words of `tells` that no finding says."""
    said = " ".join(
        " ".join((one["title"], one["detail"], one["remedy"], str((one["evidence"] or {}).get("exchange_message"))))
        for one in binding["findings"]
    )
    return [f"findings: none says {words!r}" for words in expect["tells"] if words not in said]


def changes(before: Verdict, after: Verdict) -> dict[str, tuple[Any, Any]]:
    """Return what an event must tell between two verdicts: field to its value before and after."""
    one, other = _facts(before), _facts(after)
    return {name: (one[name], other[name]) for name in one if one[name] != other[name]}


def finding(book: Book, item: str) -> str:
    """Write out `code [severity] [actor] [exchange code]`, with what the code usually is."""
    code, *words = item.split()
    severity, actor = book.findings[code].split()
    severity = _one_of(words, SEVERITIES) or severity
    actor = _one_of(words, ACTORS) or actor
    said = [word for word in words if word not in (*SEVERITIES, *ACTORS)]
    return " ".join((code, severity, actor, *said))


def _facts(verdict: Verdict) -> dict[str, Any]:
    nested = ("account", "permissions", "ip_whitelist")
    facts = {name: verdict[name] for name in ("status", "reason", "stale", "environment", "unknown_tokens")}
    facts |= {f"{place}.{name}": value for place in nested for name, value in verdict[place].items()}
    facts["permissions.tokens"] = verdict["tokens"]
    facts["findings"] = sorted({one.split()[0] for one in verdict["findings"]})
    facts["strategies"] = sorted(name for name, (available, _) in verdict["strategies"].items() if available)
    return facts


def _answer(expect: Expectation, right: str) -> str:
    if right in expect["may"]:
        return "yes"
    return "unknown" if right in expect["unclear"] else "no"


def _strategies(expect: Expectation) -> dict[str, tuple[bool, list[str]]]:
    if expect["available"] is None:
        return {}
    return {name: (name in expect["available"], sorted(expect["reasons"].get(name, []))) for name in STRATEGIES}


def _one_of(words: Iterable[str], options: Sequence[str]) -> str:
    return next((word for word in words if word in options), "")


def _shown(one: Mapping[str, Any]) -> str:
    said = (one["evidence"] or {}).get("exchange_code")
    return " ".join((one["code"], one["severity"], one["actor"], *([said] if said else [])))


def _reason(book: Book, text: str) -> str:
    """Return a reason's short name, or its text when it has none."""
    return next((name for name, words in book.reasons.items() if words in text), text)
