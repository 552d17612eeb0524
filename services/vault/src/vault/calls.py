"""Own the list of what Vault was asked for one action: its own ids of the requests, noted as the answers come."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

LIMIT: Final = 64  # of one action; what retries for ever has told enough by then
_noted: ContextVar[list[str] | None] = ContextVar("vault_request_ids", default=None)


def note(request_id: str) -> None:
    """Add the id of an answered request to the action at hand, if there is one."""
    noted = _noted.get()
    if noted is not None and request_id and len(noted) < LIMIT:
        noted.append(request_id)


@contextmanager
def noted() -> Iterator[list[str]]:
    """Yield the list that is filled within the block, by this task and those that it starts."""
    before, ids = _noted.get(), list[str]()
    _noted.set(ids)
    try:
        yield ids
    finally:
        _noted.set(before)
