"""Own the judgement: what the exchange told, seen against what the binding asks for, becomes a Verdict.

Pure: no clock, no network. An answer that says nothing definite about the key never comes here. The same answers give
an equal verdict, however Bitget words and spells them; where a read that can be done without failed for a passing
reason, the last verdict stands in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from strongroom.types.v1.binding_pb2 import (
    ANSWER_YES,
    KEY_TYPE_RSA,
    REASON_ACCOUNT_MISMATCH,
    REASON_INVALID_API_KEY,
    REASON_KEY_DELETED,
    REASON_PERMISSION_DENIED,
    REASON_POLICY_VIOLATION,
    REASON_UNSPECIFIED,
    SEVERITY_ERROR,
    STATUS_CONNECTED,
    STATUS_DISCONNECTED,
    STATUS_LIMITED,
    STATUS_REJECTED,
    Account,
    Binding,
    Finding,
    IpWhitelist,
    Permissions,
    Reason,
    Verdict,
)

from verifier import audit, findings, strategies
from verifier.bitget import codes, permissions
from verifier.bitget.codes import ExchangeFailure
from verifier.bitget.facts import Facts
from verifier.enrolment import KEYS_LIMIT, Enrolment


def of_failure(binding: Binding, failure: ExchangeFailure, egress: Sequence[str]) -> Verdict:
    """Return the verdict on a key that the exchange refuses for a definite reason; what was proven before stays."""
    reached = _of_failure(binding, failure, egress)
    if not _alike(reached, binding.verdict):
        return reached
    return _of_failure(binding, failure.as_told(binding.verdict.findings), egress)


def _of_failure(binding: Binding, failure: ExchangeFailure, egress: Sequence[str]) -> Verdict:
    reason, finding = failure.rule.reason, failure.finding(egress, clues(binding))
    if binding.proven and reason == REASON_INVALID_API_KEY:
        reason, finding = REASON_KEY_DELETED, findings.make("key_deleted", finding.evidence)
    return _refused(binding, reason, finding)


def of_another_account(binding: Binding, facts: Facts) -> Verdict:
    """Return the verdict on a proven key that now belongs to another account; nothing of that one is taken over."""
    finding = findings.make("account_mismatch", findings.evidence(facts.info_endpoint))
    return _refused(binding, REASON_ACCOUNT_MISMATCH, finding)


def of_facts(binding: Binding, facts: Facts, enrolment: Enrolment, egress: Sequence[str], now: float) -> Verdict:
    """Return the verdict on a key that works: connected, or limited by what a scope or a rule finds missing."""
    facts = _steady(facts, binding.verdict)
    reached = _of_facts(binding, facts, enrolment, egress, now)
    if not _alike(reached, binding.verdict):
        return reached
    return _of_facts(binding, _as_told(facts, binding.verdict.findings), enrolment, egress, now)


def _of_facts(binding: Binding, facts: Facts, enrolment: Enrolment, egress: Sequence[str], now: float) -> Verdict:
    found = enrolment.ruled([*audit.of_key(binding, facts, egress, now), *enrolment.found])
    limited = any(finding.severity == SEVERITY_ERROR for finding in found)
    return Verdict(
        status=STATUS_LIMITED if limited else STATUS_CONNECTED,
        reason=_reason(found) if limited else REASON_UNSPECIFIED,
        environment=facts.environment,
        account=_account(binding, facts, enrolment),
        permissions=_permissions(binding, facts),
        ip_whitelist=_ip_whitelist(facts, egress),
        findings=found,
        strategies=strategies.of_facts(binding, facts),
    )


def another_account(binding: Binding, facts: Facts) -> bool:
    """Tell whether a key that has been proven to belong to one account now belongs to another."""
    return of_another(binding, facts.info.uid)


def of_another(binding: Binding, uid: str) -> bool:
    """Tell whether the account `uid` ("": untold) is another than the one that the key is proven to belong to."""
    known = binding.verdict.account.uid
    return binding.proven and bool(known) and bool(uid) and uid != known


def account_id(binding: Binding, facts: Facts) -> str:
    """Return the account's uid; one that was known stays known while the key may not tell it."""
    return facts.info.uid or binding.verdict.account.uid


