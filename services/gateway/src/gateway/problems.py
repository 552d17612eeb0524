"""Own every error answer: RFC 9457 problems with a closed, documented list of codes.

A problem never holds a value that the caller sent, and nothing that an exception says about itself.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from common import context, errors
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

MEDIA_TYPE: Final = "application/problem+json"
URN: Final = "urn:strongroom:problem:"
# When the request at hand came (Unix ms) if an exchange's client makes it: its problems have the exchange's shape too.
proxied_at: ContextVar[int | None] = ContextVar("proxied_at", default=None)
EXCHANGES: Final = ("exchange_budget_spent", "market_budget_spent")
RETRY_AFTER_S: Final = 2.0  # what a client is told when the service that failed named no time

# code: (status, title, what the person is told unless the error knows better)
TYPES: Final[Mapping[str, tuple[int, str, str]]] = {
    "malformed_request": (400, "Malformed request", "The request is not well-formed HTTP."),
    "malformed_json": (400, "Malformed JSON", "The body is not one JSON value, or is nested too deeply."),
    "duplicate_key": (400, "Duplicate JSON name", "The body has an object with the same name twice."),
    "secret_in_query": (
        400,
        "Secret in the URL",
        "Credentials must never be part of a URL. Consider this one exposed.",
    ),
    "invalid_exchange_request": (
        400,
        "No request of the exchange",
        "The exchange has no such request, or it could be read in two ways. Nothing was sent.",
    ),
    "invalid_parameter": (400, "Invalid parameter", "A query parameter or header is not valid."),
    "unauthenticated": (401, "Not authenticated", "A valid access token is required."),
    "invalid_token": (401, "Invalid access token", "The access token is not valid."),
    "permission_denied": (403, "Not allowed", "This is not allowed."),
    "not_provisioned": (403, "Tenant unknown", "This tenant is not registered."),
    "tenant_disabled": (403, "Tenant disabled", "This tenant is disabled."),
    "insufficient_scope": (403, "Scope missing", "The access token lacks a scope."),
    "policy_refused": (403, "Refused by policy", "The policy does not allow this exchange call."),
    "not_found": (404, "Not found", "There is nothing here, or it is not yours."),
    "method_not_allowed": (405, "Method not allowed", "This resource does not know the method."),
    "request_timeout": (408, "Request too slow", "The body did not arrive in time."),
    "already_bound": (409, "Already bound", "This API key is already bound."),
    "binding_revoked": (409, "Binding revoked", "This binding has been revoked."),
    "binding_not_usable": (
        409,
        "Binding not usable",
        "This key has never worked: nothing is signed with it before it is connected.",
    ),
    "binding_not_connected": (409, "Binding not connected", "The exchange does not accept this key at the moment."),
    "revision_changed": (409, "Changed meanwhile", "The binding changed meanwhile: read it again."),
    "rotation_in_progress": (
        409,
        "Replacement under way",
        "Another replacement of this credential is being verified: wait for its end.",
    ),
    "account_mismatch": (
        409,
        "Another account",
        "The new key belongs to another account at the exchange. The old one stays in use.",
    ),
    "precondition_failed": (412, "Changed since", "The binding has changed since that ETag: read it again."),
    "body_too_large": (413, "Body too large", "The body is larger than 64 KiB."),
    "unsupported_media_type": (415, "Unsupported media type", "The body must be application/json in UTF-8."),
    "invalid_request": (422, "Invalid request", "Some fields are not valid."),
    "credential_rejected": (
        422,
        "New key refused",
        "The new key does not work as the old one does, as the findings say. The old one stays in use.",
    ),
    "idempotency_key_reused": (
        422,
        "Idempotency-Key reused",
        "This Idempotency-Key was used before with a different request.",
    ),
    "too_many_requests": (429, "Too many requests", "Too many requests."),
    "quota_exceeded": (429, "Quota exceeded", "This tenant has asked for more than it may."),
    "exchange_budget_spent": (429, "Exchange's limit reached", "The exchange takes no more now. Nothing was sent."),
    "market_budget_spent": (429, "Market data limited", "Too many public calls are made now. Nothing was sent."),
    "too_many_streams": (429, "Too many streams", "This tenant has as many event streams open as it may."),
    "headers_too_large": (431, "Headers too large", "The request line and headers are too large."),
    "internal": (500, "Internal error", "Something went wrong on our side."),
    "unavailable": (503, "Unavailable", "The service is not available at the moment."),
    "events_unavailable": (503, "Events unavailable", "Events are not available at the moment."),
    "balances_unavailable": (503, "Balances unavailable", "The exchange cannot be asked for balances at the moment."),
    "exchange_unavailable": (503, "Exchange unavailable", "The exchange cannot be reached. It is safe to repeat."),
    "not_sent": (503, "Not sent", "There was no time left to send the request. Nothing was sent."),
    "outcome_unknown": (
        504,
        "Outcome unknown",
        "The request may have been carried out or not. Ask for its orders before you send it again.",
    ),
    "deadline_exceeded": (
        504,
        "Timed out",
        "The time for this call ran out; it may have had an effect. Repeat it with the same Idempotency-Key.",
    ),
}

_BY_KIND: Final = {
    "invalid_argument": "invalid_request",
    "unauthenticated": "unauthenticated",
    "permission_denied": "permission_denied",
    "policy_refused": "policy_refused",
    "not_found": "not_found",
    "already_exists": "already_bound",
    "idempotency_mismatch": "idempotency_key_reused",
    "aborted": "revision_changed",
    "binding_revoked": "binding_revoked",
    "throttled": "too_many_requests",
    "unavailable": "unavailable",
    "deadline_exceeded": "deadline_exceeded",
}
# The public facts of an error that its problem shows.
_EXTRA: Final = ("rule", "freeze_id", "binding_id", "client_order_ids")


class FieldFault(BaseModel):
    """One field that is wrong."""

    field: str = Field(description="Where, for example `credential.secret_key`.")
    code: str
    message: str


class ProblemBody(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem")

    type: str = Field(description=f"`{URN}<code>`")
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": list(TYPES)})
    request_id: str = Field(description="Quote it when you ask us; it is also in `X-Request-Id`.")
    errors: list[FieldFault] = Field(default=[], description="Which fields are wrong; never their values.")
    rule: str = Field(default="", description="The policy rule that refused.")
    freeze_id: str = Field(default="", description="The freeze that refused, with the rule `frozen`.")
    reason: str = Field(default="", description="Why a new credential was refused, as a binding's `reason`.")
    findings: list[dict[str, Any]] = Field(
        default=[], json_schema_extra={"items": {"$ref": "#/components/schemas/Finding"}}, description="What to do."
    )
    binding_id: str = Field(default="", description="The binding that exists already.")
    client_order_ids: str = Field(default="", description="The orders to ask for, with commas between.")
    msg: str = Field(default="", description="The detail again, where the exchange's clients look; on the proxy alone.")


@dataclass
class Problem(Exception):
    """An error answer on its way out: a code of TYPES, what to tell, and headers that belong to it."""

    code: str
    detail: str = ""
    errors: Sequence[FieldFault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def of(error: errors.StrongroomError) -> Problem:
    """Return the problem of a member of our error family."""
    usual = _BY_KIND.get(error.kind, "internal")
    if error.reason == "caller_not_allowed":
        usual = "internal"  # it is the gateway that may not, not its caller
    code = error.reason if TYPES.get(error.reason, (0,))[0] == TYPES[usual][0] else usual
    if code in ("not_found", "internal"):
        return Problem(code)  # one text for all: a foreign id must not differ from a random one in anything
    faults = []
    if code == "invalid_request":
        faults = [FieldFault(field=error.extra.get("field", ""), code=error.reason, message=error.detail)]
    detail = TYPES[code][2] if faults else error.detail
    extra: dict[str, str] = {name: error.extra[name] for name in _EXTRA if name in error.extra}
    return Problem(code, detail, faults, _headers(code, error), extra)


def _headers(code: str, error: errors.StrongroomError) -> dict[str, str]:
    status = TYPES[code][0]
    if status == 401:
        return {"WWW-Authenticate": 'Bearer error="invalid_token"' if code == "invalid_token" else "Bearer"}
    if code == "insufficient_scope":
        return {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{error.extra.get("scope", "")}"'}
    if error.retry_after is None and status not in (429, 503):
        return {}
    seconds = str(max(1, math.ceil(error.retry_after or RETRY_AFTER_S)))
    # The tenant's own rate may be far from spent: this says whose limit is.
    spent = {"RateLimit": f'"exchange";r=0;t={seconds}'} if code in EXCHANGES else {}
    return {"Retry-After": seconds, **spent}


def body(problem: Problem, request_id: str) -> bytes:
    """Return the problem document of one request."""
    status, title, usual = TYPES[problem.code]
    document: dict[str, Any] = {
        "type": URN + problem.code,
        "title": title,
        "status": status,
        "detail": problem.detail or usual,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.errors:
        document["errors"] = [fault.model_dump() for fault in problem.errors]
    moment = proxied_at.get()
    if moment is not None:
        document |= {"msg": document["detail"], "requestTime": moment, "data": None}
    return json.dumps(document | dict(problem.extra)).encode()


def response(problem: Problem) -> Response:
    """Return the HTTP answer of a problem for the request at hand."""
    request = context.current.get()
    content = body(problem, request.request_id if request else "")
    source = {} if proxied_at.get() is None else {"Strongroom-Source": "strongroom"}
    return Response(content, TYPES[problem.code][0], {**problem.headers, **source}, MEDIA_TYPE)
