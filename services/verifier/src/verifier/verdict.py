"""Own the judgement: what the exchange told, seen against what the binding asks for, becomes a Verdict.

Pure: no clock, no network. An answer that says nothing definite about the key never comes here.
"""

from collections.abc import Iterator
from typing import Final

from strongroom.types.v1 import binding_pb2
from strongroom.types.v1.binding_pb2 import (
    ACCOUNT_MODE_CLASSIC,
    ANSWER_YES,
    REASON_INVALID_API_KEY,
    REASON_INVALID_SECRET,
    REASON_KEY_DELETED,
    REASON_PERMISSION_DENIED,
    REASON_POLICY_VIOLATION,
    REASON_UNSPECIFIED,
    SCOPE_FUTURES,
    SCOPE_SPOT,
    SEVERITY_ERROR,
    SEVERITY_WARNING,
    STATUS_CONNECTED,
    STATUS_DISCONNECTED,
    STATUS_LIMITED,
    STATUS_REJECTED,
    Account,
    Binding,
    Finding,
    IpWhitelist,
    Observation,
    Permissions,
    Reason,
    Scope,
    Verdict,
)

from verifier import findings, rights, strategies
from verifier.bitget import models, permissions
from verifier.bitget.codes import DEFINITE, ExchangeFailure
from verifier.bitget.probe import ACCOUNT_ITSELF, Facts

KEYS_LIMIT: Final = 10  # API keys that Bitget allows for each account
PURPOSES: Final = {SCOPE_SPOT: "spot trading", SCOPE_FUTURES: "futures trading"}


def definite(binding: Binding, failure: ExchangeFailure, before: Observation | None) -> bool:
    """Tell whether a failure proves something about the key; `before` is what the verification before this one saw.

    A key that worked does not lose its secret: there, a refused signature counts only when two in a row agree.
    """
    if failure.rule.reason == REASON_INVALID_SECRET and binding.proven:
        return before is not None and before.stale_finding.code == failure.rule.words.code
    return failure.rule.group in DEFINITE


def of_failure(binding: Binding, failure: ExchangeFailure, egress: tuple[str, ...]) -> Verdict:
    """Return the verdict on a key that the exchange refuses for a definite reason; what was proven before stays."""
    verdict = Verdict()
    verdict.CopyFrom(binding.verdict)
    for name in ("findings", "strategies"):
        verdict.ClearField(name)
    verdict.status = STATUS_DISCONNECTED if binding.proven else STATUS_REJECTED
    verdict.reason, finding = failure.rule.reason, failure.finding(", ".join(egress))
    if binding.proven and verdict.reason == REASON_INVALID_API_KEY:
        verdict.reason = REASON_KEY_DELETED
        finding = findings.make("key_deleted", finding.evidence)
    verdict.findings.extend([finding, *_whitespace(binding)])
    verdict.strategies.extend(strategies.none_available(binding.scopes))
    return verdict


def of_facts(binding: Binding, facts: Facts, egress: tuple[str, ...]) -> Verdict:
    """Return the verdict on a key that works: connected, or limited by what a scope or a rule finds missing."""
    found = [*_scopes(binding, facts), *_withdrawal(facts), *_warnings(facts), *_addresses(facts, egress)]
    found += [*_notes(facts), *_whitespace(binding)]
    found.sort(key=lambda finding: finding.severity)
    limited = any(finding.severity == SEVERITY_ERROR for finding in found)
    return Verdict(
        status=STATUS_LIMITED if limited else STATUS_CONNECTED,
        reason=_reason(found) if limited else REASON_UNSPECIFIED,
        environment=facts.environment,
        account=Account(uid=facts.info.uid, parent_uid=facts.info.parent_uid, mode=facts.mode, keys_limit=KEYS_LIMIT),
        permissions=_permissions(binding, facts),
        ip_whitelist=_ip_whitelist(facts, egress),
        findings=found,
        strategies=strategies.of_facts(binding, facts),
    )


def _reason(found: list[Finding]) -> Reason.ValueType:
    lacking = any(finding.code in ("missing_permission", "read_only_key") for finding in found)
    return REASON_PERMISSION_DENIED if lacking else REASON_POLICY_VIOLATION


