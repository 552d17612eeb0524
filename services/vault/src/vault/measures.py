"""Own what the vault service measures, and the closed sets of its labels. Never an id, a path or a text of a caller."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from common import errors, metrics
from common.errors import StrongroomError

from vault.actor import WORKER
from vault.freezes import FROZEN
from vault.purposes import LOGIN, VERIFICATION
from vault.trading import BY_BODY, BY_PATH, NEVER, WORDS

DONE: Final = "done"
INTERRUPTED: Final = "interrupted"  # the process ended, or the caller was gone
KINDS: Final = tuple(family.kind for family in errors.FAMILY)
ACTIONS: Final = (
    "abandon",
    "bind",
    "enroll",
    "finish_rotation",
    "freeze",
    "leave",
    "promote",
    "release",
    "revoke",
    "revoke_many",
    "revoke_many_done",
    "sign",
    "stage",
    "sweep",
    "tenant_create",
    "tenant_disable",
    "tenant_enable",
    "tenant_change",
    "transition",
    "unfreeze",
    "update",
    "webhook_create",
    "webhook_remove",
    "webhook_rotate",
    "webhook_change",
    "websocket_login",
)
RULES: Final = (
    *BY_PATH,
    *BY_BODY,
    *NEVER,
    *WORDS,
    VERIFICATION.rule,
    LOGIN.rule,
    FROZEN,
    "not_a_verification_read",
    "query_name",
    "query_value",
)

_actions: Final = metrics.counters(
    "strongroom_audited_actions",
    "Actions with lines in the audit trail, by how they ended",
    begun=False,
    action=ACTIONS,
    outcome=(DONE, INTERRUPTED, *KINDS),
)
_signatures: Final = metrics.counters(
    "strongroom_signatures",
    "Requests and logins that were to be signed, by the rule that allowed or refused them",
    begun=False,
    purpose=("verification", "caller", "login"),
    rule=RULES,
    outcome=(DONE, INTERRUPTED, *KINDS),
)
_binds: Final = metrics.counters(
    "strongroom_binds", "Calls to bind a key", outcome=("created", "repeated", INTERRUPTED, *KINDS)
)
BOUND_ELSEWHERE: Final = metrics.counter(
    "strongroom_keys_bound_elsewhere", "Verifications of keys that another tenant has proven too"
)
AUDIT_SECONDS: Final = metrics.histogram(
    "strongroom_audit_append_duration_seconds", "Time to write lines that waited together, with their one fsync"
)
AUDIT_LINES: Final = metrics.counter("strongroom_audit_lines", "Lines of the audit trail that are on disk")
AUDIT_FAILURES: Final = metrics.counter("strongroom_audit_append_failures", "Writes of the audit trail that failed")
AUDIT_WRITTEN_AT: Final = metrics.gauge(
    "strongroom_audit_last_append_timestamp_seconds", "When a line of the audit trail was last written"
)
HEADS: Final = metrics.counters(
    "strongroom_audit_head_steps", "Steps towards a signed head of the audit trail", outcome=("done", "late")
)
CANARY: Final = metrics.counters(
    "strongroom_canary_signatures", "Signatures that prove that Vault works, one each 2 s", outcome=("done", "failed")
)
CANARY_AT: Final = metrics.gauge("strongroom_canary_last_success_timestamp_seconds", "When such a signature last came")
TIDY_AT: Final = metrics.gauge(
    "strongroom_tidy_last_round_timestamp_seconds", "When the last whole round of tidying up in Vault ended"
)
TIDIED: Final = metrics.counters(
    "strongroom_tidied",
    "What a crash had left and tidying up found",
    finding=("revocation", "rotation", "interrupted_rotation", "orphan", "dead_claim", "failed"),
)


@dataclass(slots=True)
class Bind:
    """How a bind goes."""

    outcome: str = INTERRUPTED


@contextmanager
def bind() -> Iterator[Bind]:
    """Count how the block ends: as it says, or by the kind of its error."""
    told = Bind()
    try:
        yield told
    except StrongroomError as error:
        told.outcome = error.kind
        raise
    finally:
        _binds.of(told.outcome).inc()


def ended(service: str, action: str, lines: Sequence[Mapping[str, Any]], rule: str | None, outcome: str) -> None:
    """Count an audited action that ended, and each signature of it; a `rule` that stopped all of them goes first."""
    _actions.of(action, outcome).inc()
    if action in ("sign", "websocket_login"):
        login = action == "websocket_login"
        purpose = "login" if login else "verification" if service == WORKER else "caller"
        for line in lines:
            _signatures.of(purpose, str(rule or line.get("rule", "")), outcome).inc()
