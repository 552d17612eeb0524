"""One contract for the port, on an in-memory twin and on a real server: whatever passes here may stand behind it."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from common.secret import Secret
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_private_key
from strongroom.types.v1.binding_pb2 import KEY_TYPE_HMAC, KEY_TYPE_RSA
from vault.material import HmacSecret, Material, RsaPrivateKey, rsa_private_key
from vault.store import (
    Applied,
    Collection,
    Document,
    Documents,
    Keys,
    KeyState,
    NotApplied,
    OtherKeyType,
    Outcome,
    Signature,
    Unknown,
    Why,
)

A, B = "a" * 32, "b" * 32
MATERIAL = "0123456789abcdef0123456789abcdef"
MESSAGES = (b"", b"message", "龙虾".encode(), bytes(range(256)))


class MemoryDocuments:
    """The twin of KV v2."""

    def __init__(self) -> None:
        self._versions: dict[tuple[str, str, str], list[Mapping[str, Any] | None]] = {}

    async def read(self, tenant: str, collection: Collection, name: str) -> Document | None:
        versions = self._versions.get((tenant, collection, name))
        return Document(versions[-1], len(versions)) if versions else None

    async def write(
        self, tenant: str, collection: Collection, name: str, data: Mapping[str, Any], cas: int
    ) -> Outcome[int]:
        versions = self._versions.setdefault((tenant, collection, name), [])
        if len(versions) != cas:
            return NotApplied(Why.CONFLICT)
        versions.append(dict(data))
        return Applied(len(versions))

    async def destroy(
        self, tenant: str, collection: Collection, name: str, *, keep_newest: bool = False
    ) -> Outcome[None]:
        versions = self._versions.get((tenant, collection, name), [])
        left = versions[-1:] if keep_newest else []
        versions[:] = [None] * (len(versions) - len(left)) + left
        return Applied(None)

    async def names(self, tenant: str, collection: Collection) -> list[str]:
        return sorted(name for owner, kind, name in self._versions if (owner, kind) == (tenant, collection))


class MemoryKeys:
    """The twin of Transit."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str], list[Material]] = {}
        self._least: dict[tuple[str, str], int] = {}

    async def import_key(self, tenant: str, binding: str, material: Material) -> Outcome[None]:
        if isinstance(material, HmacSecret) and not 32 <= len(material.text) <= 512:
            return NotApplied(Why.INVALID)
        if (tenant, binding) in self._keys:
            return NotApplied(Why.CONFLICT)
        self._keys[tenant, binding] = [material]
        return Applied(None)

    async def exists(self, tenant: str, binding: str) -> bool:
        return (tenant, binding) in self._keys

    async def import_version(self, tenant: str, binding: str, material: Material) -> Outcome[None]:
        versions = self._keys.get((tenant, binding))
        if versions is None:
            return Unknown()  # a real server answers 500
        if versions[0].transit_type != material.transit_type:
            return NotApplied(Why.INVALID)
        versions.append(material)
        return Applied(None)

    async def state(self, tenant: str, binding: str) -> KeyState | None:
        versions = self._keys.get((tenant, binding))
        return KeyState(versions[0].transit_type, len(versions)) if versions else None

    async def fence(self, tenant: str, binding: str, version: int) -> Outcome[None]:
        self._least[tenant, binding] = version
        return Applied(None)

    async def trim(self, tenant: str, binding: str, version: int) -> Outcome[None]:
        return Applied(None)

    async def sign(
        self, tenant: str, binding: str, key_type: int, messages: Sequence[bytes], version: int
    ) -> list[Signature] | None:
        versions = self._keys.get((tenant, binding), [])
        if not self._least.get((tenant, binding), 1) <= version <= len(versions):
            return None
        key = versions[version - 1]
        if key_type == KEY_TYPE_HMAC:  # as Transit does: it keeps an HMAC key beside each RSA key
            return [Signature(_mac(key.content(), message), version, "request") for message in messages]
        if not isinstance(key, RsaPrivateKey):
            raise OtherKeyType()
        return [Signature(_signed(key, message), version, "request") for message in messages]

    async def retire(self, tenant: str, binding: str) -> Outcome[None]:
        self._keys.pop((tenant, binding), None)
        return Applied(None)

    async def keyed(self, messages: Any) -> list[str]:
        return [hashlib.sha256(b"key" + message).hexdigest() for message in messages]


@dataclass
class Ports:
    documents: Documents
    keys: Keys


@pytest.fixture(params=["memory", "vault"])
def ports(request: pytest.FixtureRequest, parts: Any) -> Ports:
    if request.param == "memory":
        return Ports(MemoryDocuments(), MemoryKeys())
    return Ports(parts.documents, parts.keys)


def _mac(key: bytes, message: bytes) -> str:
    return base64.b64encode(hmac.digest(key, message, "sha256")).decode()


