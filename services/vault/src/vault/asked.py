"""Own what a bind may ask for: a request becomes checked values with its secrets covered, or InvalidArgument.

A message names the field and the rule, never the value.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from common import ids
from common.errors import InvalidArgument
from common.secret import Secret
from strongroom.types.v1.binding_pb2 import (
    EXCHANGE_BITGET,
    KEY_TYPE_HMAC,
    KEY_TYPE_RSA,
    SCOPE_FUTURES,
    SCOPE_SPOT,
)
from strongroom.vault.v1.binding_store_pb2 import BindRequest, Credential, StageRequest

from vault.material import FIELD, PEM_MARK, HmacSecret, Material, rsa_private_key
from vault.wrapped import FINGERPRINT_FIELD, TYPES, SealedSecret, sealed_secret

VISIBLE: Final = re.compile(r"[\x21-\x7e]+")
FIELDS: Final = frozenset(["api_key", "secret_key", "passphrase"])
KEY_MARK: Final = "bg_"  # how every API key of Bitget begins
DER_BASE64: Final = re.compile(r"MII[A-Za-z0-9+/]{125,}={0,2}")  # how a key in DER begins, and its least length
SHORT_KEY: Final = 20  # of less, nine characters would show too much, were it a passphrase
SECRET_IN_PLACE: Final = frozenset(["secret_like_api_key", "secret_equals_api_key"])
LABEL: Final = 64
SUBJECT: Final = 128
SCOPES: Final = frozenset([SCOPE_SPOT, SCOPE_FUTURES])


@dataclass(frozen=True, slots=True)
class Asked:
    """One checked bind request."""

    binding_id: str
    exchange: int
    label: str
    subject: str
    scopes: tuple[int, ...]
    api_key: Secret
    material: Material
    passphrase: Secret
    whitespace_removed: tuple[str, ...]

    @property
    def sealed(self) -> SealedSecret | None:
        """The wrapped secret of a sealed bind, None in a plain one."""
        return self.material if isinstance(self.material, SealedSecret) else None

    def fingerprint_text(self) -> bytes:
        """Return what identifies the exchange key; only its keyed digest may be stored."""
        return f"api-key:{self.exchange}:{self.api_key.reveal()}".encode()

    def texts(self) -> list[bytes]:
        """Return what keyed digests are kept of: the request, the exchange key and the ciphertext of a sealed bind."""
        return [self.request_text(), self.fingerprint_text(), *([self.sealed.text()] if self.sealed else [])]

    def request_text(self) -> bytes:
        """Return everything asked in canonical form; only its keyed digest may be stored."""
        facts = {
            "exchange": self.exchange,
            "label": self.label,
            "subject": self.subject,
            "scopes": self.scopes,
            "key_type": self.material.key_type,
            "api_key": _digest(self.api_key.reveal().encode()),
            "secret_key": _digest(self.material.content()),
            "passphrase": _digest(self.passphrase.reveal().encode()),
            "whitespace_removed": self.whitespace_removed,
            **({"sealed": True} if self.sealed else {}),
        }
        return b"bind:" + json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()

    def clues(self) -> tuple[str, ...]:
        """Return what the shape of the pasted values suggests, sorted; it may explain a refusal and never makes one."""
        if not isinstance(self.material, HmacSecret):
            return ()
        api_key, secret = self.api_key.reveal(), self.material.text.reveal()
        seen = {
            "secret_like_api_key": secret.startswith(KEY_MARK) and not api_key.startswith(KEY_MARK),
            "secret_like_private_key": DER_BASE64.fullmatch(secret) is not None,
            "secret_equals_passphrase": secret == self.passphrase.reveal(),
            "secret_equals_api_key": secret == api_key,
        }
        return tuple(sorted(clue for clue, holds in seen.items() if holds))

    def hint(self) -> str:
        """Return the first five and last four characters of the API key; nothing of what may be the secret key."""
        plain = self.api_key.reveal()
        # A sealed secret cannot be compared, so what does not look like an API key may be the secret, swapped.
        foreign = len(plain) < SHORT_KEY or self.sealed or not SECRET_IN_PLACE.isdisjoint(self.clues())
        if foreign and not plain.startswith(KEY_MARK):
            return "…"
        return f"{plain[:5]}…{plain[-4:]}"


def binding_id(tenant: str, idempotency_key: str) -> str:
    """Return the id that a tenant's idempotency key leads to: 32 hex digits of a digest over both, length first."""
    digest = hashlib.sha256()
    for part in (tenant.encode(), idempotency_key.encode()):
        digest.update(len(part).to_bytes(4, "big") + part)
    return digest.hexdigest()[:32]


