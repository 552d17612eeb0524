"""Own what this library raises: one family, made from the gateway's problem documents (RFC 9457).

A subclass exists where a caller acts differently. No error holds a token or a credential.
"""

from typing import Any, Final, TypeVar

import httpx

from strongroom_client.decode import read
from strongroom_client.resources import FieldFault, Finding

T = TypeVar("T")
UNREACHABLE: Final = "unreachable"
OUTCOME_UNKNOWN: Final = "outcome_unknown"


class StrongroomError(Exception):
    """Everything this library raises; its text is one line for people."""


class UnusableCredentialError(StrongroomError):
    """A credential or wrapping key that cannot be sealed; nothing was sent."""


class ApiError(StrongroomError):
    """What the gateway refused or could not do: `code` is stable, `request_id` is what to quote to its operator.

    `retry_after` are seconds, None when it told none; `idempotency_key` is the one that was sent with a POST.
    """

    def __init__(self, code: str, detail: str, *, status: int = 0, **facts: Any) -> None:
        super().__init__(code, detail)
        self.code, self.detail, self.status = code, detail, status
        self.title = str(facts.get("title", ""))
        self.request_id = str(facts.get("request_id", ""))
        self.errors: tuple[FieldFault, ...] = facts.get("errors", ())
        self.findings: tuple[Finding, ...] = facts.get("findings", ())
        self.reason, self.rule, self.freeze_id = (str(facts.get(name, "")) for name in ("reason", "rule", "freeze_id"))
        self.binding_id = str(facts.get("binding_id", ""))
        self.retry_after: float | None = facts.get("retry_after")
        self.idempotency_key: str | None = None

    def __str__(self) -> str:
        """Return the problem in one line."""
        fields = "".join(f"; {one.field}: {one.message} [{one.code}]" for one in self.errors)
        named = [f"{name} {getattr(self, name)}" for name in ("rule", "binding_id") if getattr(self, name)]
        asked = [f"request {self.request_id}"] if self.request_id else []
        facts = f" ({', '.join([*named, *asked])})" if named or asked else ""
        return f"{self.code}: {self.detail}{fields}{facts}"


class InvalidRequest(ApiError):
    """The request is wrong (400, 413, 415, 422); `errors` name its fields."""


class Unauthenticated(ApiError):
    """The access token is missing, expired or not valid (401)."""


class Forbidden(ApiError):
    """The token or the tenant may not do this (403)."""


class PolicyRefused(Forbidden):
    """The policy refused an exchange call: `rule` says which, `freeze_id` names a freeze. Nothing was sent."""


class NotFound(ApiError):
    """There is nothing, or it belongs to somebody else (404)."""


class Conflict(ApiError):
    """The state does not allow it (409, 412); for a key that is bound already `binding_id` says where."""


class Throttled(ApiError):
    """Too much was asked (429); nothing was done. `retry_after` says when to come again."""


class Unavailable(ApiError):
    """The service does not answer at the moment (502, 503, no connection). Repeat later."""


class OutcomeUnknown(ApiError):
    """It may have been done, or not (504, or a connection lost after a call that changes state was sent)."""


_BY_STATUS: Final[dict[int, type[ApiError]]] = {
    **dict.fromkeys((400, 408, 413, 415, 422, 431), InvalidRequest),
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    **dict.fromkeys((409, 412), Conflict),
    429: Throttled,
    **dict.fromkeys((502, 503), Unavailable),
    504: OutcomeUnknown,
}


def of(answer: httpx.Response) -> ApiError:
    """Return the error that an answer is: of its problem document, or of its status alone when there is none."""
    told = _document(answer)
    code, status = str(told.get("code", "")), answer.status_code
    made = PolicyRefused if code == "policy_refused" else _BY_STATUS.get(status, ApiError)
    if not code:
        return made(f"http_{status}", f"HTTP {status} without an explanation", status=status, retry_after=pause(answer))
    facts: dict[str, Any] = {name: told[name] for name in _TEXTS if isinstance(told.get(name), str)}
    facts |= {"errors": _many(FieldFault, told, "errors"), "findings": _many(Finding, told, "findings")}
    return made(code, str(told.get("detail", "")), status=status, retry_after=pause(answer), **facts)


_TEXTS: Final = ("title", "request_id", "reason", "rule", "freeze_id", "binding_id")


def pause(answer: httpx.Response) -> float | None:
    """Return the seconds of Retry-After; None without one (its form as a date is not used by the gateway)."""
    told = answer.headers.get("Retry-After", "")
    return float(told) if told.isascii() and told.isdecimal() else None


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        told = answer.json()
    except ValueError:
        return {}
    is_problem = answer.headers.get("content-type", "").startswith("application/problem+json")
    return told if is_problem and isinstance(told, dict) else {}


def _many(kind: type[T], told: dict[str, Any], name: str) -> tuple[T, ...]:
    """Return a list of facts; nothing of one in a shape that is not known, since the rest still helps."""
    try:
        return tuple(read(kind, one) for one in told.get(name, ()))
    except (ValueError, TypeError):
        return ()