def _signed(key: RsaPrivateKey, message: bytes) -> str:
    private: Any = load_der_private_key(key.content(), None)
    return base64.b64encode(private.sign(message, PKCS1v15(), SHA256())).decode()


def _hmac(text: str) -> HmacSecret:
    return HmacSecret(Secret(text))


async def test_what_was_never_written_reads_as_nothing(ports: Ports, tenant: str) -> None:
    assert await ports.documents.read(tenant, "bindings", A) is None
    assert await ports.documents.names(tenant, "bindings") == []


async def test_a_first_write_needs_zero_and_each_next_the_current_version(ports: Ports, tenant: str) -> None:
    write = ports.documents.write
    assert await write(tenant, "bindings", A, {"n": 1}, 1) == NotApplied(Why.CONFLICT)
    assert await write(tenant, "bindings", A, {"n": 1}, 0) == Applied(1)
    assert await write(tenant, "bindings", A, {"n": 2}, 0) == NotApplied(Why.CONFLICT)
    assert await write(tenant, "bindings", A, {"n": 2, "deep": {"list": [1, "é"]}}, 1) == Applied(2)
    assert await ports.documents.read(tenant, "bindings", A) == Document({"n": 2, "deep": {"list": [1, "é"]}}, 2)


async def test_of_sixty_writers_at_once_one_wins(ports: Ports, tenant: str) -> None:
    writes = (ports.documents.write(tenant, "fp", A, {"n": number}, 0) for number in range(60))
    outcomes = await asyncio.gather(*writes)
    assert outcomes.count(Applied(1)) == 1
    assert outcomes.count(NotApplied(Why.CONFLICT)) == 59


async def test_destroying_takes_every_version_and_keeps_the_count(ports: Ports, tenant: str) -> None:
    documents = ports.documents
    assert await documents.destroy(tenant, "credentials", A) == Applied(None)
    for cas in range(3):
        assert await documents.write(tenant, "credentials", A, {"n": cas}, cas) == Applied(cas + 1)
    assert await documents.destroy(tenant, "credentials", A) == Applied(None)
    assert await documents.destroy(tenant, "credentials", A) == Applied(None)
    assert await documents.read(tenant, "credentials", A) == Document(None, 3)
    assert await documents.write(tenant, "credentials", A, {"n": 3}, 0) == NotApplied(Why.CONFLICT)
    assert await documents.write(tenant, "credentials", A, {"n": 3}, 3) == Applied(4)


async def test_destroying_all_but_the_newest_keeps_that_one(ports: Ports, tenant: str) -> None:
    documents = ports.documents
    for cas in range(3):
        await documents.write(tenant, "credentials", A, {"n": cas}, cas)
    assert await documents.destroy(tenant, "credentials", A, keep_newest=True) == Applied(None)
    assert await documents.destroy(tenant, "credentials", A, keep_newest=True) == Applied(None)
    assert await documents.read(tenant, "credentials", A) == Document({"n": 2}, 3)


async def test_names_are_sorted_and_those_of_one_tenant_and_collection(ports: Ports, tenant: str, server: Any) -> None:
    other = server.tenant()
    for owner, name in ((tenant, B), (tenant, A), (other, "c" * 32)):
        await ports.documents.write(owner, "bindings", name, {}, 0)
    await ports.documents.write(tenant, "fp", "d" * 64, {}, 0)
    assert await ports.documents.names(tenant, "bindings") == [A, B]


async def test_an_imported_key_signs_as_its_material_does_and_cannot_be_replaced(ports: Ports, tenant: str) -> None:
    keys = ports.keys
    material = _hmac(MATERIAL)
    assert await keys.sign(tenant, A, KEY_TYPE_HMAC, [b"message"], 1) is None
    assert await keys.import_key(tenant, A, material) == Applied(None)
    assert await keys.import_key(tenant, A, _hmac("x" * 64)) == NotApplied(Why.CONFLICT)
    signatures = await keys.sign(tenant, A, KEY_TYPE_HMAC, MESSAGES, 1)
    assert signatures is not None
    for message, signature in zip(MESSAGES, signatures, strict=True):
        assert (signature.value, signature.version) == (_mac(MATERIAL.encode(), message), 1)
        assert material.made(signature.value, message)
        assert not material.made(signature.value, message + b"!")


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
async def test_an_imported_rsa_key_signs_by_pkcs1_and_cannot_be_replaced(
    ports: Ports, tenant: str, rsa_key: Any, pem: Callable[..., str], bits: int
) -> None:
    keys, material = ports.keys, rsa_private_key(pem(rsa_key(bits)))
    assert await keys.sign(tenant, A, KEY_TYPE_RSA, [b"message"], 1) is None
    assert await keys.import_key(tenant, A, material) == Applied(None)
    assert await keys.import_key(tenant, A, _hmac(MATERIAL)) == NotApplied(Why.CONFLICT)
    signatures = await keys.sign(tenant, A, KEY_TYPE_RSA, MESSAGES, 1)
    assert signatures is not None
    for message, signature in zip(MESSAGES, signatures, strict=True):
        assert (signature.value, signature.version) == (_signed(material, message), 1)
        assert material.made(signature.value, message)
        assert not material.made(signature.value, message + b"!")
    assert await keys.retire(tenant, A) == Applied(None)
    assert await keys.sign(tenant, A, KEY_TYPE_RSA, [b"message"], 1) is None


