"""Own the one table between the error family and gRPC, both ways. The only file that names StatusCode."""

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from common import errors

DOMAIN: Final = "strongroom"
DETAILS_KEY: Final = "grpc-status-details-bin"

CODES: Final[dict[type[errors.StrongroomError], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.PolicyRefused: grpc.StatusCode.PERMISSION_DENIED,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.IdempotencyMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Aborted: grpc.StatusCode.ABORTED,
    errors.BindingRevoked: grpc.StatusCode.FAILED_PRECONDITION,
    errors.Throttled: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_BY_KIND: Final = {family.kind: family for family in errors.FAMILY}
# What a status without our own details means, for example one made by the transport.
_BARE: Final[dict[grpc.StatusCode, type[errors.StrongroomError]]] = {
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.CANCELLED: errors.Unavailable,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.Throttled,
}


def to_rpc(error: errors.StrongroomError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """Return status code, public text and trailing metadata (google.rpc.Status with ErrorInfo and RetryInfo)."""
    code = CODES[type(error)]
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata={**error.extra, "kind": error.kind})
    details = [_packed(info)]
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(_packed(retry))
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=error.detail, details=details)
    return code, error.detail, ((DETAILS_KEY, status.SerializeToString()),)


def from_rpc(failure: grpc.aio.AioRpcError) -> errors.StrongroomError:
    """Return the family member that the other side raised, or the nearest one for a bare status."""
    raw = dict(failure.trailing_metadata() or ()).get(DETAILS_KEY)
    if not isinstance(raw, bytes):
        return _BARE.get(failure.code(), errors.Internal)()
    status = status_pb2.Status.FromString(raw)
    info, retry_after = error_details_pb2.ErrorInfo(), None
    for detail in status.details:
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
        detail.Unpack(info)
    extra = dict(info.metadata)
    family = _BY_KIND.get(extra.pop("kind", ""), errors.Internal)
    return family(info.reason, status.message, retry_after=retry_after, **extra)


def _packed(message: error_details_pb2.ErrorInfo | error_details_pb2.RetryInfo) -> any_pb2.Any:
    box = any_pb2.Any()
    box.Pack(message)
    return box