def derived_id(tenant: str, idempotency_key: str) -> str:
    """Return the id of whatever a tenant's idempotency key makes; raise InvalidArgument for what is none."""
    visible("idempotency_key", idempotency_key, 1, 255)
    return binding_id(tenant, idempotency_key)


def asked(tenant: str, request: BindRequest) -> Asked:
    """Return the checked request; raise InvalidArgument naming the first field that is wrong."""
    name = derived_id(tenant, request.idempotency_key)
    if request.exchange != EXCHANGE_BITGET:
        raise _wrong("exchange", "The exchange is not supported.")
    scopes = checked_scopes(request.scopes)
    if not set(request.whitespace_removed) <= FIELDS:
        raise _wrong("whitespace_removed", "Only fields of the credential can be named.")
    printable("label", request.label, LABEL)
    printable("subject", request.subject, SUBJECT)
    credential = _credential(request.credential)
    return Asked(
        name,
        request.exchange,
        request.label,
        request.subject,
        scopes,
        *credential,
        tuple(sorted(set(request.whitespace_removed))),
    )


def replacement(exchange: int, request: StageRequest) -> Asked:
    """Return the checked credential of a rotation, as one of its binding; raise InvalidArgument as `asked` does."""
    visible("idempotency_key", request.idempotency_key, 1, 255)
    if not set(request.whitespace_removed) <= FIELDS:
        raise _wrong("whitespace_removed", "Only fields of the credential can be named.")
    removed = tuple(sorted(set(request.whitespace_removed)))
    return Asked(ids.binding_id(request.binding_id), exchange, "", "", (), *_credential(request.credential), removed)


def checked_scopes(scopes: Iterable[int]) -> tuple[int, ...]:
    """Return what may be asked for, sorted and once; raise InvalidArgument."""
    wanted = set(scopes)
    if not wanted or not wanted <= SCOPES:
        raise _wrong("scopes", "Ask for spot, futures or both.")
    return tuple(sorted(wanted))


def _credential(credential: Credential) -> tuple[Secret, Material, Secret]:
    """Check the three parts and cover them."""
    visible("credential.api_key", credential.api_key, 8, 128)
    visible("credential.passphrase", credential.passphrase, 1, 64)
    return Secret(credential.api_key), _material(credential), Secret(credential.passphrase)


def _material(credential: Credential) -> Material:
    """Check the secret key, plain or wrapped, as what its type says. Transit takes HMAC keys from 32 bytes on."""
    if credential.wrapped_secret:
        return _sealed(credential)
    if credential.wrapping_key_fingerprint:
        raise InvalidArgument("not_sealed", "This belongs to a wrapped_secret.", field=FINGERPRINT_FIELD)
    if credential.key_type == KEY_TYPE_RSA:
        return rsa_private_key(credential.secret_key)
    if credential.key_type != KEY_TYPE_HMAC:
        raise _wrong("credential.key_type", "The key type must be hmac or rsa.")
    if PEM_MARK in credential.secret_key:  # its text as an HMAC key would sign, and never what Bitget expects
        raise InvalidArgument("pem_as_hmac", "This is a PEM: choose key_type rsa for an RSA key.", field=FIELD)
    visible(FIELD, credential.secret_key, 32, 512)
    return HmacSecret(Secret(credential.secret_key))


def _sealed(credential: Credential) -> SealedSecret:
    if credential.secret_key:
        raise InvalidArgument("secret_twice", "Send secret_key or wrapped_secret, not both.", field=FIELD)
    if credential.key_type not in TYPES:
        raise _wrong("credential.key_type", "The key type must be hmac or rsa.")
    return sealed_secret(credential.wrapped_secret, credential.key_type, credential.wrapping_key_fingerprint)


def visible(field: str, value: str, least: int, most: int) -> None:
    """Raise InvalidArgument unless `value` has `least` to `most` characters, all visible ASCII."""
    if not least <= len(value) <= most or not VISIBLE.fullmatch(value):
        raise _wrong(field, f"Must be {least} to {most} visible ASCII characters without spaces.")


def printable(field: str, value: str, most: int) -> None:
    """Raise InvalidArgument unless a value is at most that many printable characters."""
    if len(value) > most or not value.isprintable():
        raise _wrong(field, f"Must be at most {most} printable characters.")


def _wrong(field: str, detail: str) -> InvalidArgument:
    return InvalidArgument("invalid_field", detail, field=field)


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()