def clues(binding: Binding) -> set[str]:
    """Return what is known of a credential that may explain a refusal, in the words of codes.toml."""
    known = set(binding.credential.clues)
    if binding.credential.key_type == KEY_TYPE_RSA:
        known.add("rsa_key")
    if binding.proven:
        known.add("worked_before")
    return known


def _refused(binding: Binding, reason: Reason.ValueType, finding: Finding) -> Verdict:
    verdict = Verdict()
    verdict.CopyFrom(binding.verdict)
    for name in ("findings", "strategies"):
        verdict.ClearField(name)
    verdict.status = STATUS_DISCONNECTED if binding.proven else STATUS_REJECTED
    verdict.reason = reason
    verdict.findings.extend([finding, *audit.of_paste(binding)])
    verdict.strategies.extend(strategies.none_available(binding.scopes))
    return verdict


def _alike(reached: Verdict, earlier: Verdict) -> bool:
    """Tell whether two verdicts say the same in perhaps other words."""
    return _outline(reached) == _outline(earlier)


def _outline(verdict: Verdict) -> Verdict:
    outline = Verdict()
    outline.CopyFrom(verdict)
    for finding in outline.findings:
        for name in ("title", "detail", "remedy"):
            finding.ClearField(name)
        finding.evidence.ClearField("endpoint")
        finding.evidence.ClearField("exchange_message")
    return outline


def _as_told(facts: Facts, told: Iterable[Finding]) -> Facts:
    """Return the facts with refusals as they were told before."""
    refused = {scope: failure.as_told(told) for scope, failure in facts.refused.items()}
    return replace(facts, refused=refused, info_refused=facts.info_refused and facts.info_refused.as_told(told))


def _spelled(now: Permissions, before: Permissions) -> Permissions:
    """Return permissions with the tokens that were known before in the spelling that they had then."""
    spelled = Permissions()
    spelled.CopyFrom(now)
    for name in ("tokens", "unknown_tokens"):
        known = {permissions.word(token): token for token in getattr(before, name)}
        tokens = {known.get(permissions.word(token), token) for token in getattr(now, name)}
        spelled.ClearField(name)
        getattr(spelled, name).extend(sorted(tokens))
    return spelled


def _steady(facts: Facts, earlier: Verdict) -> Facts:
    """Return the facts in the spelling of the last verdict, and with its refusals where a read could not be made."""
    kept = {
        scope: ExchangeFailure(
            codes.meaning(said.exchange_code, 400), endpoint, said.exchange_code, said.exchange_message
        )
        for scope, endpoint in facts.unread.items()
        for finding in earlier.findings
        if (said := finding.evidence).endpoint == endpoint
        and said.exchange_code
        and finding.code == "missing_permission"
    }
    spelled = _spelled(facts.permissions, earlier.permissions)
    return replace(facts, permissions=spelled, refused={**kept, **facts.refused})


def _reason(found: list[Finding]) -> Reason.ValueType:
    lacking = any(
        finding.severity == SEVERITY_ERROR and finding.code in ("missing_permission", "read_only_key")
        for finding in found
    )
    return REASON_PERMISSION_DENIED if lacking else REASON_POLICY_VIOLATION


def _account(binding: Binding, facts: Facts, enrolment: Enrolment) -> Account:
    return Account(
        uid=account_id(binding, facts),
        parent_uid=facts.info.parent_uid or ("" if facts.info.uid else binding.verdict.account.parent_uid),
        mode=facts.mode,
        keys_bound=enrolment.keys_bound,
        keys_limit=KEYS_LIMIT,
    )


def _permissions(binding: Binding, facts: Facts) -> Permissions:
    """Return what the key may do: what it is told to, and what it has just done. A hiccup unproves nothing."""
    told = Permissions()
    told.CopyFrom(facts.permissions)
    if facts.balances is not None or (facts.hiccup and binding.verdict.permissions.read == ANSWER_YES):
        told.read = ANSWER_YES
    return told


def _ip_whitelist(facts: Facts, egress: Sequence[str]) -> IpWhitelist | None:
    """Return the key's list; None when the exchange did not tell it, which is not the same as no list."""
    listed = facts.info.addresses
    if listed is None:
        return None
    return IpWhitelist(bound=bool(listed), addresses=listed, missing=audit.absent(facts, egress))
