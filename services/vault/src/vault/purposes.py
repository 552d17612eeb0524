"""Own what each purpose of a signature allows, and which right of the caller's own token it asks for. Pure."""

from collections.abc import Mapping
from typing import Final

from common.errors import Aborted, InvalidArgument, PermissionDenied
from strongroom.types.v1.binding_pb2 import STATUS_PENDING, STATUS_REJECTED
from strongroom.vault.v1.signer_pb2 import PURPOSE_EXECUTE, PURPOSE_SIGN, PURPOSE_UNSPECIFIED

from vault import policy, trading
from vault.actor import EXECUTE, SIGN, WORKER
from vault.canonical import Canonical
from vault.policy import Policy
from vault.records import Head
from vault.trading import BOTH, Allowed, Table

VERIFICATION: Final = Allowed("verification_read", frozenset())
LOGIN: Final = Allowed("websocket_login", BOTH)  # a private socket can place and cancel orders of every product
RIGHTS: Final[Mapping[int, str]] = {PURPOSE_EXECUTE: EXECUTE, PURPOSE_SIGN: SIGN}
UNPROVEN: Final = frozenset([STATUS_PENDING, STATUS_REJECTED])


class Rules:
    """Decide what may be signed: verification reads for workers, what the table of calls allows for callers."""

    def __init__(self, reads: Policy, table: Table) -> None:
        self._reads = reads
        self._table = table
        self.camel_case_paths = reads.camel_case_paths

    def allow(self, purpose: int, request: Canonical) -> Allowed:
        """Return why `request` may be signed and the scopes it needs; raise PolicyRefused with the rule it breaks."""
        if purpose == PURPOSE_UNSPECIFIED:
            self._reads.check(request)
            return VERIFICATION
        return self._table.decide(request, BOTH)

    def is_cancel(self, request: Canonical) -> bool:
        """Tell whether `request` only cancels orders."""
        return self._reads.is_cancel(request)


def load() -> Rules:
    """Return the rules shipped with this package."""
    return Rules(policy.load(), trading.load())


def right(purpose: int, service: str) -> str:
    """Return the scope that a token must have; raise PermissionDenied for a purpose that is not of this workload.

    A worker, which has no caller, has verification reads signed and nothing else; nobody else has those signed.
    """
    if purpose != PURPOSE_UNSPECIFIED and purpose not in RIGHTS:
        raise InvalidArgument("purpose", "This purpose is not known.", field="purpose")
    if (service == WORKER) != (purpose == PURPOSE_UNSPECIFIED):
        raise PermissionDenied("purpose_not_allowed", "This workload may not have this signed.")
    return RIGHTS.get(purpose, SIGN)


def proven(head: Head) -> None:
    """Raise Aborted for a key that has never worked: nothing but a verification is signed with it."""
    if head.status in UNPROVEN:
        raise Aborted("binding_not_usable", "The key has not been verified to work: bind or rotate it first.")
