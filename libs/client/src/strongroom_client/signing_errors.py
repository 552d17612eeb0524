"""Own what a gRPC status of the signing service is in this library's family of errors, as REST's problems are."""

from typing import Any, Final

import grpc
from google.rpc import error_details_pb2, status_pb2

from strongroom_client import errors

DETAILS: Final = "grpc-status-details-bin"
_BY_STATUS: Final[dict[str, type[errors.ApiError]]] = {
    "INVALID_ARGUMENT": errors.InvalidRequest,
    "UNAUTHENTICATED": errors.Unauthenticated,
    "PERMISSION_DENIED": errors.Forbidden,
    "NOT_FOUND": errors.NotFound,
    **dict.fromkeys(("ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"), errors.Conflict),
    "RESOURCE_EXHAUSTED": errors.Throttled,
    **dict.fromkeys(("UNAVAILABLE", "CANCELLED"), errors.Unavailable),
    "DEADLINE_EXCEEDED": errors.OutcomeUnknown,
}
_FACTS: Final = ("rule", "freeze_id", "binding_id")


def of_rpc(failure: grpc.aio.AioRpcError | None, *, sent: bool) -> errors.ApiError:
    """Return the error that a failed call is; without a word of ours a call that was `sent` may have been done."""
    raw = dict(failure.trailing_metadata() or ()).get(DETAILS) if failure is not None else None
    if failure is None or not isinstance(raw, bytes):
        return _bare(failure.code().name if failure is not None else "UNAVAILABLE", sent=sent)
    status, info, pause = status_pb2.Status.FromString(raw), error_details_pb2.ErrorInfo(), None
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            pause = retry.retry_delay.ToMilliseconds() / 1000
        detail.Unpack(info)
    return _made(failure.code().name, info.reason, status.message, retry_after=pause, **dict(info.metadata))


def of_refusal(refusal: Any) -> errors.ApiError:
    """Return the error of one request of a stream."""
    pause = float(refusal.retry_after_s) or None
    return _made(refusal.status, refusal.reason, refusal.message, retry_after=pause, rule=refusal.rule)


def _made(status: str, reason: str, detail: str, *, retry_after: float | None, **facts: str) -> errors.ApiError:
    kind = errors.PolicyRefused if reason == "policy_refused" else _BY_STATUS.get(status, errors.ApiError)
    known: dict[str, Any] = {name: facts[name] for name in _FACTS if name in facts}
    return kind(reason or status.lower(), detail, retry_after=retry_after, **known)


def _bare(status: str, *, sent: bool) -> errors.ApiError:
    """Return the error of a status that the transport made, which says nothing of what was done."""
    if sent and status in ("UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "UNKNOWN", "INTERNAL"):
        return errors.OutcomeUnknown(
            errors.OUTCOME_UNKNOWN, f"{status} after it was sent: it may have been done, or not."
        )
    if status == "DEADLINE_EXCEEDED":
        return errors.Unavailable(errors.UNREACHABLE, "The signing service did not answer in time.")
    if status == "INTERNAL":  # the service's own has details: grpc.aio lost the status of what ended while it wrote
        return errors.Unavailable(errors.UNREACHABLE, "The call ended while it was being sent: make it again.")
    return _made(status, errors.UNREACHABLE if status == "UNAVAILABLE" else "", "The call failed.", retry_after=None)
