"""Own what there is to tell about a key that works: rights missing and rights too many, its IP list, its age.

Pure: facts in, findings out. Severities are those without a tenant's rules.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from common.clock import rfc3339
from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_CLASSIC,
    ANSWER_YES,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    SEVERITY_WARNING,
    Binding,
    Evidence,
    Finding,
    Scope,
)

from verifier import findings, rights
from verifier.bitget import addresses, permissions
from verifier.bitget.codes import ExchangeFailure, named_right
from verifier.bitget.facts import ACCOUNT_ITSELF, Facts

PURPOSES: Final = {SCOPE_SPOT: "spot trading", SCOPE_FUTURES: "futures trading"}
ANY_ADDRESS: Final = "the addresses that this platform publishes"


def of_key(binding: Binding, facts: Facts, egress: Sequence[str], now: float) -> Iterator[Finding]:
    """Yield everything there is to tell about the key at `now` (Unix seconds)."""
    yield from _scopes(binding, facts)
    yield from _withdrawal(facts)
    yield from _transfer(facts)
    yield from _unneeded(binding, facts)
    yield from _addresses(facts, egress)
    yield from _age(binding, now)
    yield from _unknown(facts)
    if facts.environment == binding_pb2.ENVIRONMENT_DEMO:
        yield findings.make("environment_demo", findings.evidence(facts.info_endpoint))
    yield from of_paste(binding)


def of_paste(binding: Binding) -> Iterator[Finding]:
    """Yield what was done to the values as they were pasted."""
    if binding.whitespace_removed:
        yield findings.make("whitespace_removed", fields=", ".join(binding.whitespace_removed))


def absent(facts: Facts, egress: Sequence[str]) -> list[str]:
    """Return the published addresses that a bound list surely lacks; none for a key that works from this machine."""
    listed = facts.info.addresses
    if not listed or addresses.loopback(listed) or not addresses.readable(listed):
        return []
    return [address for address in egress if not addresses.covers(listed, address)]


def _scopes(binding: Binding, facts: Facts) -> Iterator[Finding]:
    """Yield what keeps a requested scope from working."""
    evidence = findings.evidence(facts.info_endpoint)
    reads_only = permissions.read_only(facts.info)
    if reads_only:
        yield findings.make("read_only_key", evidence)
    for scope in binding.scopes:
        refused = facts.refused.get(scope)
        if refused is not None:
            yield _missing(_right_to_read(facts, scope), PURPOSES[scope], _said(refused))
        elif not reads_only:
            for right in rights.lacking(facts, scope):
                yield _missing(right, PURPOSES[scope], evidence)
    if ACCOUNT_ITSELF in facts.refused:
        finding = _missing(rights.UNIFIED_READING, "showing balances", _said(facts.refused[ACCOUNT_ITSELF]))
        finding.severity = SEVERITY_WARNING
        yield finding


def _missing(right: str, purpose: str, evidence: Evidence) -> Finding:
    named = named_right(evidence.exchange_message)
    said = f" Bitget names what it needs: {named}." if named else ""
    return findings.make("missing_permission", evidence, right=right, purpose=purpose, named=said)


def _said(refused: ExchangeFailure) -> Evidence:
    return findings.evidence(refused.endpoint, refused.code, refused.message)


def _right_to_read(facts: Facts, scope: Scope.ValueType) -> str:
    """Name what to switch on for a refused read: the trading right too where the key's list lacks it."""
    return " and ".join(rights.lacking(facts, scope)) or rights.READING[scope]


def _withdrawal(facts: Facts) -> Iterator[Finding]:
    if facts.permissions.withdraw != ANSWER_YES:
        return
    evidence = findings.evidence(facts.info_endpoint)
    yield findings.make("withdraw_enabled", evidence)
    if facts.info.addresses == ():
        yield findings.make("withdraw_without_ip_list", evidence)


def _transfer(facts: Facts) -> Iterator[Finding]:
    if facts.permissions.transfer != ANSWER_YES:
        return
    if facts.mode == ACCOUNT_MODE_CLASSIC:
        right, remedy = (
            "Transfer",
            (
                "If you do not need it: at Bitget open your profile picture, then API keys, edit this key and switch "
                "Transfer off."
            ),
        )
    else:
        right, remedy = (
            "Unified account management, read-write",
            (
                "On a unified account this comes with Unified account management on a read-write key and cannot be "
                "switched off alone. An IP whitelist on the key limits the risk."
            ),
        )
    yield findings.make("transfer_enabled", findings.evidence(facts.info_endpoint), right=right, remedy=remedy)


def _unneeded(binding: Binding, facts: Facts) -> Iterator[Finding]:
    for right in rights.unneeded(facts, binding.scopes):
        yield findings.make("unneeded_permission", findings.evidence(facts.info_endpoint), right=right)


def _addresses(facts: Facts, egress: Sequence[str]) -> Iterator[Finding]:
    evidence, listed = findings.evidence(facts.info_endpoint), facts.info.addresses
    published = ", ".join(egress) or ANY_ADDRESS
    if listed == ():
        yield findings.make("ip_list_absent", evidence, egress=published)
    missing = absent(facts, egress)
    if missing:
        yield findings.make("egress_ip_missing", evidence, missing=", ".join(missing))
    entries = addresses.misused(listed or ())
    if entries:
        yield findings.make("ip_list_misuse", evidence, entries=", ".join(entries), egress=published)


def _age(binding: Binding, now: float) -> Iterator[Finding]:
    due = binding.credential.rotate_by
    if binding.credential.HasField("rotate_by") and now >= due.ToMilliseconds() / 1000:
        yield findings.make("rotation_due", date=rfc3339(due)[:10])


def _unknown(facts: Facts) -> Iterator[Finding]:
    """Yield what could not be told about the key's rights."""
    evidence = findings.evidence(facts.info_endpoint)
    unknown = facts.permissions.unknown_tokens
    if facts.info.tokens is None:
        right = rights.READING[SCOPE_SPOT] if facts.mode == ACCOUNT_MODE_CLASSIC else rights.UNIFIED_READING
        detail = "The key may not read its own permissions, so nothing can be said about what else it may do."
        remedy = f"If you want to see them here: at Bitget edit this key and switch on {right}."
        if facts.info_refused is None:
            detail = "Bitget did not list the key's permissions, so nothing can be said about what else it may do."
            remedy = "Nothing has to be done: they are asked for again at every verification."
        said = _said(facts.info_refused) if facts.info_refused else evidence
        yield findings.make("unknown_permission", said, detail=detail, remedy=remedy)
    elif unknown:
        detail = (
            f"Bitget lists permissions that are not known here: {', '.join(unknown)}. What they allow is not known."
        )
        remedy = "Nothing has to be done. At Bitget, switch off permissions of this key that you do not need."
        yield findings.make("unknown_permission", evidence, detail=detail, remedy=remedy)
