"""Own the signing keys: Transit imports a secret, signs with it and destroys it, and never gives it back.

The secret leaves this process encrypted to Transit's public wrapping key. Nothing here can export or back up a key.
"""

import asyncio
import base64
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from common.errors import Internal
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from strongroom.types.v1.binding_pb2 import KEY_TYPE_RSA

from vault.hashicorp.exchange import Lost
from vault.hashicorp.http import Answer, VaultHttp, outcome, read
from vault.hashicorp.login import SERVICE, signer_role, tenant_role
from vault.material import Material
from vault.store import Applied, KeyState, NotApplied, OtherKeyType, Outcome, Signature, Why, WrappingKey, unavailable
from vault.wrapped import SealedSecret

TRANSIT: Final = "transit"
FINGERPRINT_KEY: Final = "strongroom-fingerprint"
CANARY_KEY: Final = "strongroom-canary"
AUDIT_KEY: Final = "strongroom-audit"
OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
# Without it Transit would sign by PSS, which Bitget refuses.
RSA_SIGNING: Final = {"signature_algorithm": "pkcs1v15", "prehashed": False}
# What the servers say, with a 500, of a wrapped key that they cannot decrypt, and of what is inside of one.
UNREADABLE: Final = ("decryption error", "kwp:", "unwrap", "ciphertext is too short", "ephemeral AES key", "base64")
NOT_A_KEY: Final = ("invalid key size", "invalid key type", "error parsing asymmetric key")
# What Transit says of a version that it refuses: of all messages at once, or for an RSA key of each one in a 200.
OTHER_VERSION: Final = "requested version for signing"
GONE: Final = ("not found", "no existing key", "could not be found")


def key_name(tenant: str, binding: str) -> str:
    """Return the name of a binding's key; both parts have a fixed length, so no name is another's prefix."""
    return f"{tenant}.{binding}"


