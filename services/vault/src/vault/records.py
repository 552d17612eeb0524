"""Own the form of a record: a Binding as JSON with what only this service needs, changed by check-and-set alone.

A slot without a binding may hold a sweeper's mark: while it says `sweeping`, nobody may bind under that id. Or it is
kept for the ciphertext of a sealed bind.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from common.errors import NotFound
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp
from strongroom.types.v1.binding_pb2 import STATUS_REVOKED, Binding, Environment, Exchange, KeyType, Scope, Status

from vault.store import Documents, carried, put, unavailable

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KNOWN: Final = frozenset(("binding", "fingerprint", "request_digest", "rotations"))
DEMO: Final = Environment.Name(Environment.ENVIRONMENT_DEMO)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A rotation that was asked for: the digests of its Idempotency-Key, its request and its exchange key.

    `version` is 0 until the credential is stored; `reason` says why it was given up, else it is empty.
    """

    key: str
    digest: str
    fingerprint: str
    version: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A binding, the keyed digests of its exchange key and of the request that made it. Contains no secret.

    `staged` is the rotation under way, `past` those that have ended, the last ones. `left` is not None while an ended
    one has still to be tidied, and names the exchange keys that the binding holds no more. `stored` is what was read,
    if a newer version of this service has written what this one does not know: it is carried on.
    """

    binding: Binding
    fingerprint: str
    request_digest: str
    staged: Attempt | None = None
    past: tuple[Attempt, ...] = ()
    left: tuple[str, ...] | None = None
    stored: Mapping[str, Any] | None = None

    @property
    def revoked(self) -> bool:
        """Whether the binding has ended."""
        return self.binding.verdict.status == STATUS_REVOKED

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """The exchange keys that the binding holds: that in use, and the one that is to replace it."""
        return (self.fingerprint, self.staged.fingerprint) if self.staged else (self.fingerprint,)

    def attempt(self, key: str) -> Attempt | None:
        """Return the rotation that was asked for with the Idempotency-Key of this digest, if it is remembered."""
        known = (*self.past, self.staged) if self.staged else self.past
        return next((one for one in known if one.key == key), None)


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one id: its record if there is one, its version, and whether a sweeper works on it.

    `sealed` is the keyed digest of the ciphertext that an unfinished sealed bind has claimed it for.
    """

    record: Record | None
    version: int
    sweeping: bool = False
    sealed: str = ""


@dataclass(frozen=True, slots=True)
class Head:
    """What signing needs of a record; `demo` says that the key was proven to be of the demo environment."""

    key_type: int
    credential_version: int
    subject: str
    exchange: int
    staged_version: int
    fingerprints: tuple[str, ...]
    status: int
    scopes: frozenset[int]
    demo: bool

    @property
    def revoked(self) -> bool:
        """Whether the binding has ended."""
        return self.status == STATUS_REVOKED


