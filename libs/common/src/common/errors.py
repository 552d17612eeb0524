"""Own the one error family that crosses function, process and network borders.

Each error has a stable `reason` for machines, a `detail` for people and never an input value. What is not in this
family is a bug: at every edge it becomes `Internal` and its text stays in our own log.
"""

from typing import ClassVar


class StrongroomError(Exception):
    """The base: raise a subclass. `extra` holds short public facts, such as the field or rule that refused."""

    kind: ClassVar[str] = "internal"
    default_reason: ClassVar[str] = "internal"
    default_detail: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, reason: str = "", detail: str = "", *, retry_after: float | None = None, **extra: str) -> None:
        self.reason = reason or self.default_reason
        self.detail = detail or self.default_detail
        self.retry_after = retry_after
        self.extra = extra
        super().__init__(self.reason)


class InvalidArgument(StrongroomError):
    """The request itself is wrong; `field` in `extra` names where."""

    kind = "invalid_argument"
    default_reason = "invalid_argument"
    default_detail = "The request is not valid."


class Unauthenticated(StrongroomError):
    """Who the caller is could not be proven."""

    kind = "unauthenticated"
    default_reason = "unauthenticated"
    default_detail = "A valid access token is required."


class PermissionDenied(StrongroomError):
    """The caller is known and may not do this."""

    kind = "permission_denied"
    default_reason = "permission_denied"
    default_detail = "This is not allowed."


class PolicyRefused(StrongroomError):
    """The signing policy does not allow the request; `rule` in `extra` names the rule."""

    kind = "policy_refused"
    default_reason = "policy_refused"
    default_detail = "The policy does not allow this exchange call."


class NotFound(StrongroomError):
    """There is no such thing for this tenant; foreign and random ids are told alike."""

    kind = "not_found"
    default_reason = "not_found"
    default_detail = "There is no binding with this id."


class AlreadyExists(StrongroomError):
    """The tenant already has it; `binding_id` in `extra` says which."""

    kind = "already_exists"
    default_reason = "already_bound"
    default_detail = "This API key is already bound."


class IdempotencyMismatch(StrongroomError):
    """The idempotency key was used before with another request."""

    kind = "idempotency_mismatch"
    default_reason = "idempotency_key_reused"
    default_detail = "This Idempotency-Key was used before with a different request."


class Aborted(StrongroomError):
    """The record changed meanwhile: read it again."""

    kind = "aborted"
    default_reason = "revision_changed"
    default_detail = "The binding changed meanwhile."


class BindingRevoked(StrongroomError):
    """The binding has ended: nothing is signed for it any more."""

    kind = "binding_revoked"
    default_reason = "binding_revoked"
    default_detail = "This binding has been revoked."


class Throttled(StrongroomError):
    """Too many requests; `retry_after` says when to come back."""

    kind = "throttled"
    default_reason = "too_many_requests"
    default_detail = "Too many requests."


class Unavailable(StrongroomError):
    """Something we depend on cannot be reached or cannot answer now; nothing was done, or it is safe to repeat."""

    kind = "unavailable"
    default_reason = "unavailable"
    default_detail = "The service is not available at the moment."


class DeadlineExceeded(StrongroomError):
    """The time for this call ran out; whether it had an effect is not known."""

    kind = "deadline_exceeded"
    default_reason = "deadline_exceeded"
    default_detail = "The time for this call ran out."


class Internal(StrongroomError):
    """A bug on our side; the request id leads to the log."""

    kind = "internal"


FAMILY: tuple[type[StrongroomError], ...] = (
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    PolicyRefused,
    NotFound,
    AlreadyExists,
    IdempotencyMismatch,
    Aborted,
    BindingRevoked,
    Throttled,
    Unavailable,
    DeadlineExceeded,
    Internal,
)
