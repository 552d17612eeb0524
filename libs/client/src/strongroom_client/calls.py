"""Own the tenant's calls: for each, what is sent and what its answer is. Both clients share them."""

import secrets
from collections.abc import Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from strongroom_client.credential import Credential, SealedCredential, SealingKey
from strongroom_client.errors import Unavailable, UnusableCredentialError
from strongroom_client.flow import ATTEMPTS, Flow, Items, Pause, Send, backoff, called, pages, resource
from strongroom_client.resources import AuditEntry, Balances, Binding, ExchangeGuide

Scope = Literal["spot", "futures"]
Status = Literal["pending", "connected", "limited", "rejected", "disconnected", "revoked"]
BOTH: Final[Sequence[Scope]] = ("spot", "futures")
MAX_WAIT_S: Final = 30


class Kept:
    """The mark of a field that a change leaves as it is."""


KEPT: Final = Kept()


def bind(
    credential: Credential | SealedCredential,
    *,
    scopes: Sequence[Scope] = BOTH,
    label: str = "",
    subject: str = "",
    wait: int = 0,
    plain: bool = False,
    fingerprint: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Binding]:
    """Bind a key and return the binding; with `wait` (seconds, at most 30) as soon as its verdict is in.

    The secret is sealed before it leaves, unless `plain`; with `fingerprint` to that wrapping key only. One
    Idempotency-Key is kept over all repeats. Raises Conflict with `binding_id` for a key that is bound already.
    """
    document = yield from _document(credential, plain, fingerprint)
    body = {"exchange": "bitget", "label": label, "subject": subject, "scopes": list(scopes), "credential": document}
    return (yield from resource(Binding, _post("/v1/bindings", body, wait, idempotency_key)))


def rotate(
    binding_id: str,
    credential: Credential | SealedCredential,
    *,
    wait: int = 0,
    plain: bool = False,
    fingerprint: str | None = None,
    idempotency_key: str | None = None,
) -> Flow[Binding]:
    """Replace a binding's key by a new one of the same account; until that is proven the old one stays in use."""
    document = yield from _document(credential, plain, fingerprint)
    path = f"{_path(binding_id)}/credential"
    return (yield from resource(Binding, _post(path, {"credential": document}, wait, idempotency_key)))


def seal(credential: Credential, *, fingerprint: str | None = None) -> Flow[SealedCredential]:
    """Return a credential sealed for one bind, to the wrapping key that the gateway tells."""
    wrapping = (yield from guide()).wrapping_key
    for attempt in range(ATTEMPTS - 1):
        if wrapping is None:
            yield Pause(backoff(attempt))
            wrapping = (yield from guide()).wrapping_key
    if wrapping is None:
        raise Unavailable("unavailable", "The gateway tells no wrapping key at the moment: try again.")
    key = SealingKey(wrapping.public_key)
    if fingerprint and fingerprint.strip().lower() != key.fingerprint:
        raise UnusableCredentialError("The gateway's wrapping key has another fingerprint: nothing was sent.")
    return credential.sealed(key)


def get(binding_id: str) -> Flow[Binding]:
    """Return a binding; raise NotFound for one that is not this tenant's."""
    return resource(Binding, Send("GET", _path(binding_id)))


def listed(*, status: Status | None = None, subject: str | None = None) -> Items[Binding]:
    """Iterate over the tenant's bindings, revoked ones too, in the order of their ids."""
    return pages(Binding, "/v1/bindings", _given(status=status, subject=subject, limit="100"))


def update(
    binding_id: str,
    *,
    label: str | Kept | None = KEPT,
    subject: str | Kept | None = KEPT,
    scopes: Sequence[Scope] | Kept = KEPT,
    etag: str | None = None,
) -> Flow[Binding]:
    """Change what is given (None takes a text away); with `etag` only if it is still that, otherwise raise Conflict.

    Without an ETag it is not repeated once it was sent, as it could undo what somebody else changed meanwhile.
    """
    given = {"label": label, "subject": subject, "scopes": list(scopes) if isinstance(scopes, Sequence) else KEPT}
    body = {name: value for name, value in given.items() if value is not KEPT}
    return resource(Binding, Send("PATCH", _path(binding_id), headers=_given(If_Match=etag), json=body, safe=False))


def verify(binding_id: str, *, wait: int = 0) -> Flow[Binding]:
    """Have a binding verified anew; with `wait` return it as soon as the fresh verdict is in."""
    return resource(Binding, Send("POST", f"{_path(binding_id)}/verify", headers=_wait(wait)))


def revoke(binding_id: str) -> Flow[None]:
    """End a binding: on return nothing can be signed with its key any more and every version is destroyed."""
    yield from called(Send("DELETE", _path(binding_id)))


def balances(binding_id: str) -> Flow[Balances]:
    """Return a binding's balances, at most 30 s old."""
    return resource(Balances, Send("GET", f"{_path(binding_id)}/balances"))


def guide() -> Flow[ExchangeGuide]:
    """Return the guide to a Bitget key that works: steps, addresses, permissions, limits and the wrapping key."""
    return resource(ExchangeGuide, Send("GET", "/v1/exchanges/bitget"))


def audit(*, binding: str | None = None, since: str | None = None, until: str | None = None) -> Items[AuditEntry]:
    """Iterate over the tenant's own trail, the newest line first; times as in RFC 3339."""
    given = {"binding": binding, "from": since, "to": until, "limit": "100"}
    return pages(AuditEntry, "/v1/audit", {name: value for name, value in given.items() if value is not None})


def _document(credential: Credential | SealedCredential, plain: bool, fingerprint: str | None) -> Flow[dict[str, str]]:
    """Return the credential as it is sent."""
    if plain and (fingerprint or isinstance(credential, SealedCredential)):
        raise UnusableCredentialError("A credential is sent plain or sealed, not both.")
    if isinstance(credential, Credential) and not plain:
        credential = yield from seal(credential, fingerprint=fingerprint)
    return credential.document()


def _post(path: str, body: dict[str, Any], wait: int, key: str | None) -> Send:
    return Send("POST", path, headers={"Idempotency-Key": key or secrets.token_hex(16), **_wait(wait)}, json=body)


def _wait(seconds: int) -> dict[str, str]:
    return {"Prefer": f"wait={min(seconds, MAX_WAIT_S)}"} if seconds else {}


def _given(**values: str | None) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in values.items() if value is not None}


def _path(binding_id: str) -> str:
    return f"/v1/bindings/{quote(binding_id, safe='')}"