async def test_the_type_of_a_key_decides_what_it_signs(
    ports: Ports, tenant: str, rsa_key: Any, pem: Callable[..., str]
) -> None:
    keys, material = ports.keys, rsa_private_key(pem(rsa_key(2048)))
    await keys.import_key(tenant, A, _hmac(MATERIAL))
    with pytest.raises(OtherKeyType):
        await keys.sign(tenant, A, KEY_TYPE_RSA, [b"message"], 1)
    await keys.import_key(tenant, B, material)
    signatures = await keys.sign(tenant, B, KEY_TYPE_HMAC, [b"message"], 1)
    assert signatures is not None
    assert not material.made(signatures[0].value, b"message")
    assert not _hmac(MATERIAL).made(signatures[0].value, b"message")


@pytest.mark.parametrize(("length", "taken"), [(31, False), (32, True), (512, True), (513, False)])
async def test_an_hmac_secret_must_have_32_to_512_bytes(ports: Ports, tenant: str, length: int, taken: bool) -> None:
    outcome = await ports.keys.import_key(tenant, A, _hmac("k" * length))
    assert outcome == (Applied(None) if taken else NotApplied(Why.INVALID))
    assert await ports.keys.exists(tenant, A) is taken
    assert (await ports.keys.sign(tenant, A, KEY_TYPE_HMAC, [b"x"], 1) is not None) is taken


async def test_a_retired_key_signs_nothing_and_retiring_can_be_repeated(ports: Ports, tenant: str) -> None:
    assert await ports.keys.retire(tenant, A) == Applied(None)
    await ports.keys.import_key(tenant, A, _hmac(MATERIAL))
    assert await ports.keys.retire(tenant, A) == Applied(None)
    assert await ports.keys.retire(tenant, A) == Applied(None)
    assert await ports.keys.sign(tenant, A, KEY_TYPE_HMAC, [b"x"], 1) is None


async def test_the_keyed_digest_is_stable_and_different_for_each_message(ports: Ports) -> None:
    first, second = await ports.keys.keyed([b"one", b"two"])
    assert [len(first), len(second)] == [64, 64]
    assert first != second
    assert await ports.keys.keyed([b"two"]) == [second]


@pytest.mark.parametrize("kind", ["hmac", "rsa"])
@pytest.mark.bar(44)
async def test_each_version_signs_as_its_own_material_until_it_is_fenced(
    ports: Ports, tenant: str, rsa_key: Any, pem: Any, kind: str
) -> None:
    keys = ports.keys
    made = [_hmac(text * 40) for text in "ab"] if kind == "hmac" else [rsa_private_key(pem(rsa_key(2048)))] * 2
    key_type = made[0].key_type
    assert await keys.state(tenant, A) is None
    assert await keys.import_version(tenant, A, made[0]) == Unknown()
    assert await keys.import_key(tenant, A, made[0]) == Applied(None)
    assert await keys.import_version(tenant, A, made[1]) == Applied(None)
    assert await keys.state(tenant, A) == KeyState(made[0].transit_type, 2)
    for number, material in enumerate(made, 1):
        [signature] = await keys.sign(tenant, A, key_type, [b"message"], number) or []
        assert (signature.version, material.made(signature.value, b"message")) == (number, True)
    assert await keys.sign(tenant, A, key_type, [b"message"], 3) is None
    for _ in range(2):
        assert await keys.fence(tenant, A, 2) == Applied(None)
        assert await keys.trim(tenant, A, 2) == Applied(None)
    assert await keys.sign(tenant, A, key_type, [b"message"], 1) is None
    assert await keys.sign(tenant, A, key_type, [b"message"], 2)


async def test_a_key_of_another_kind_is_no_next_version(ports: Ports, tenant: str, rsa_key: Any, pem: Any) -> None:
    keys = ports.keys
    assert await keys.import_key(tenant, A, rsa_private_key(pem(rsa_key(2048)))) == Applied(None)
    assert await keys.import_version(tenant, A, rsa_private_key(pem(rsa_key(3072)))) == NotApplied(Why.INVALID)
    assert await keys.state(tenant, A) == KeyState("rsa-2048", 1)