class Transit:
    """The port's `Keys` on Vault."""

    def __init__(self, http: VaultHttp) -> None:
        self._http = http
        self._wrapping_key: rsa.RSAPublicKey | None = None
        self._soft_delete = True  # OpenBao has it; the first 404 or 405 tells that this server does not

    async def import_key(self, tenant: str, binding: str, material: Material) -> Outcome[None]:
        """Import `material` as a key that cannot be exported; CONFLICT when one is there.

        UNREADABLE and INVALID say that the server can make no key of it.
        """
        ciphertext = await self._wrapped(material)
        body = {"type": material.transit_type, "hash_function": "SHA256", "ciphertext": ciphertext}
        answer = await self._key_call(tenant, binding, "POST", "import", body=body)
        if isinstance(answer, Answer) and "existing key" in answer.errors:  # a 500 on OpenBao, a 400 elsewhere
            return NotApplied(Why.CONFLICT)
        result = _no_key(answer) or outcome(answer, None)
        if not isinstance(result, Applied):
            self._wrapping_key = None  # it may have been replaced with the server's storage
        return result

    async def exists(self, tenant: str, binding: str) -> bool:
        """Tell whether there is a key, of whatever type."""
        return await self.state(tenant, binding) is not None

    async def wrapping_key(self) -> WrappingKey:
        """Return the public key that secrets are encrypted to, as the server has it now."""
        self._wrapping_key = None
        return described(await self._public_key())

    async def import_version(self, tenant: str, binding: str, material: Material) -> Outcome[None]:
        """Import `material` as the next version of a key. Transit does not tell its number: `state` may show it.

        UNREADABLE and INVALID say that the server can make no version of it.
        """
        body = {"hash_function": "SHA256", "ciphertext": await self._wrapped(material)}
        answer = await self._key_call(tenant, binding, "POST", "import_version", body=body)
        result = _no_key(answer) or outcome(answer, None)
        if not isinstance(result, Applied):
            self._wrapping_key = None  # it may have been replaced with the server's storage
        return result

    async def state(self, tenant: str, binding: str) -> KeyState | None:
        """Return what is known of a key; None when there is none."""
        segments = (TRANSIT, "keys", key_name(tenant, binding))
        found = read(await self._http.call(tenant_role(tenant), "GET", *segments, pure=True))
        return KeyState(found.data["type"], int(found.data["latest_version"])) if found else None

    async def sign(
        self, tenant: str, binding: str, key_type: int, messages: Sequence[bytes], version: int
    ) -> list[Signature] | None:
        """Return the HMAC-SHA256 of each message, or its PKCS#1 v1.5 signature with SHA-256 by an RSA key.

        By that `version` of the key alone: the latest may be one that is still being verified. None when there is no
        key or version that may be used; raises OtherKeyType for an RSA signature by an HMAC key.
        """
        way, name, options = ("sign", "signature", RSA_SIGNING) if key_type == KEY_TYPE_RSA else ("hmac", "hmac", {})
        body = {"batch_input": _batch(messages), "key_version": version, **options}
        segments = (TRANSIT, way, key_name(tenant, binding), "sha2-256")
        answer = await self._http.call(signer_role(tenant), "POST", *segments, body=body, pure=True)
        if isinstance(answer, Answer) and answer.status == 400:
            if "does not support" in answer.errors:
                raise OtherKeyType()
            return None  # not found, soft-deleted, or another version than may be used
        found = read(answer)
        if found is None or _other_version(found):
            return None
        return _signatures(found, name, len(messages))

    async def fence(self, tenant: str, binding: str, version: int) -> Outcome[None]:
        """Have Transit itself refuse every version before `version`. A key that is gone needs no fence."""
        body = {"min_decryption_version": version, "min_encryption_version": version}
        answer = await self._key_call(tenant, binding, "POST", "config", body=body)
        return Applied(None) if _gone(answer) else outcome(answer, None)

    async def trim(self, tenant: str, binding: str, version: int) -> Outcome[None]:
        """Destroy the material of every version before `version`; they are fenced already."""
        answer = await self._key_call(tenant, binding, "POST", "trim", body={"min_available_version": version})
        return Applied(None) if _gone(answer) else outcome(answer, None)

    async def retire(self, tenant: str, binding: str) -> Outcome[None]:
        """Fence and delete the key: once applied, nothing can be signed with it any more."""
        if self._soft_delete:
            answer = await self._key_call(tenant, binding, "DELETE", "soft-delete")
            self._soft_delete = not (isinstance(answer, Answer) and answer.status in (404, 405))
        answer = await self._key_call(tenant, binding, "POST", "config", body={"deletion_allowed": True})
        if _gone(answer):
            return Applied(None)
        if isinstance(answer, Answer) and answer.ok:
            answer = await self._key_call(tenant, binding, "DELETE")
        return Applied(None) if _gone(answer) else outcome(answer, None)

    async def keyed(self, messages: Sequence[bytes]) -> list[str]:
        """Return the keyed digest of each message in hex, made with the service's own key."""
        segments = (TRANSIT, "hmac", FINGERPRINT_KEY, "sha2-256")
        body = {"batch_input": _batch(messages)}
        found = read(await self._http.call(SERVICE, "POST", *segments, body=body, pure=True))
        if found is None:
            raise Internal("fingerprint_key")
        signatures = _signatures(found, "hmac", len(messages))
        return [base64.b64decode(signature.value).hex() for signature in signatures]

    async def sign_head(self, message: bytes) -> Signature:
        """Return the ed25519 signature of the audit key; raise Unavailable when Vault does not give one."""
        body = {"input": base64.b64encode(message).decode()}
        found = read(await self._http.call(SERVICE, "POST", TRANSIT, "sign", AUDIT_KEY, body=body, pure=True))
        if found is None:
            raise Internal("audit_key")
        return _signature(found.data["signature"], found.request_id)

    async def canary(self) -> None:
        """Prove that Vault really works; raise Unavailable otherwise."""
        segments = (TRANSIT, "hmac", CANARY_KEY, "sha2-256")
        answer = await self._http.call(SERVICE, "POST", *segments, body={"input": "Y2FuYXJ5"})
        if read(answer) is None:
            raise unavailable()

    async def _key_call(
        self, tenant: str, binding: str, method: str, *rest: str, body: dict[str, Any] | None = None
    ) -> Answer | Lost:
        segments = (TRANSIT, "keys", key_name(tenant, binding), *rest)
        return await self._http.call(tenant_role(tenant), method, *segments, body=body)

    async def _wrapped(self, material: Material) -> str:
        if isinstance(material, SealedSecret):
            return base64.b64encode(material.content()).decode()
        return await asyncio.to_thread(_wrapped, await self._public_key(), material)

    async def _public_key(self) -> rsa.RSAPublicKey:
        if self._wrapping_key is None:
            found = read(await self._http.call(SERVICE, "GET", TRANSIT, "wrapping_key", pure=True))
            self._wrapping_key = public_key(found.data if found else None)
        return self._wrapping_key


