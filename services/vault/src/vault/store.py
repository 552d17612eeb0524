"""Own the port to Vault: what can be asked of it, and the three answers a write can have.

Above this file nobody sees HTTP, a status or a foreign exception. A write whose fate is not known is `Unknown`, never
an error: whoever made it reads back and decides.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from common import logs
from common.errors import Internal, Unavailable

from vault.material import Material

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Collection = Literal["bindings", "credentials", "fp", "accounts", "webhooks"]
OwnCollection = Literal["counts", "days", "freezes", "heads", "holders", "revocations", "sealed", "tenants"]
RETRY_AFTER_S: Final = 2.0


class Why(Enum):
    """Why a write was not applied."""

    CONFLICT = "conflict"  # the check-and-set value is not the current version, or the key exists already
    MISSING = "missing"
    DENIED = "denied"
    INVALID = "invalid"
    UNREADABLE = "unreadable"  # a wrapped key that the server cannot decrypt
    UNAVAILABLE = "unavailable"  # it was not sent, or refused before any work


@dataclass(frozen=True, slots=True)
class Applied(Generic[T_co]):
    """The write is durable."""

    value: T_co


@dataclass(frozen=True, slots=True)
class NotApplied:
    """The write had no effect and will have none."""

    why: Why


@dataclass(frozen=True, slots=True)
class Unknown:
    """The write may have been applied, or may still be."""


Outcome = Applied[T] | NotApplied | Unknown


@dataclass(frozen=True, slots=True)
class Document:
    """The newest version of a document; `data` is None once that version is destroyed."""

    data: Mapping[str, Any] | None
    version: int


@dataclass(frozen=True, slots=True)
class WrappingKey:
    """The public key that secrets are encrypted to: PEM, and the SHA-256 of its DER (SubjectPublicKeyInfo) in hex."""

    pem: str
    fingerprint: str


class OtherKeyType(Internal):
    """A key is there, and it is of another type than the one to sign with."""

    default_reason = "other_key_type"


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature in standard base64, the version of the key that made it, and Vault's own id of the request."""

    value: str
    version: int
    request_id: str


@dataclass(frozen=True, slots=True)
class KeyState:
    """What Transit tells of a key: its type, which for RSA tells the size too, and its newest version."""

    transit_type: str
    latest: int


class Documents(Protocol):
    """A tenant's documents, reached with that tenant's own token. Reads raise Unavailable when Vault cannot answer."""

    async def read(self, tenant: str, collection: Collection, name: str) -> Document | None: ...

    async def write(
        self, tenant: str, collection: Collection, name: str, data: Mapping[str, Any], cas: int
    ) -> Outcome[int]: ...

    async def destroy(
        self, tenant: str, collection: Collection, name: str, *, keep_newest: bool = False
    ) -> Outcome[None]: ...

    async def names(self, tenant: str, collection: Collection) -> list[str]: ...


class OwnDocuments(Protocol):
    """The service's own documents, which no tenant's token opens.

    Who holds a key, which binding a ciphertext belongs to, how many bindings live, what was signed on a day, freezes,
    bulk revocations, heads of the audit, and the registry (read only).
    """

    async def read(self, collection: OwnCollection, name: str) -> Document | None: ...

    async def write(self, collection: OwnCollection, name: str, data: Mapping[str, Any], cas: int) -> Outcome[int]: ...

    async def names(self, collection: Literal["revocations"]) -> list[str]: ...


class Keys(Protocol):
    """A tenant's signing keys, and the service's keyed digest. Nothing here gives key material back."""

    async def import_key(self, tenant: str, binding: str, material: Material) -> Outcome[None]: ...

    async def exists(self, tenant: str, binding: str) -> bool: ...

    async def wrapping_key(self) -> WrappingKey: ...
    async def import_version(self, tenant: str, binding: str, material: Material) -> Outcome[None]: ...

    async def state(self, tenant: str, binding: str) -> KeyState | None: ...

    async def sign(
        self, tenant: str, binding: str, key_type: int, messages: Sequence[bytes], version: int
    ) -> list[Signature] | None: ...

    async def fence(self, tenant: str, binding: str, version: int) -> Outcome[None]: ...

    async def trim(self, tenant: str, binding: str, version: int) -> Outcome[None]: ...

    async def retire(self, tenant: str, binding: str) -> Outcome[None]: ...

    async def keyed(self, messages: Sequence[bytes]) -> list[str]: ...


class HeadKey(Protocol):
    """The service's own key for the heads of its audit trail."""

    async def sign_head(self, message: bytes) -> Signature: ...


class Directory(Protocol):
    """What exists, by name only, for every tenant: for the reconciler and for Names."""

    async def tenants(self) -> list[str]: ...

    async def names(self, tenant: str, collection: Collection) -> list[str]: ...

    async def keys(self) -> list[tuple[str, str]]: ...


def unavailable(reason: str = "vault_unavailable") -> Unavailable:
    """Return the error for a Vault that cannot be asked now."""
    return Unavailable(reason, "The key vault cannot answer at the moment.", retry_after=RETRY_AFTER_S)


def refused(why: Why) -> Unavailable | Internal:
    """Return the error for a write that Vault refused although it should not have."""
    if why is Why.UNAVAILABLE:
        return unavailable()
    logs.get().error("vault_refused", reason=why.value)
    return unavailable("vault_denied") if why is Why.DENIED else Internal("vault_refused")


def carried(stored: Mapping[str, Any], known: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return `new` with what a newer version has `stored` beside what this one has `known` of it.

    A part is known as a whole: one that is not changed stays as it was stored, one that is changed is as in `new`.
    """
    return {**new, **{name: part for name, part in stored.items() if new.get(name) == known.get(name)}}


async def put(
    documents: Documents, tenant: str, collection: Collection, name: str, data: Mapping[str, Any], *, cas: int
) -> int | None:
    """Write one version and be sure of it: return its number, or None when another version is there.

    An unknown fate is resolved by reading back; where that shows nothing yet, Unavailable says that a repeat is safe.
    """
    written = await documents.write(tenant, collection, name, data, cas)
    return await _sure(written, lambda: documents.read(tenant, collection, name), data, cas)


async def put_own(
    own: OwnDocuments, collection: OwnCollection, name: str, data: Mapping[str, Any], *, cas: int
) -> int | None:
    """Do as `put` does, with a document of the service's own."""
    written = await own.write(collection, name, data, cas)
    return await _sure(written, lambda: own.read(collection, name), data, cas)


async def _sure(
    written: Outcome[int], read: Callable[[], Awaitable[Document | None]], data: Mapping[str, Any], cas: int
) -> int | None:
    match written:
        case Applied(version):
            return version
        case NotApplied(Why.CONFLICT):
            return None
        case NotApplied(why):
            raise refused(why)
    found = await read()
    if found is None or found.version <= cas:
        raise unavailable()
    return found.version if found.version == cas + 1 and found.data == data else None
