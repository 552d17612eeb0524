"""Own what is known of an account beyond one key: who else is bound to it here, and what the tenant's rules decide.

Where the vault service could not be asked, the last verdict is what is known, so that nothing flaps. Pure.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from common.decidable import DECIDABLE, USUAL_ERRORS
from strongroom.types.v1.binding_pb2 import SEVERITY_ERROR, SEVERITY_WARNING, Finding, Verdict
from strongroom.vault.v1.binding_store_pb2 import EnrollResponse

from verifier import findings

KEYS_LIMIT: Final = 10  # API keys that Bitget allows for each account
KEYS_NEAR_LIMIT: Final = 9
KEPT: Final = frozenset(("keys_near_limit", "account_bound_twice", "key_bound_elsewhere"))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """How many keys of the account the tenant has bound, what there is to tell of it, and which findings are errors."""

    keys_bound: int = 0
    found: tuple[Finding, ...] = ()
    errors: frozenset[str] = USUAL_ERRORS

    def ruled(self, found: Iterable[Finding]) -> list[Finding]:
        """Return the findings with the severities that the rules give them, the gravest first."""
        return sorted((self._ruled(finding) for finding in found), key=lambda finding: finding.severity)

    def _ruled(self, finding: Finding) -> Finding:
        if finding.code not in DECIDABLE:
            return finding
        mild = SEVERITY_WARNING if finding.severity == SEVERITY_ERROR else finding.severity
        judged = Finding()
        judged.CopyFrom(finding)
        judged.severity = SEVERITY_ERROR if finding.code in self.errors else mild
        return judged


def told(answer: EnrollResponse) -> Enrolment:
    """Return what the vault service told."""
    errors = frozenset(answer.rules.errors) & DECIDABLE if answer.HasField("rules") else USUAL_ERRORS
    return Enrolment(answer.keys_bound, tuple(_found(answer)), errors)


def remembered(earlier: Verdict) -> Enrolment:
    """Return what the last verdict tells: its findings of this kind, and the severities that it gave."""
    errors = {finding.code for finding in earlier.findings if finding.severity == SEVERITY_ERROR}
    milder = {finding.code for finding in earlier.findings} - errors
    kept = tuple(finding for finding in earlier.findings if finding.code in KEPT)
    return Enrolment(earlier.account.keys_bound, kept, frozenset(errors & DECIDABLE | USUAL_ERRORS - milder))


def _found(answer: EnrollResponse) -> Iterator[Finding]:
    if answer.siblings:
        yield findings.make("account_bound_twice", siblings=", ".join(sorted(answer.siblings)))
    if answer.bound_elsewhere:
        yield findings.make("key_bound_elsewhere")
    if answer.keys_bound >= KEYS_NEAR_LIMIT:
        yield findings.make("keys_near_limit", count=str(answer.keys_bound), limit=str(KEYS_LIMIT))
