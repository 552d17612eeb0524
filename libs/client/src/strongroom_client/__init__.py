"""Strongroom's client library: bind keys, follow their status, use them without seeing them."""

from strongroom_client.client import AsyncStrongroom, Strongroom
from strongroom_client.credential import Credential, SealedCredential
from strongroom_client.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    OutcomeUnknown,
    PolicyRefused,
    StrongroomError,
    Throttled,
    Unauthenticated,
    Unavailable,
    UnusableCredentialError,
)
from strongroom_client.events import Reset
from strongroom_client.execution import Answer
from strongroom_client.resources import Binding, StatusEvent

__all__ = [
    "Answer", "ApiError", "AsyncStrongroom", "Binding", "Conflict", "Credential", "Forbidden", "InvalidRequest",
    "NotFound", "OutcomeUnknown", "PolicyRefused", "Reset", "SealedCredential", "StatusEvent", "Strongroom",
    "StrongroomError", "Throttled", "Unauthenticated", "Unavailable", "UnusableCredentialError",
]  # fmt: skip