def public_key(answer: Mapping[str, Any] | None) -> rsa.RSAPublicKey:
    """Return the wrapping key that a server's answer holds; raise Internal when it holds none."""
    key = serialization.load_pem_public_key(answer["public_key"].encode()) if answer else None
    if not isinstance(key, rsa.RSAPublicKey):
        raise Internal("wrapping_key")
    return key


def described(key: rsa.RSAPublicKey) -> WrappingKey:
    """Return a wrapping key as it is published, with the fingerprint of its DER form."""
    info, form = serialization.PublicFormat.SubjectPublicKeyInfo, serialization.Encoding
    fingerprint = hashlib.sha256(key.public_bytes(form.DER, info)).hexdigest()
    return WrappingKey(key.public_bytes(form.PEM, info).decode(), fingerprint)


def _wrapped(wrapping_key: rsa.RSAPublicKey, material: Material) -> str:
    """Encrypt `material` as Transit wants it: RSA-OAEP of a fresh AES key, then AES-KWP of the material."""
    key = os.urandom(32)
    wrapped = aes_key_wrap_with_padding(key, material.content())
    return base64.b64encode(wrapping_key.encrypt(key, OAEP) + wrapped).decode()


def _batch(messages: Sequence[bytes]) -> list[dict[str, str]]:
    """Return messages as Transit takes many at once; an item cannot choose how it is signed."""
    return [{"input": base64.b64encode(message).decode()} for message in messages]


def _signatures(answer: Answer, name: str, count: int) -> list[Signature]:
    """Return the signatures of a batch in its order; raise Internal unless each item has one: a 200 may hide errors."""
    results = answer.data["batch_results"]
    if len(results) != count or any(name not in result for result in results):
        raise Internal("signature_missing")
    return [_signature(result[name], answer.request_id) for result in results]


def _other_version(answer: Answer) -> bool:
    return any(OTHER_VERSION in result.get("error", "") for result in answer.data["batch_results"])


def _signature(text: str, request_id: str) -> Signature:
    vault, version, value = text.split(":", 2)
    if vault != "vault" or not version.startswith("v"):
        raise Internal("signature_format")
    return Signature(value, int(version[1:]), request_id)


def _no_key(answer: Answer | Lost) -> NotApplied | None:
    """Return why the server refused a wrapped key for what it is; it does so before it stores anything."""
    if isinstance(answer, Lost) or answer.status not in (400, 500):
        return None
    if any(words in answer.errors for words in NOT_A_KEY):
        return NotApplied(Why.INVALID)
    return NotApplied(Why.UNREADABLE) if any(words in answer.errors for words in UNREADABLE) else None


def _gone(answer: Answer | Lost) -> bool:
    if isinstance(answer, Lost):
        return False
    return answer.status == 404 or (answer.status == 400 and any(word in answer.errors for word in GONE))