def _permissions(binding: Binding, facts: Facts) -> Permissions:
    """Return what the key may do: what it is told to, and what it has just done. A hiccup unproves nothing."""
    told = Permissions()
    told.CopyFrom(facts.permissions)
    if facts.balances is not None or (facts.hiccup and binding.verdict.permissions.read == ANSWER_YES):
        told.read = ANSWER_YES
    return told


def _scopes(binding: Binding, facts: Facts) -> Iterator[Finding]:
    """Yield what keeps a requested scope from working."""
    evidence = findings.evidence(facts.info_endpoint)
    reads_only = permissions.read_only(facts.info)
    if reads_only:
        yield findings.make("read_only_key", evidence)
    for scope in binding.scopes:
        refused = facts.refused.get(scope)
        if refused is not None:
            said = findings.evidence(refused.endpoint, refused.code, refused.message)
            yield _missing(_right_to_read(facts, scope), PURPOSES[scope], said)
        elif not reads_only:
            for right in rights.lacking(facts, scope):
                yield _missing(right, PURPOSES[scope], evidence)
    if ACCOUNT_ITSELF in facts.refused:
        refused = facts.refused[ACCOUNT_ITSELF]
        said = findings.evidence(refused.endpoint, refused.code, refused.message)
        finding = _missing(rights.UNIFIED_READING, "showing balances", said)
        finding.severity = SEVERITY_WARNING
        yield finding


def _missing(right: str, purpose: str, evidence: binding_pb2.Evidence) -> Finding:
    return findings.make("missing_permission", evidence, right=right, purpose=purpose)


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


def _warnings(facts: Facts) -> Iterator[Finding]:
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


def _addresses(facts: Facts, egress: tuple[str, ...]) -> Iterator[Finding]:
    evidence = findings.evidence(facts.info_endpoint)
    if facts.info.addresses == ():
        published = ", ".join(egress) or "the addresses that this platform publishes"
        yield findings.make("ip_list_absent", evidence, egress=published)
    missing = _absent(facts, egress)
    if missing:
        yield findings.make("egress_ip_missing", evidence, missing=", ".join(missing))


def _absent(facts: Facts, egress: tuple[str, ...]) -> list[str]:
    """Return the published addresses that a bound list lacks; none for a key that works from this very machine."""
    listed = facts.info.addresses
    if not listed or models.loopback(listed):
        return []
    return [address for address in egress if not models.covers(listed, address)]


def _ip_whitelist(facts: Facts, egress: tuple[str, ...]) -> IpWhitelist | None:
    """Return the key's list; None when the exchange did not tell it, which is not the same as no list."""
    listed = facts.info.addresses
    if listed is None:
        return None
    return IpWhitelist(bound=bool(listed), addresses=listed, missing=_absent(facts, egress))


def _notes(facts: Facts) -> Iterator[Finding]:
    """Yield what is worth knowing and harms nothing."""
    evidence = findings.evidence(facts.info_endpoint)
    unknown = facts.permissions.unknown_tokens
    if facts.info.tokens is None:
        right = rights.READING[SCOPE_SPOT] if facts.mode == ACCOUNT_MODE_CLASSIC else rights.UNIFIED_READING
        detail = "The key may not read its own permissions, so nothing can be said about what else it may do."
        remedy = f"If you want to see them here: at Bitget edit this key and switch on {right}."
        refused = facts.info_refused
        said = findings.evidence(refused.endpoint, refused.code, refused.message) if refused else evidence
        yield findings.make("unknown_permission", said, detail=detail, remedy=remedy)
    elif unknown:
        detail = (
            f"Bitget lists permissions that are not known here: {', '.join(unknown)}. What they allow is not known."
        )
        remedy = "Nothing has to be done. At Bitget, switch off permissions of this key that you do not need."
        yield findings.make("unknown_permission", evidence, detail=detail, remedy=remedy)
    if facts.environment == binding_pb2.ENVIRONMENT_DEMO:
        yield findings.make("environment_demo", evidence)


def _whitespace(binding: Binding) -> Iterator[Finding]:
    if binding.whitespace_removed:
        yield findings.make("whitespace_removed", fields=", ".join(binding.whitespace_removed))
