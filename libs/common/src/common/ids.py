"""Own the grammar of ids. Every path, key name and stream name is built from ids that passed here."""

import re
from typing import Final

from common.errors import InvalidArgument, NotFound

TENANT_ID: Final = re.compile(r"[a-z0-9]{26}")
BINDING_ID: Final = re.compile(r"[0-9a-f]{32}")
REQUEST_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}")


def tenant_id(value: str) -> str:
    """Return `value` if it is a tenant id of fixed length; raise InvalidArgument otherwise.

    The fixed length makes prefixes safe: no tenant's id can be the beginning of another's.
    """
    if not TENANT_ID.fullmatch(value):
        raise InvalidArgument("tenant_id", "The tenant id must be 26 characters of a-z and 0-9.", field="tenant_id")
    return value


def binding_id(value: str) -> str:
    """Return `value` if it is a binding id; raise NotFound otherwise, as for an id that does not exist."""
    if not BINDING_ID.fullmatch(value):
        raise NotFound()
    return value