class Records:
    """Read and write the records of any tenant."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def slot(self, tenant: str, binding_id: str) -> Slot:
        """Return what is at `binding_id`, which may be nothing (version 0)."""
        found = await self._documents.read(tenant, "bindings", binding_id)
        if found is None or found.data is None:
            return Slot(None, found.version if found else 0)
        if "binding" not in found.data:
            return Slot(None, found.version, bool(found.data["sweeping"]), found.data.get("sealed", ""))
        return Slot(_record(dict(found.data), found.version), found.version)

    async def load(self, tenant: str, binding_id: str) -> Record:
        """Return the record; raise NotFound when there is none."""
        record = (await self.slot(tenant, binding_id)).record
        if record is None:
            raise NotFound()
        return record

    async def head(self, tenant: str, binding_id: str) -> Head:
        """Return what signing needs, without making a message of all the rest; raise NotFound without a record."""
        found = await self._documents.read(tenant, "bindings", binding_id)
        if found is None or found.data is None or "binding" not in found.data:
            raise NotFound()
        binding = found.data["binding"]
        credential, status = binding["credential"], Status.Value(binding["verdict"]["status"])
        staged = found.data.get("rotations", {}).get("staged") or {}
        fingerprints = (found.data["fingerprint"], staged["fingerprint"]) if staged else (found.data["fingerprint"],)
        return Head(
            KeyType.Value(credential["key_type"]),
            credential["version"],
            binding.get("subject", ""),
            Exchange.Value(binding["exchange"]),
            staged.get("version", 0),
            fingerprints,
            status,
            frozenset(map(Scope.Value, binding.get("scopes", ()))),
            binding["verdict"].get("environment") == DEMO,
        )

    async def save(self, record: Record, cas: int) -> Record | None:
        """Write `record` as version `cas` + 1 and return it so; None when the record changed meanwhile."""
        binding = Binding()
        binding.CopyFrom(record.binding)
        binding.revision = cas + 1
        record = replace(record, binding=binding)
        data = _document(record)
        if record.stored is not None:
            data = _carried(record.stored, data, cas)
        version = await put(self._documents, binding.tenant_id, "bindings", binding.id, data, cas=cas)
        return None if version is None else record

    async def mark(self, tenant: str, binding_id: str, *, sweeping: bool, cas: int) -> int:
        """Mark an id that has no record as being swept, or as swept; raise Unavailable when someone was faster."""
        version = await put(self._documents, tenant, "bindings", binding_id, {"sweeping": sweeping}, cas=cas)
        if version is None:
            raise unavailable("slot_taken")
        return version

    async def seal(self, tenant: str, binding_id: str, digest: str, *, cas: int) -> Slot:
        """Keep an id that has no record for one ciphertext; raise Unavailable when someone else was faster."""
        data = {"sweeping": False, "sealed": digest}
        version = await put(self._documents, tenant, "bindings", binding_id, data, cas=cas)
        if version is not None:
            return Slot(None, version, sealed=digest)
        found = await self.slot(tenant, binding_id)
        if found.record:  # the same bind, made at the same time: what is left of this one may not write over it
            return Slot(None, cas, sealed=digest)
        if found.sealed != digest:
            raise unavailable("slot_taken")
        return found


def _document(record: Record) -> dict[str, Any]:
    data: dict[str, Any] = {
        "binding": json_format.MessageToDict(record.binding, preserving_proto_field_name=True),
        "fingerprint": record.fingerprint,
        "request_digest": record.request_digest,
    }
    if record.staged or record.past or record.left is not None:
        data["rotations"] = {
            "staged": asdict(record.staged) if record.staged else None,
            "past": [asdict(one) for one in record.past],
            "left": None if record.left is None else list(record.left),
        }
    return data


def _record(data: dict[str, Any], version: int) -> Record:
    binding, known = _binding(data["binding"])
    binding.revision = version
    staged, past, left = map(data.get("rotations", {}).get, ("staged", "past", "left"))
    return Record(
        binding,
        data["fingerprint"],
        data["request_digest"],
        _attempt(staged) if staged else None,
        tuple(map(_attempt, past or ())),
        None if left is None else tuple(left),
        None if known and not data.keys() - KNOWN else data,
    )


def _binding(stored: Mapping[str, Any]) -> tuple[Binding, bool]:
    """Return a stored binding as far as this version knows it, and whether that is all of it."""
    try:
        return _quickly(stored), True
    except (KeyError, TypeError, ValueError):  # of a rotation, or written by a newer version of this service
        pass
    try:
        return json_format.ParseDict(dict(stored), Binding()), True
    except json_format.ParseError:
        return json_format.ParseDict(dict(stored), Binding(), ignore_unknown_fields=True), False


def _attempt(data: Mapping[str, Any]) -> Attempt:
    return Attempt(**{one.name: data[one.name] for one in fields(Attempt) if one.name in data})


def _carried(stored: Mapping[str, Any], data: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Return a document with what this version did not know of the one of `version` that was `stored` before it."""
    known = _document(_record(dict(stored), version))
    return carried(stored, known, data) | {"binding": carried(stored["binding"], known["binding"], data["binding"])}


def _quickly(stored: Mapping[str, Any]) -> Binding:
    """Return a binding of known form, in a tenth of json_format's time: times are its only texts that are no texts."""
    credential = {**stored["credential"], "stored_at": _time(stored["credential"]["stored_at"])}
    times = {name: _time(stored[name]) for name in ("created_at", "updated_at")}
    return Binding(**{**stored, **times, "credential": credential})


def _time(text: str) -> Timestamp:
    """Return the time of an RFC 3339 text of UTC, as json_format writes it; its own reading takes ten times as long."""
    since = datetime.fromisoformat(text) - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
