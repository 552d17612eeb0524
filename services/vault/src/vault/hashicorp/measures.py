"""Own what is measured of the calls to Vault: by what kind of thing was asked, never by path, tenant or key.

Spans name calls by the same kinds.
"""

from typing import Final

from common import metrics

OPERATIONS: Final = ("sign", "import", "key", "read", "write", "list", "destroy", "metadata")
OUTCOMES: Final = ("done", "missing", "refused", "denied", "not_done", "failed", "lost", "not_sent")
_DOCUMENTS: Final = {("data", "GET"): "read", ("data", "POST"): "write", ("destroy", "PUT"): "destroy"}

CALLS: Final = metrics.counters(
    "strongroom_vault_requests",
    "Calls to HashiCorp Vault or OpenBao, all tries of one together",
    operation=OPERATIONS,
    outcome=OUTCOMES,
)
SECONDS: Final = metrics.histograms(
    "strongroom_vault_request_duration_seconds", "Time of such a call, logging in included", operation=OPERATIONS
)
LOGINS: Final = metrics.counters(
    "strongroom_vault_logins", "Logins at Vault", outcome=("done", "refused", "unanswered")
)
TOKEN_LIFE: Final = metrics.gauge(
    "strongroom_vault_token_life_seconds", "What is left of the life of the token that the service itself uses"
)


def operation(method: str, segments: tuple[str, ...]) -> str:
    """Return the kind of a call: of signatures, of keys, of documents."""
    if method == "LIST":
        return "list"
    mount, kind, *rest = segments
    if mount != "transit":
        return _DOCUMENTS.get((kind, method), "metadata")
    if kind in ("hmac", "sign"):
        return "sign"
    return "import" if rest and rest[-1] in ("import", "import_version") else "key"


def outcome(status: int, *, not_done: bool) -> str:
    """Return how an answered call ended."""
    if status < 300:
        return "done"
    if not_done:
        return "not_done"
    if status >= 500:
        return "failed"
    return {403: "denied", 404: "missing"}.get(status, "refused")
